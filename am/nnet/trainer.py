"""The training loop: passes over sources of data, whatever their labels.

A plan is a list of passes (:mod:`am.nnet.schedule`).  Each batch makes one update; after each pass
the dev data are scored and a checkpoint is written.  The weights with the lowest dev loss win.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from am.errors import InputError
from am.features.frequency_warping import warp_frequencies
from am.features.low_frame_rate import LowFrameRateFrontEnd
from am.features.masking import MaskingSettings, mask_vectors
from am.features.noise_mixing import NoiseMixingSettings, mix_noise
from am.nnet.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from am.nnet.data import Batch, LabelledCuts
from am.nnet.learning_rate import learning_rate_of_update
from am.nnet.losses import hard_label_loss, soft_label_loss
from am.nnet.lstm import AcousticModel
from am.nnet.schedule import Pass
from am.nnet.training_log import TrainingLog

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainerSettings:
    """How a model is trained.

    The learning rate is ``learning_rate``, times a linear warm-up, times an exponential decay to
    ``final_learning_rate_ratio`` at the end of the plan, times the pass's factor; with new-bob,
    also times ``newbob_factor`` for every evaluation whose dev loss fell by less than
    ``newbob_threshold`` (relative).

    Attributes:
        seed: of weights, order of data, dropout and masks.
        optimizer: adam, or sgd with ``momentum``.
        learning_rate: at its highest, for a pass of factor 1.
        final_learning_rate_ratio: 1 does not decay.
        warm_up_updates: updates until the full learning rate.
        newbob_factor: 1 turns new-bob off.
        newbob_threshold: relative gain of dev loss that is enough.
        gradient_clip: highest norm of the gradient of the mean loss a frame.
        patience: end after so many evaluations without a new best; 0 never ends early.
        max_skipped_in_a_row: stop after so many batches without a finite loss.
        checkpoint_updates: also write a checkpoint every so many updates; 0 after passes alone.
        cpu_threads: threads of an operation on a CPU.  A second one makes LSTMs of some hundred
            cells slower, and many times slower while other work shares the machine.
        masking: SpecAugment's masks.
        max_frequency_warp: highest relative stretch of an utterance's mel channels; 0 for none.
        noise_mixing: noise added to the features of every pass.
    """

    seed: int = 1
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.9
    learning_rate: float = 1e-3
    final_learning_rate_ratio: float = 0.1
    warm_up_updates: int = 50
    newbob_factor: float = 1.0
    newbob_threshold: float = 0.005
    gradient_clip: float = 5.0
    patience: int = 0
    max_skipped_in_a_row: int = 10
    checkpoint_updates: int = 0
    cpu_threads: int = 1
    masking: MaskingSettings = field(default_factory=MaskingSettings)
    max_frequency_warp: float = 0.0
    noise_mixing: NoiseMixingSettings = field(default_factory=NoiseMixingSettings)


def frame_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Summed loss of a batch's frames against its labels, soft ones where it has them."""
    if batch.stored_logits is None:
        return hard_label_loss(logits, batch.pdf_ids)
    return soft_label_loss(logits, batch.pdf_ids, batch.stored_logits)


class Trainer:
    """Trains one model; with checkpoints in ``folder``, it goes on from the last of them.

    Args:
        model, front_end: on ``device``.
        plan: the passes.
        sources: name → data, for the names of the plan.
        dev: data with hard labels, to choose the best weights by.
        settings: how.
        folder: where checkpoints, log and curves go.
        device: where to compute.
    """

    def __init__(
        self,
        model: AcousticModel,
        front_end: LowFrameRateFrontEnd,
        plan: Sequence[Pass],
        sources: Mapping[str, LabelledCuts],
        dev: LabelledCuts,
        settings: TrainerSettings,
        folder: Path,
        device: torch.device,
    ):
        torch.set_num_threads(settings.cpu_threads)
        self.model = model.to(device)
        self.front_end = front_end.to(device)
        self.settings = settings
        self._plan = plan
        self._sources = sources
        self._dev = dev
        self._device = device
        self._checkpoints = folder / "checkpoints"
        self._checkpoints.mkdir(exist_ok=True)
        self._last = self._checkpoints / "last.pt"
        self._best = self._checkpoints / "best.safetensors"
        self._optimizer = self._make_optimizer()
        self._total_frames = sum(sources[one.source].num_frames for one in plan)
        self.state = TrainingState()
        if self._last.is_file():
            self.state = load_checkpoint(self._last, model, self._optimizer)
            log.info("going on after %d updates", self.state.num_updates)
        self._log = TrainingLog(
            folder, self._total_frames, self.state.frames_done, self.state.num_updates
        )

    def _make_optimizer(self) -> torch.optim.Optimizer:
        if self.settings.optimizer == "adam":
            return torch.optim.Adam(self.model.parameters(), self.settings.learning_rate)
        return torch.optim.SGD(
            self.model.parameters(), self.settings.learning_rate, self.settings.momentum
        )

    def run(self) -> TrainingState:
        """Train to the plan's end, leave the best weights in the model, and say how it went."""
        while self.state.pass_index < len(self._plan) and not self._stops_early():
            self._run_pass(self._plan[self.state.pass_index])
        self._log.close()
        if not self._best.is_file():
            raise InputError(
                f"{self._dev.manifest}: the dev loss was never finite; look at these features, or "
                "choose a lower learning_rate"
            )
        self.model.load_state_dict(load_file(str(self._best)))
        self.model.eval()
        return self.state

    def _stops_early(self) -> bool:
        state, patience = self.state, self.settings.patience
        stops = (
            patience > 0
            and state.evaluations_since_best >= patience
            and state.pass_index > 0
            and self._plan[state.pass_index - 1].may_stop
        )
        if stops:
            log.info("the dev loss has not fallen in %d evaluations: done", patience)
        return stops

    def _run_pass(self, one: Pass) -> None:
        state = self.state
        self.model.train()
        seed = self.settings.seed * 1_000_003 + state.pass_index
        for batch in self._sources[one.source].batches(seed, skip=state.batches_done):
            try:
                self._update(batch.to(self._device), one)
            except torch.cuda.OutOfMemoryError as error:
                raise InputError(
                    f"batching.batch_seconds: a batch of {batch.num_frames} frames does not fit "
                    "into the GPU's memory; choose less"
                ) from error
            state.batches_done += 1
            every = self.settings.checkpoint_updates
            if every and state.batches_done % every == 0:
                save_checkpoint(self._last, self.model, self._optimizer, state)
        self._end_pass(one)
        save_checkpoint(self._last, self.model, self._optimizer, state)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Summed loss of a batch's frames, of logits (N, P); other criteria override this."""
        return frame_loss(logits, batch)

    def _update(self, batch: Batch, one: Pass) -> None:
        state = self.state
        learning_rate = self._learning_rate(one)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        features = warp_frequencies(batch.features, self.settings.max_frequency_warp)
        features = mix_noise(features, batch.lengths, self.settings.noise_mixing)
        vectors, lengths = self.front_end(features, batch.lengths)
        vectors = mask_vectors(
            vectors, lengths, self.settings.masking, self.front_end.output_frame_shift
        )
        loss = self.loss(self.model.frame_logits(vectors, lengths), batch) / batch.num_frames
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip)
        mean_loss, gradient_norm = torch.stack([loss.detach().to(norm), norm]).tolist()
        state.frames_done += batch.num_frames
        if not (math.isfinite(mean_loss) and math.isfinite(gradient_norm)):
            self._skip(batch)
            return
        self._optimizer.step()
        state.skipped_in_a_row = 0
        state.num_updates += 1
        state.pass_frames += batch.num_frames
        state.pass_loss += mean_loss * batch.num_frames
        self._log.update(one.source, mean_loss, learning_rate, state.frames_done, state.num_updates)

    def _learning_rate(self, one: Pass) -> float:
        state = self.state
        return learning_rate_of_update(
            self.settings,
            state.num_updates + 1,
            state.frames_done / self._total_frames,
            one.learning_rate_factor * state.newbob_scale,
        )

    def _skip(self, batch: Batch) -> None:
        self.state.skipped_batches += 1
        self.state.skipped_in_a_row += 1
        cuts = " ".join(batch.cut_ids)
        log.warning("loss or gradient is not finite, batch skipped: %s", cuts)
        if self.state.skipped_in_a_row >= self.settings.max_skipped_in_a_row:
            raise InputError(
                f"{self._checkpoints.parent}: {self.state.skipped_in_a_row} batches in a row "
                f"without a finite loss, the last of cuts {cuts}: look at their features, or "
                "choose a lower learning_rate"
            )

    def _end_pass(self, one: Pass) -> None:
        state = self.state
        dev_loss, accuracy = self.evaluate()
        previous_best = state.best_dev_loss
        if dev_loss < previous_best:
            state.best_dev_loss = dev_loss
            state.evaluations_since_best = 0
            self._save_best()
        else:
            state.evaluations_since_best += 1
        if dev_loss > previous_best * (1.0 - self.settings.newbob_threshold):
            state.newbob_scale *= self.settings.newbob_factor
        train_loss = state.pass_loss / max(state.pass_frames, 1)
        speed = self._log.frames_per_second(state.frames_done)
        learning_rate = self._optimizer.param_groups[0]["lr"]
        log.info(
            "pass %d of %d, %s: train loss %.4f, dev loss %.4f, dev frame accuracy %.2f %%, "
            "learning rate %.2g, %.0f frames/s",
            state.pass_index + 1,
            len(self._plan),
            one.source,
            train_loss,
            dev_loss,
            100 * accuracy,
            learning_rate,
            speed,
        )
        self._log.end_of_pass(
            {
                "pass": state.pass_index + 1,
                "source": one.source,
                "train_loss": train_loss,
                "dev_loss": dev_loss,
                "dev_frame_accuracy": accuracy,
                "learning_rate": learning_rate,
                "frames_per_second": round(speed, 1),
                "skipped_batches": state.skipped_batches,
            },
            state.num_updates,
        )
        state.pass_index += 1
        state.batches_done = state.pass_frames = 0
        state.pass_loss = 0.0

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Cross-entropy a frame (natural log) and frame accuracy (0 … 1) on the dev data."""
        self.model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self._device)
        frames = 0
        for batch in self._dev.batches(seed=0, shuffle=False):
            batch = batch.to(self._device)
            logits = self.model.frame_logits(*self.front_end(batch.features, batch.lengths))
            correct = (logits.argmax(-1) == batch.pdf_ids).sum()
            total += torch.stack([hard_label_loss(logits, batch.pdf_ids), correct])
            frames += batch.num_frames
        loss, accuracy = (total / frames).tolist()
        return loss if math.isfinite(loss) else math.inf, accuracy

    def _save_best(self) -> None:
        aside = self._best.with_suffix(".tmp")
        weights = {name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        save_file(weights, str(aside))
        aside.replace(self._best)
