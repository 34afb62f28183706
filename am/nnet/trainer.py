"""The training loop: passes over sources of data, whatever their labels.

A plan is a list of passes (:mod:`am.nnet.schedule`).  Each batch makes one update; after each pass
the dev data are scored and a checkpoint is written.  The weights with the lowest dev loss win.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from am.errors import InputError
from am.features.frequency_warping import warp_frequencies
from am.features.low_frame_rate import LowFrameRateFrontEnd
from am.features.masking import mask_vectors
from am.features.noise_mixing import mix_noise
from am.nnet.averaging import WeightAverage, save_weights
from am.nnet.batch import Batch
from am.nnet.checkpoint import (
    CheckpointFolder,
    SavedTraining,
    TrainingState,
    random_states,
    restore_random_states,
)
from am.nnet.chunks import Chunk, chunk_logits, chunks_of, vectors_of_chunk
from am.nnet.final_weights import load_final_weights
from am.nnet.learning_rate import learning_rate_of_update
from am.nnet.losses import (
    SoftLabelWeighting,
    hard_label_loss,
    soft_label_loss,
    soft_label_weights,
)
from am.nnet.lstm import AcousticModel, LstmState
from am.nnet.optimizer import OptimizerStep
from am.nnet.schedule import Pass
from am.nnet.sources import DataSource
from am.nnet.trainer_settings import TrainerSettings
from am.nnet.training_log import PassReport, TrainingLog
from am.nnet.weight_noise import noisy_weights
from am.parallel.gradient_exchange import JointBatch
from am.parallel.make_worker import make_worker
from am.parallel.settings import ParallelSettings

log = logging.getLogger(__name__)


def frame_loss(logits: Tensor, batch: Batch, weighting: SoftLabelWeighting = "none") -> Tensor:
    """Summed loss of a batch's frames against its labels, soft ones where it has them."""
    if batch.stored_logits is None:
        return hard_label_loss(logits, batch.pdf_ids)
    weights = soft_label_weights(batch.stored_logits, weighting)
    return soft_label_loss(logits, batch.pdf_ids, batch.stored_logits, weights)


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
        parallel: how, where torchrun started several processes.
    """

    def __init__(
        self,
        model: AcousticModel,
        front_end: LowFrameRateFrontEnd,
        plan: Sequence[Pass],
        sources: Mapping[str, DataSource],
        dev: DataSource,
        settings: TrainerSettings,
        folder: Path,
        device: torch.device,
        parallel: ParallelSettings | None = None,
    ):
        torch.set_num_threads(settings.cpu_threads)
        self.model = model.to(device)
        self.front_end = front_end.to(device)
        self.settings = settings
        self._plan = plan
        self._sources = sources
        self._dev = dev
        self._device = device
        self._folder = folder
        self._step = OptimizerStep(self.model, settings, device)
        parallel = parallel or ParallelSettings()
        self._worker = make_worker(self.model, self._step, parallel)
        group = self._worker.group
        self._checkpoints = CheckpointFolder(
            folder / "checkpoints", group, settings.keep_checkpoints
        )
        self._checkpoint_intervals = [settings.checkpoint_updates]
        if group.is_distributed:
            self._checkpoint_intervals.append(parallel.updates_between_checkpoints())
        self._best = self._checkpoints.folder / "best.safetensors"
        self._average = WeightAverage(self._checkpoints.folder, settings.averaging, group.is_main)
        self._chunk_size = vectors_of_chunk(
            settings.chunk_seconds, front_end.output_frame_shift, model
        )
        if self._chunk_size > 0 and type(self).loss is not Trainer.loss:
            raise InputError(
                "trainer: chunk_seconds: a sequence criterion needs whole utterances; set it to 0"
            )
        self._total_frames = sum(sources[one.source].num_frames for one in plan)
        self.state = TrainingState()
        self._worker.start([*sources.values(), dev], settings.seed)
        saved = self._checkpoints.load()
        if saved is not None:
            self._restore(saved)
            log.info("going on after %d updates", self.state.num_updates)
        self._log = TrainingLog(
            folder,
            len(plan),
            self._total_frames,
            self.state.frames_done,
            self.state.num_updates,
            self._worker.is_main,
        )

    def run(self) -> TrainingState:
        """Train to the plan's end, leave the best weights in the model, and say how it went."""
        while self.state.pass_index < len(self._plan) and not self._stops_early():
            self._run_pass(self._plan[self.state.pass_index])
        self._log.close()
        if math.isinf(self.state.best_dev_loss):
            raise InputError(
                f"{self._dev.manifest}: the dev loss was never finite; look at these features, or "
                "choose a lower learning_rate"
            )
        self._load_final_weights()
        self._average.tidy(self.state.candidates)
        self.model.eval()
        return self.state

    def _load_final_weights(self) -> None:
        """Choose by the dev loss; other criteria override this."""
        load_final_weights(self.model, self._best, self._average, self.state, self.evaluate)

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
        is_due = False
        for batch in self._worker.batches(self._sources[one.source], seed, state):
            try:
                self.update(None if batch is None else batch.to(self._device), one)
            except torch.cuda.OutOfMemoryError as error:
                num_frames = 0 if batch is None else batch.num_frames
                raise InputError(
                    f"batching.batch_seconds: a batch of {num_frames} frames does not fit "
                    "into the GPU's memory; choose less"
                ) from error
            state.batches_done += 1
            self._worker.after_batch(state)
            is_due = is_due or any(
                every > 0 and state.batches_done % every == 0
                for every in self._checkpoint_intervals
            )
            if is_due and self._worker.is_in_step:
                self._save_checkpoint()
                is_due = False
        self._worker.end_pass(state)
        self._end_pass(one)
        self._save_checkpoint()
        self._average.tidy(self._checkpoints.candidates())

    def _save_checkpoint(self) -> None:
        self.state.loss_scale = self._step.state_of_scale()
        shared = {
            "model": self.model.state_dict(),
            "state": dataclasses.asdict(self.state),
            "worker": self._worker.shared_part(),
        }
        own = {
            "random_states": random_states(self._device),
            "worker": self._worker.own_part(),
        }
        self._checkpoints.save(self.state, SavedTraining(shared, own))

    def _restore(self, saved: SavedTraining) -> None:
        shared, own = saved.shared, saved.own
        try:
            self.model.load_state_dict(shared["model"])
        except RuntimeError as error:
            raise InputError(
                f"{self._checkpoints.folder}: checkpoints of another network; delete this folder "
                "to train from the start"
            ) from error
        self.state = TrainingState(**shared["state"])
        self._step.restore_scale(self.state.loss_scale)
        self._worker.restore(shared["worker"], own["worker"])
        restore_random_states(own["random_states"], self._device)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Summed loss of a batch's frames, of logits (N, P); other criteria override this."""
        return frame_loss(logits, batch, self.settings.soft_label_weighting)

    def update(self, batch: Batch | None, one: Pass) -> None:
        """Train on a batch that is on the trainer's device: one update, or one a chunk.

        Without a batch this process takes part in the updates of those that have one.
        """
        if batch is None:
            if self._worker.makes_joint_updates:
                self._update_on_chunks(None, [], one)
            return
        vectors, lengths = self._augmented(batch)
        self.state.pass_vectors += vectors.shape[0] * vectors.shape[1]
        self.state.pass_padding += vectors.shape[0] * vectors.shape[1] - batch.num_frames
        if self._chunk_size > 0:
            chunks = chunks_of(self.model, vectors, lengths, batch, self._chunk_size)
            self._update_on_chunks(batch, list(chunks), one)
            return
        with noisy_weights(self.model, self.settings.weight_noise):
            with self._step.autocast():
                logits = self.model.frame_logits(vectors, lengths)
            joint = self._backward(logits, batch)
        self._finish(batch, one, joint)

    def _update_on_chunks(self, batch: Batch | None, chunks: list[Chunk], one: Pass) -> None:
        """As many updates as the process with most chunks needs; whole batches are one chunk."""
        num_updates = self._worker.most(len(chunks)) if self._chunk_size > 0 else 1
        lstm_state: LstmState | None = None
        frames_left = 0 if batch is None else batch.num_frames
        for index in range(num_updates):
            if index < len(chunks):
                chunk = chunks[index]
                with noisy_weights(self.model, self.settings.weight_noise):
                    with self._step.autocast():
                        logits, lstm_state = chunk_logits(self.model, chunk, lstm_state)
                    joint = self._backward(logits, chunk.batch)
                frames_left -= chunk.batch.num_frames
            else:
                joint = self._worker.backward(None, 0)
            if not self._finish(batch, one, joint):
                # The state of the LSTM is lost as well.
                self.state.frames_done += self._worker.total(frames_left)
                return

    def _augmented(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, T', D) vectors with noise, warped and masked, and (B,) T' of each."""
        settings = self.settings
        features = warp_frequencies(batch.features, settings.max_frequency_warp)
        features = mix_noise(features, batch.lengths, settings.noise_mixing)
        vectors, lengths = self.front_end(features, batch.lengths)
        vectors = mask_vectors(
            vectors, lengths, settings.masking, self.front_end.output_frame_shift
        )
        return vectors, lengths

    def _backward(self, logits: Tensor, batch: Batch) -> JointBatch:
        """Gradients of the mean loss of a frame, clipped."""
        loss = self.loss(logits.float(), batch) / batch.num_frames
        return self._worker.backward(loss, batch.num_frames)

    def _finish(self, batch: Batch | None, one: Pass, joint: JointBatch) -> bool:
        """Change the weights, unless loss or gradient are not finite, and count; whether it did."""
        state = self.state
        num_frames, mean_loss, gradient_norm = joint.numbers()
        learning_rate = self._step.learning_rate = self._learning_rate(one)
        state.frames_done += num_frames
        if not (math.isfinite(mean_loss) and math.isfinite(gradient_norm)):
            self._step.skip()
            self._skip(batch)
            return False
        self._step.update()
        state.skipped_in_a_row = 0
        state.num_updates += 1
        state.pass_frames += num_frames
        state.pass_loss += mean_loss * num_frames
        self._log.update(one.source, mean_loss, learning_rate, state.frames_done, state.num_updates)
        return True

    def _learning_rate(self, one: Pass) -> float:
        state = self.state
        return learning_rate_of_update(
            self.settings,
            state.num_updates + 1,
            state.frames_done / self._total_frames,
            one.learning_rate_factor * state.newbob_scale,
        )

    def _skip(self, batch: Batch | None) -> None:
        self.state.skipped_batches += 1
        self.state.skipped_in_a_row += 1
        cuts = "" if batch is None else " ".join(batch.cut_ids)
        log.warning("loss or gradient is not finite, batch skipped: %s", cuts)
        if self.state.skipped_in_a_row >= self.settings.max_skipped_in_a_row:
            raise InputError(
                f"{self._folder}: {self.state.skipped_in_a_row} batches in a row "
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
            if self._worker.is_main:
                save_weights(self._best, self.model)
        else:
            state.evaluations_since_best += 1
        if dev_loss > previous_best * (1.0 - self.settings.newbob_threshold):
            state.newbob_scale *= self.settings.newbob_factor
        state.candidates = self._average.add(
            self.model, state.pass_index, dev_loss, state.candidates
        )
        report = PassReport(
            number=state.pass_index + 1,
            source=one.source,
            train_loss=state.pass_loss / max(state.pass_frames, 1),
            dev_loss=dev_loss,
            dev_frame_accuracy=accuracy,
            learning_rate=self._step.learning_rate,
            skipped_batches=state.skipped_batches,
            padding=state.pass_padding / max(state.pass_vectors, 1),
        )
        self._log.end_of_pass(report, state.frames_done, state.num_updates, self._worker.traffic())
        state.pass_index += 1
        state.batches_done = state.pass_frames = 0
        state.pass_vectors = state.pass_padding = 0
        state.pass_loss = 0.0

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Cross-entropy a frame (natural log) and frame accuracy (0 … 1) on the dev data."""
        self.model.eval()
        total = torch.zeros(3, dtype=torch.float64, device=self._device)
        for batch in self._worker.dev_batches(self._dev):
            batch = batch.to(self._device)
            logits = self.model.frame_logits(*self.front_end(batch.features, batch.lengths))
            correct = (logits.argmax(-1) == batch.pdf_ids).sum()
            frames = correct.new_tensor(batch.num_frames)
            total += torch.stack([hard_label_loss(logits, batch.pdf_ids), correct, frames])
        *sums, num_frames = self._worker.sum(total)
        loss, accuracy = (torch.stack(sums) / num_frames).tolist()
        return loss if math.isfinite(loss) else math.inf, accuracy
