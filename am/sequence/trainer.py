"""The trainer of :mod:`am.nnet.trainer` with a sequence criterion in place of cross-entropy."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from am.errors import InputError
from am.nnet.batch import Batch
from am.nnet.losses import hard_label_loss
from am.nnet.schedule import Pass
from am.nnet.trainer import Trainer
from am.sequence.denominator import DenominatorStore
from am.sequence.lattice_batch import LatticeBatch, batch_lattices
from am.sequence.objectives import (
    Criterion,
    expected_accuracy,
    log_likelihood_ratio,
    reference_in_lattice,
)

log = logging.getLogger(__name__)

CRITERION_NAMES: dict[Criterion, str] = {
    "smbr": "expected accuracy",
    "mpfe": "expected phone accuracy",
    "mmi": "MMI",
}


@dataclass(frozen=True)
class SequenceLoss:
    """The loss of a batch: a criterion over its denominator lattices, smoothed.

    A frame's loss is (1 − w) × criterion + w × cross-entropy ("F-smoothing": Su et al., "Error
    back propagation for sequence training of context-dependent deep networks for conversational
    speech transcription", ICASSP 2013).  The criterion is 1 − expected accuracy with sMBR and
    MPFE, the negative log-likelihood ratio with MMI, each a frame.

    Attributes:
        denominators: the lattices by cut id.
        log_priors: (P,) natural log.
        criterion: ``smbr``, ``mpfe`` or ``mmi``.
        cross_entropy_weight: w, 0 … 1.
        phone_classes: (P,) int64 class of each pdf-id (:mod:`am.sequence.phone_classes`), for
            ``mpfe``.
    """

    denominators: DenominatorStore
    log_priors: Tensor
    criterion: Criterion
    cross_entropy_weight: float
    phone_classes: Tensor | None = None

    def lattices_of(self, batch: Batch) -> LatticeBatch:
        """The lattices of a batch's cuts, on its device.

        Raises:
            InputError: a lattice has another number of frames than its cut has labels.
        """
        lattices = [self.denominators[cut_id] for cut_id in batch.cut_ids]
        laid_out = batch_lattices(lattices)
        if laid_out.num_frames != batch.num_frames:
            raise InputError(
                f"{self.denominators.folder}: lattices of {laid_out.num_frames} frames for labels "
                f"of {batch.num_frames}, among the cuts {' '.join(batch.cut_ids)}; make the "
                "lattices again from the same features"
            )
        return laid_out.to(batch.features.device)

    def criterion_sum(self, logits: Tensor, batch: Batch, lattices: LatticeBatch) -> Tensor:
        """() float64: expected accuracy in frames, or log-likelihood ratio; higher is better."""
        scale = self.denominators.acoustic_scale
        arguments = logits - self.log_priors, batch.pdf_ids, lattices, scale
        if self.criterion == "mmi":
            return log_likelihood_ratio(*arguments).sum()
        classes = self.phone_classes if self.criterion == "mpfe" else None
        return expected_accuracy(*arguments, classes).sum()

    def __call__(self, criterion_sum: Tensor, logits: Tensor, batch: Batch) -> Tensor:
        """() the loss, summed over the frames of a batch."""
        weight = self.cross_entropy_weight
        best = 0.0 if self.criterion == "mmi" else batch.num_frames
        loss = (1.0 - weight) * (best - criterion_sum)
        return loss + weight * hard_label_loss(logits, batch.pdf_ids)


class SequenceTrainer(Trainer):
    """A trainer whose loss is a :class:`SequenceLoss`.

    Args:
        sequence_loss: its tensors on the trainer's device.
        keep: weights of the ``last`` pass, or of the pass with the ``best`` dev cross-entropy.
        arguments: as for :class:`am.nnet.trainer.Trainer`; the sources have hard labels and
            lattices.
    """

    def __init__(self, sequence_loss: SequenceLoss, keep: Literal["last", "best"], *arguments: Any):
        super().__init__(*arguments)
        self._sequence_loss = sequence_loss
        self._keep = keep
        self._totals = self._nothing()

    def _load_final_weights(self) -> None:
        if self._keep == "best":
            super()._load_final_weights()

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Summed loss of a batch's frames."""
        lattices = self._sequence_loss.lattices_of(batch)
        criterion = self._sequence_loss.criterion_sum(logits, batch, lattices)
        with torch.no_grad():
            held = reference_in_lattice(batch.pdf_ids, lattices).sum()
            self._totals += torch.stack([criterion, held, held.new_tensor(batch.num_frames)])
        return self._sequence_loss(criterion, logits, batch)

    def _end_pass(self, one: Pass) -> None:
        criterion, held, frames = self._worker.sum(self._totals).tolist()
        self._totals = self._nothing()
        if frames > 0:
            log.info(
                "%s %.4f a frame; the lattices hold the reference's senone in %.1f %% of frames",
                CRITERION_NAMES[self._sequence_loss.criterion],
                criterion / frames,
                100 * held / frames,
            )
        super()._end_pass(one)

    def _nothing(self) -> Tensor:
        return torch.zeros(3, dtype=torch.float64, device=self._device)
