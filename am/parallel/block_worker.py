"""BMUF among processes: when models are exchanged, and what becomes of counters and optimisers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from am.nnet.batch import LoadedBatch
from am.nnet.checkpoint import TrainingState
from am.nnet.optimizer import OptimizerStep
from am.nnet.sources import DataSource
from am.parallel.block_momentum import BlockMomentum
from am.parallel.optimizer_state import average_optimizer_state
from am.parallel.process_group import ProcessGroup
from am.parallel.settings import BmufSettings
from am.parallel.worker import Worker

# Counters of a TrainingState that each process raises by itself during a block.
SUMMED_COUNTERS = ("frames_done", "pass_frames", "pass_loss", "skipped_batches")


class BlockWorker(Worker):
    """A process that trains alone for a block of batches.

    A block ends after ``sync_interval`` rounds of batches, and at a pass's end.  A process counts
    in the mean by the updates that it made in the block, so that one without data in the last
    round takes nothing from the others' change.

    Args:
        group, model, step: as for :class:`am.parallel.worker.Worker`.
        settings: of BMUF.
    """

    def __init__(
        self, group: ProcessGroup, model: nn.Module, step: OptimizerStep, settings: BmufSettings
    ):
        super().__init__(group, model, step)
        self._settings = settings
        self._rounds = 0
        self._blocks = 0
        self._before: list[float] = []

    def start(self, sources: list[DataSource], seed: int) -> None:
        """See :class:`am.parallel.worker.Worker`."""
        super().start(sources, seed)
        size, settings = self.group.size, self._settings
        self._filter = BlockMomentum(
            self._weights(), settings.momentum_of(size), settings.gain_of(size), settings.nesterov
        )

    @property
    def is_in_step(self) -> bool:
        """Whether a block has just ended."""
        return self._rounds == 0

    def batches(
        self, source: DataSource, seed: int, state: TrainingState
    ) -> Iterator[LoadedBatch | None]:
        """See :class:`am.parallel.worker.Worker`."""
        self._before = _counters(state)
        return super().batches(source, seed, state)

    def after_batch(self, state: TrainingState) -> None:
        """Exchange models if a block is over."""
        super().after_batch(state)
        self._rounds += 1
        if self._rounds == self._settings.sync_interval:
            self._end_block(state)

    def end_pass(self, state: TrainingState) -> None:
        """Exchange models if a block is under way."""
        if self._rounds > 0:
            self._end_block(state)

    def _end_block(self, state: TrainingState) -> None:
        before, now = self._before, _counters(state)
        own = [after - start for after, start in zip(now, before, strict=True)]
        changes = self.group.gather(torch.tensor(own, dtype=torch.float64))
        if self.group.size > 1:  # alone the counters are right, to the last bit
            _set_counters(state, before, changes)
        total_updates = changes[:, 0].sum().item()
        if total_updates > 0:
            self._merge_models(own[0] / total_updates)
        self._rounds = 0
        self._blocks += 1
        self._before = _counters(state)

    def _merge_models(self, share: float) -> None:
        """Average the models, this one with a share of 0 … 1, and filter the mean."""
        mean = self._weights().mul_(share)
        self.group.sum([mean])
        is_warm_up = self._blocks < self._settings.warm_up_blocks
        model = self._filter.reset(mean) if is_warm_up else self._filter.filter(mean)
        parameters = list(self._model.parameters())
        pieces = model.split([parameter.numel() for parameter in parameters])
        with torch.no_grad():
            for parameter, piece in zip(parameters, pieces, strict=True):
                parameter.copy_(piece.view_as(parameter))
        if self._settings.optimizer_state == "reset":
            self._step.optimizer.state.clear()
        elif self._settings.optimizer_state == "averaged":
            average_optimizer_state(self.group, self._step.optimizer, share)

    def _weights(self) -> Tensor:
        """(n,) of the model, a copy."""
        return torch.cat([parameter.detach().flatten() for parameter in self._model.parameters()])

    def shared_part(self) -> dict[str, Any]:
        """What the filter remembers."""
        return {"blocks": self._blocks, "filter": self._filter.state()}

    def own_part(self) -> dict[str, Any]:
        """The optimiser, of which each process has one of its own."""
        return {"optimizer": self._step.optimizer.state_dict()}

    def restore(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        """See :class:`am.parallel.worker.Worker`."""
        self._blocks = shared["blocks"]
        self._filter.restore(shared["filter"])
        self._step.optimizer.load_state_dict(own["optimizer"])


def _counters(state: TrainingState) -> list[float]:
    return [state.num_updates, *(getattr(state, name) for name in SUMMED_COUNTERS)]


def _set_counters(state: TrainingState, before: list[float], changes: Tensor) -> None:
    """Counters at the start of a block, and (N, counters) what each process added to them."""
    state.num_updates = round(before[0] + changes[:, 0].max().item())
    sums = changes[:, 1:].sum(0).tolist()
    for name, start, change in zip(SUMMED_COUNTERS, before[1:], sums, strict=True):
        kind = type(getattr(state, name))
        setattr(state, name, kind(start + change))
