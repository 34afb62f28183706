"""What the trainer asks of the other processes; a process alone has nothing to ask.

Between two exchanges all that decides how training goes on (losses, counters, weights) is the same
on all processes, so that each comes to the same decisions by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from am.errors import InputError
from am.nnet.batch import LoadedBatch
from am.nnet.checkpoint import TrainingState
from am.nnet.optimizer import OptimizerStep
from am.nnet.sources import DataSource
from am.parallel.gradient_exchange import (
    BYTES_A_MEGABYTE,
    DenseExchange,
    GradientBuckets,
    GradientExchange,
    JointBatch,
)
from am.parallel.process_group import ProcessGroup
from am.parallel.settings import ParallelSettings
from am.parallel.sharing import Share
from am.parallel.threshold_compression import ThresholdExchange

log = logging.getLogger(__name__)

# Masks and dropout must differ between the processes, not between runs.
SEEDS_BETWEEN_PROCESSES = 7_919
BYTES_A_VALUE = 4


class Worker:
    """One process of a training.

    Args:
        group: all of them.
        model: on its device.
        step: of the optimiser.

    Attributes:
        group: all of them.
        makes_joint_updates: whether the processes make every update together.
    """

    makes_joint_updates = False

    def __init__(self, group: ProcessGroup, model: nn.Module, step: OptimizerStep):
        self.group = group
        self._model = model
        self._step = step
        self._rounds_of_traffic = 0
        self._batches_before = 0

    @property
    def is_main(self) -> bool:
        """Whether it writes."""
        return self.group.is_main

    @property
    def is_in_step(self) -> bool:
        """Whether all processes have the same model now."""
        return True

    def start(self, sources: list[DataSource], seed: int) -> None:
        """Begin with the main process's weights and random numbers of this process's own.

        Raises:
            InputError: the processes do not see the same data.
        """
        if not self.group.is_distributed:
            return
        sizes = torch.tensor([[source.num_cuts, source.num_frames] for source in sources])
        if not (self.group.gather(sizes) == sizes).all():
            raise InputError(
                "torchrun: the processes read different data; give all machines the same folders"
            )
        self.group.broadcast([parameter.data for parameter in self._model.parameters()])
        if not self.is_main:
            torch.manual_seed(seed + SEEDS_BETWEEN_PROCESSES * self.group.rank)
        log.info("%d processes", self.group.size)

    def batches(
        self, source: DataSource, seed: int, state: TrainingState
    ) -> Iterator[LoadedBatch | None]:
        """This process's batches that are left of a pass; None where only others have one.

        Args:
            source: the data.
            seed: of their order, the same on all processes.
            state: of the training.
        """
        return source.rounds(seed, self._share, skip=state.batches_done)

    def dev_batches(self, source: DataSource) -> Iterator[LoadedBatch]:
        """This process's batches of the dev data."""
        rounds = source.rounds(0, self._share, shuffle=False)
        return (batch for batch in rounds if batch is not None)

    @property
    def _share(self) -> Share:
        return Share(self.group.rank, self.group.size)

    def backward(self, loss: Tensor | None, num_frames: int) -> JointBatch:
        """Gradients of () the mean loss a frame, joined as the method demands.

        Args:
            loss: of this process's batch; None where only others have one.
            num_frames: of the batch.
        """
        assert loss is not None
        return JointBatch(num_frames, loss.detach(), self._step.backward(loss))

    def most(self, count: int) -> int:
        """The highest count of the processes that make the next updates together."""
        return count

    def total(self, count: int) -> int:
        """The sum of the counts of the processes that make updates together."""
        return count

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor, summed over all processes in place."""
        self.group.sum([tensor])
        return tensor

    def after_batch(self, state: TrainingState) -> None:
        """After each round of batches."""
        self._rounds_of_traffic += 1

    def end_pass(self, state: TrainingState) -> None:
        """After the last round of a pass: from now on all processes have the same model."""

    def traffic(self) -> dict[str, float]:
        """For the log of a pass: megabytes that this process sent a batch since the last call."""
        if not self.group.is_distributed:
            return {}
        megabytes = self.group.bytes_sent / BYTES_A_MEGABYTE / max(self._rounds_of_traffic, 1)
        num_values = sum(parameter.numel() for parameter in self._model.parameters())
        dense = num_values * BYTES_A_VALUE / BYTES_A_MEGABYTE
        log.info("sent %.4g MB a batch, 1/%.0f of the gradient", megabytes, dense / megabytes)
        self.group.bytes_sent = self._rounds_of_traffic = 0
        return {"megabytes_sent": round(megabytes, 6)}

    def shared_part(self) -> dict[str, Any]:
        """For a checkpoint: what all processes have alike, beside the model."""
        return {"optimizer": self._step.optimizer.state_dict()}

    def own_part(self) -> dict[str, Any]:
        """For a checkpoint: what only this process has."""
        return {}

    def restore(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        """Put both parts back."""
        self._step.optimizer.load_state_dict(shared["optimizer"])


class SynchronousWorker(Worker):
    """A process whose gradients are joined with the others' in every update: ddp and gtc."""

    makes_joint_updates = True

    def __init__(
        self, group: ProcessGroup, model: nn.Module, step: OptimizerStep, settings: ParallelSettings
    ):
        super().__init__(group, model, step)
        buckets = GradientBuckets(list(model.parameters()), settings.bucket_megabytes)
        self._exchange: GradientExchange
        if settings.method == "gtc":
            self._exchange = ThresholdExchange(group, buckets, settings.gtc)
        else:
            self._exchange = DenseExchange(group, buckets)

    def backward(self, loss: Tensor | None, num_frames: int) -> JointBatch:
        """Gradients of the mean loss of all processes' batches."""
        self._step.gradients(loss)
        no_loss = next(self._model.parameters()).new_zeros(())
        mean_loss = no_loss if loss is None else loss.detach()
        return self._exchange(mean_loss, num_frames, self._step)

    def most(self, count: int) -> int:
        """The highest count of all processes."""
        return int(self.group.gather(torch.tensor([count])).max())

    def total(self, count: int) -> int:
        """The sum of the counts of all processes."""
        return int(self.group.gather(torch.tensor([count])).sum())

    def own_part(self) -> dict[str, Any]:
        """What the exchange keeps back."""
        return self._exchange.state()

    def restore(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        """See :class:`Worker`."""
        super().restore(shared, own)
        self._exchange.restore(own)
