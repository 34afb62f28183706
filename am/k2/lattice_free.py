"""Lattice-free sequence criteria: the denominator is a whole phone graph, searched as it trains.

MMI (Povey et al., "Purely sequence-trained neural networks for ASR based on lattice-free MMI",
Interspeech 2016): the score of the transcript less that of everything, paths of both summed.
sMBR (Kanda et al., "Lattice-free state-level minimum Bayes risk training of acoustic models",
Interspeech 2018): the expected number of frames whose senone is the alignment's.

Scores are acoustic scale × (logits − log priors); a constant a frame cancels, as in
:mod:`am.sequence.objectives`.  The numerator leaves out the phone graph's score of its paths, so
that MMI may be above 0.

Shapes: B utterances of a batch, N = the sum of their frames, T the longest, P senones.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from am.features.low_frame_rate import num_low_rate_frames
from am.k2.engine import Fsa, load_k2
from am.k2.objectives import expected_accuracies, total_scores, utterance_of_arc
from am.nnet.data import Batch
from am.nnet.losses import hard_label_loss
from am.nnet.schedule import Pass
from am.nnet.trainer import Trainer

log = logging.getLogger(__name__)

LatticeFreeCriterion = Literal["mmi", "smbr"]
CRITERION_NAMES: dict[LatticeFreeCriterion, str] = {"mmi": "MMI", "smbr": "expected accuracy"}
_FRAME = "frame"


@dataclass(frozen=True)
class DenominatorSearch:
    """How far the search through the phone graph looks.

    Attributes:
        beam: of the search.
        lattice_beam: paths worse than the best one by more than this do not count.
        max_active, min_active: states a frame, roughly.
    """

    beam: float = 15.0
    lattice_beam: float = 10.0
    max_active: int = 2000
    min_active: int = 30


class TranscriptGraphs(Protocol):
    """The numerators' graphs, where these are not the alignments."""

    def __call__(self, cut_ids: list[str]) -> Fsa:
        """A vector of the cuts' graphs on the device; labels are pdf-id + 1."""


@dataclass(frozen=True)
class Criterion:
    """A batch's criterion.

    Attributes:
        values: (B,) float64, higher is better; 0 of an utterance that is not used.
        is_used: (B,) bool, False where no path was found.
        best: () the highest sum that the values could have.
    """

    values: Tensor
    is_used: Tensor
    best: Tensor


@dataclass(frozen=True)
class LatticeFreeLoss:
    """The loss of a batch: a lattice-free criterion, smoothed with cross-entropy.

    Attributes:
        denominator: the phone graph, a vector of one ``k2.Fsa`` on the device.
        search: how far it is searched.
        log_priors: (P,) natural log.
        criterion: ``mmi`` or ``smbr``.
        acoustic_scale: factor of the log-likelihoods.
        cross_entropy_weight: share of cross-entropy, 0 … 1.
        transcripts: graphs of the numerators of ``mmi``; None takes the labels' one path.
    """

    denominator: Fsa
    search: DenominatorSearch
    log_priors: Tensor
    criterion: LatticeFreeCriterion
    acoustic_scale: float
    cross_entropy_weight: float
    transcripts: TranscriptGraphs | None = None

    def criterion_of(self, logits: Tensor, batch: Batch) -> Criterion:
        """The criterion for logits (N, P) of a batch with hard labels."""
        frames = num_low_rate_frames(batch.lengths.cpu())
        # k2 wants the longest first.
        order = torch.argsort(frames, descending=True, stable=True)
        scaled = self.acoustic_scale * (logits.float() - self.log_priors)
        scores = [scaled.split(frames.tolist())[place] for place in order.tolist()]
        labels = [batch.pdf_ids.split(frames.tolist())[place] for place in order.tolist()]
        dense = _dense(scores)
        lattices = load_k2().intersect_dense_pruned(
            self.denominator,
            dense,
            search_beam=self.search.beam,
            output_beam=self.search.lattice_beam,
            min_active_states=self.search.min_active,
            max_active_states=self.search.max_active,
            frame_idx_name=_FRAME,
        )
        denominator = total_scores(lattices)
        is_found = torch.isfinite(denominator)
        if self.criterion == "smbr":
            values = expected_accuracies(lattices, _correct_arcs(lattices, labels))
            sorted_frames = frames[order].to(values)
            best = (sorted_frames * is_found).sum()
        else:
            cut_ids = [batch.cut_ids[place] for place in order.tolist()]
            numerator = self._numerator(cut_ids, dense, scores, labels)
            is_found &= torch.isfinite(numerator)
            values = torch.where(is_found, numerator, 0.0) - torch.where(is_found, denominator, 0.0)
            best = values.new_zeros(())
        return Criterion(values * is_found, is_found, best)

    def __call__(self, criterion: Criterion, logits: Tensor, batch: Batch) -> Tensor:
        """() the loss, summed over the frames of a batch."""
        weight = self.cross_entropy_weight
        loss = (1.0 - weight) * (criterion.best - criterion.values.sum())
        return loss + weight * hard_label_loss(logits, batch.pdf_ids)

    def _numerator(
        self, cut_ids: list[str], dense: Fsa, scores: list[Tensor], labels: list[Tensor]
    ) -> Tensor:
        """(B,) float64 score of the labels, or the total of the transcript's paths."""
        if self.transcripts is None:
            taken = [
                of_frames.gather(1, pdf_ids[:, None]).double().sum()
                for of_frames, pdf_ids in zip(scores, labels, strict=True)
            ]
            return torch.stack(taken)
        graphs = self.transcripts(cut_ids)
        return total_scores(load_k2().intersect_dense(graphs, dense, self.search.lattice_beam))


def _dense(scores: list[Tensor]) -> Fsa:
    """A ``k2.DenseFsaVec`` of (frames, P) scores, label = pdf-id + 1, differentiable."""
    padded = torch.nn.functional.pad(pad_sequence(scores, batch_first=True), (1, 0))
    segments = torch.tensor([[row, 0, len(one)] for row, one in enumerate(scores)])
    return load_k2().DenseFsaVec(padded, segments.int())


def _correct_arcs(lattices: Fsa, labels: list[Tensor]) -> Tensor:
    """(arcs,) float64, 1 where an arc has the reference's senone in its frame."""
    wanted = pad_sequence([pdf_ids + 1 for pdf_ids in labels], batch_first=True)
    emits = lattices.labels > 0
    frame = torch.where(emits, getattr(lattices, _FRAME).long(), 0)
    correct = emits & (wanted[utterance_of_arc(lattices), frame] == lattices.labels)
    return correct.double()


class LatticeFreeTrainer(Trainer):
    """A trainer whose loss is a :class:`LatticeFreeLoss`.

    Args:
        lattice_free_loss: its tensors on the trainer's device.
        arguments: as for :class:`am.nnet.trainer.Trainer`; the sources have hard labels.
    """

    def __init__(self, lattice_free_loss: LatticeFreeLoss, *arguments: object):
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._lattice_free_loss = lattice_free_loss
        self._totals = self._nothing()

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Summed loss of a batch's frames."""
        criterion = self._lattice_free_loss.criterion_of(logits, batch)
        with torch.no_grad():
            unused = (~criterion.is_used).sum()
            counts = [criterion.values.sum(), unused, unused.new_tensor(batch.num_frames)]
            self._totals += torch.stack([count.double() for count in counts])
        return self._lattice_free_loss(criterion, logits, batch)

    def _end_pass(self, one: Pass) -> None:
        value, unused, frames = self._worker.sum(self._totals).tolist()
        self._totals = self._nothing()
        name = CRITERION_NAMES[self._lattice_free_loss.criterion]
        if frames > 0:
            log.info("%s %.4f a frame", name, value / frames)
        if unused:
            log.warning(
                "%d utterances had an empty lattice and taught cross-entropy alone; a wider "
                "search.beam finds their paths, if their transcripts fit",
                unused,
            )
        super()._end_pass(one)

    def _nothing(self) -> Tensor:
        return torch.zeros(3, dtype=torch.float64, device=self._device)
