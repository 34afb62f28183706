"""Sequence objectives over denominator lattices: sMBR, MPFE and MMI.  Higher is better.

Acoustic scores are log-likelihoods up to a constant a frame: logits − log priors serve as well as
log posteriors − log priors, because every path has one pdf-id in every frame and the constant
leaves the paths' probabilities as they are (and in MMI cancels against the reference's score).

Shapes: B utterances, N = the sum of their frames, P senones; natural logs.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from am.sequence.forward_backward import arc_posteriors, forward_backward
from am.sequence.lattice_batch import LatticeBatch

Criterion = Literal["smbr", "mpfe", "mmi"]


def expected_accuracy(
    log_likelihoods: Tensor,
    pdf_ids: Tensor,
    lattices: LatticeBatch,
    acoustic_scale: float,
    classes: Tensor | None = None,
) -> Tensor:
    """Expected number of frames whose senone is the reference's, or is of the same class.

    With every senone a class of its own this is state-level minimum Bayes risk (sMBR: Kingsbury,
    "Lattice-based optimization of sequence classification criteria for neural-network acoustic
    modeling", ICASSP 2009); with the phones as classes it is the minimum phone frame error (MPFE:
    Zheng and Stolcke, "Improved discriminative training using phone lattices", Interspeech 2005),
    in which a frame of silence counts like any other.

    Args:
        log_likelihoods: (N, P), differentiable.
        pdf_ids: (N,) int64 numerator alignment.
        lattices: of the same utterances in the same order.
        acoustic_scale: factor of the log-likelihoods; graph scores have factor 1.
        classes: (P,) int64 class of each pdf-id; None makes each its own.

    Returns:
        (B,) float64, in frames: 0 … the utterance's frames.
    """
    scores = arc_scores(log_likelihoods, lattices, acoustic_scale)
    wanted, taken = pdf_ids[lattices.row], lattices.pdf_id
    if classes is not None:
        wanted, taken = classes[wanted], classes[taken]
    correct = lattices.emits & (wanted == taken)
    return forward_backward(scores, correct.double(), lattices)[1]


def log_likelihood_ratio(
    log_likelihoods: Tensor,
    pdf_ids: Tensor,
    lattices: LatticeBatch,
    acoustic_scale: float,
    drop_frames: bool = True,
) -> Tensor:
    """Maximum mutual information: the reference's scaled acoustic score − the lattice's total.

    The reference's graph score, a constant, is left out.  A lattice need not hold the reference;
    where it has no arc of the reference's senone the gradient would push that senone up without
    end, so it is dropped there (Vesely et al., "Sequence-discriminative training of deep neural
    networks", Interspeech 2013).

    Args:
        log_likelihoods, pdf_ids, lattices, acoustic_scale: as for :func:`expected_accuracy`.
        drop_frames: whether such frames get no gradient; the value counts them anyway.

    Returns:
        (B,) float64 natural log.
    """
    if drop_frames:
        held = reference_in_lattice(pdf_ids, lattices)[:, None]
        log_likelihoods = torch.where(held, log_likelihoods, log_likelihoods.detach())
    scores = arc_scores(log_likelihoods, lattices, acoustic_scale)
    total, _ = forward_backward(scores, torch.zeros_like(scores), lattices)
    reference = log_likelihoods.gather(1, pdf_ids[:, None])[:, 0].double() * acoustic_scale
    return total.new_zeros(len(total)).index_add(0, _utterance_of_row(lattices), reference) - total


def arc_scores(log_likelihoods: Tensor, lattices: LatticeBatch, acoustic_scale: float) -> Tensor:
    """(A,) float64: graph score + acoustic scale × log-likelihood of the arc's frame and senone."""
    num_pdfs = log_likelihoods.shape[1]
    flat = log_likelihoods.reshape(-1).index_select(0, lattices.row * num_pdfs + lattices.pdf_id)
    acoustic = flat.double() * acoustic_scale
    return lattices.graph_score + acoustic.masked_fill(~lattices.emits, 0.0)


def senone_posteriors(
    log_likelihoods: Tensor, lattices: LatticeBatch, acoustic_scale: float
) -> Tensor:
    """(N, P) float64 probability of each senone in each frame over the lattice's paths."""
    posteriors = arc_posteriors(
        arc_scores(log_likelihoods.detach(), lattices, acoustic_scale), lattices
    ).masked_fill(~lattices.emits, 0.0)
    rows = log_likelihoods.new_zeros(log_likelihoods.shape, dtype=torch.float64)
    return rows.index_put((lattices.row, lattices.pdf_id), posteriors, accumulate=True)


def reference_in_lattice(pdf_ids: Tensor, lattices: LatticeBatch) -> Tensor:
    """(N,) bool, whether some arc of a frame has the reference's senone."""
    correct = lattices.emits & (pdf_ids[lattices.row] == lattices.pdf_id)
    held = torch.zeros_like(pdf_ids, dtype=torch.bool)
    held[lattices.row[correct]] = True
    return held


def _utterance_of_row(lattices: LatticeBatch) -> Tensor:
    """(N,) int64; every row has an arc, as every path takes every frame."""
    of_row = lattices.utterance.new_zeros(lattices.num_frames)
    of_row[lattices.row[lattices.emits]] = lattices.utterance[lattices.emits]
    return of_row
