"""Differentiable forward-backward over lattices: total score and expected accuracy.

With a score s and an accuracy c an arc, a path's score and accuracy are the sums over its arcs,
and its probability is exp(score) over the sum of all paths'.  For a state, α is the log of the
sum of exp(score) over the ways to it, β over the ways from it to the end; α' and β' are the
expected accuracies of those ways.  For an arc from u to v (Povey, "Discriminative Training for
Large Vocabulary Speech Recognition", 2005, section 6.4; Kaldi's
``LatticeForwardBackwardMpeVariants``)

    posterior   γ = exp(α[u] + s + β[v] − total)
    ∂ total / ∂ s = γ
    ∂ expected / ∂ s = γ (α'[u] + c + β'[v] − expected)

All is computed in float64: sums over thousands of frames lose too much in float32.

Shapes as in :mod:`am.sequence.lattice_batch`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from am.sequence.lattice_batch import LatticeBatch


def forward_backward(
    arc_scores: Tensor, arc_accuracies: Tensor, lattices: LatticeBatch
) -> tuple[Tensor, Tensor]:
    """Total score and expected accuracy of each lattice, differentiable in both arguments.

    Args:
        arc_scores: (A,) natural log, finite.
        arc_accuracies: (A,) what each arc adds to a path's accuracy.
        lattices: on the same device.

    Returns:
        (B,) float64 log of the sum of exp(score) over all paths, and (B,) float64 mean accuracy
        of a path.
    """
    total, expected = _ForwardBackward.apply(arc_scores, arc_accuracies, lattices)
    return total, expected


def arc_posteriors(arc_scores: Tensor, lattices: LatticeBatch) -> Tensor:
    """(A,) float64 probability that a path takes each arc; without gradient."""
    scores = arc_scores.detach().double()
    nothing = torch.zeros_like(scores)
    total, _ = _forward(scores, nothing, lattices)
    rest, _ = _backward(scores, nothing, lattices)
    return _posteriors(scores, total, rest, lattices)


class _ForwardBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, arc_scores: Tensor, arc_accuracies: Tensor, lattices: LatticeBatch
    ) -> tuple[Tensor, Tensor]:
        scores, accuracies = arc_scores.double(), arc_accuracies.double()
        alpha, alpha_accuracy = _forward(scores, accuracies, lattices)
        ctx.save_for_backward(scores, accuracies, alpha, alpha_accuracy)
        ctx.lattices = lattices
        ctx.dtypes = arc_scores.dtype, arc_accuracies.dtype
        return alpha[lattices.ends], alpha_accuracy[lattices.ends]

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, total_gradient: Tensor, expected_gradient: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        scores, accuracies, alpha, alpha_accuracy = ctx.saved_tensors
        lattices: LatticeBatch = ctx.lattices
        beta, beta_accuracy = _backward(scores, accuracies, lattices)
        posteriors = _posteriors(scores, alpha, beta, lattices)
        through = alpha_accuracy[lattices.source] + accuracies + beta_accuracy[lattices.target]
        expected = alpha_accuracy[lattices.ends][lattices.utterance]
        of_expected = expected_gradient[lattices.utterance] * posteriors
        of_scores = total_gradient[lattices.utterance] * posteriors + of_expected * (
            through - expected
        )
        return of_scores.to(ctx.dtypes[0]), of_expected.to(ctx.dtypes[1]), None


def _forward(scores: Tensor, accuracies: Tensor, lattices: LatticeBatch) -> tuple[Tensor, Tensor]:
    """(S,) α and (S,) α'."""
    alpha = scores.new_zeros(lattices.num_states)
    accuracy = scores.new_zeros(lattices.num_states)
    states = lattices.states_a_level
    by_level = zip(
        states,
        lattices.source.split(lattices.arcs_into_level),
        lattices.target.split(lattices.arcs_into_level),
        scores.split(lattices.arcs_into_level),
        accuracies.split(lattices.arcs_into_level),
        strict=True,
    )
    first = 0
    for num_states, source, target, score, gain in by_level:
        if first > 0:  # the first states have no arcs into them
            alpha[first : first + num_states], accuracy[first : first + num_states] = _combined(
                alpha[source] + score, accuracy[source] + gain, target - first, num_states
            )
        first += num_states
    return alpha, accuracy


def _backward(scores: Tensor, accuracies: Tensor, lattices: LatticeBatch) -> tuple[Tensor, Tensor]:
    """(S,) β and (S,) β'."""
    beta = scores.new_zeros(lattices.num_states)
    accuracy = scores.new_zeros(lattices.num_states)
    order, counts = lattices.by_source, lattices.arcs_out_of_level
    by_level = zip(
        lattices.states_a_level,
        lattices.source[order].split(counts),
        lattices.target[order].split(counts),
        scores[order].split(counts),
        accuracies[order].split(counts),
        strict=True,
    )
    last = lattices.num_states
    for num_states, source, target, score, gain in reversed(list(by_level)):
        first = last - num_states
        if len(source) > 0:
            # An utterance's last state may share its level with states that others go on from.
            beta[first:last], accuracy[first:last] = _combined(
                beta[target] + score, accuracy[target] + gain, source - first, num_states
            )
        last = first
    return beta, accuracy


def _combined(
    scores: Tensor, accuracies: Tensor, states: Tensor, num_states: int
) -> tuple[Tensor, Tensor]:
    """(num_states,) log of the sum of exp(score), and mean accuracy, over each state's arcs.

    A state without arcs gets 0 and 0.
    """
    highest = scores.new_full((num_states,), -torch.inf)
    highest.scatter_reduce_(0, states, scores, "amax")
    weights = (scores - highest[states]).exp_()
    sums = scores.new_zeros(2, num_states)
    sums.index_add_(1, states, torch.stack([weights, weights * accuracies]))
    alone = torch.isinf(highest)
    totals = highest.masked_fill(alone, 0.0) + sums[0].masked_fill(alone, 1.0).log_()
    return totals, sums[1] / sums[0].masked_fill(alone, 1.0)


def _posteriors(scores: Tensor, alpha: Tensor, beta: Tensor, lattices: LatticeBatch) -> Tensor:
    total = alpha[lattices.ends]
    through = alpha[lattices.source] + scores + beta[lattices.target]
    return (through - total[lattices.utterance]).exp_()
