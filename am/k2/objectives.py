"""Total score and expected accuracy of k2's lattices, differentiable in the arcs' scores.

The same quantities as in :mod:`am.sequence.forward_backward`, computed by k2's forward-backward:
neither code knows the other, so that each is a check of the other.

Shapes: B utterances, A arcs.  Natural logs, higher is better.
"""

from __future__ import annotations

import torch
from torch import Tensor

from am.k2.engine import Fsa
from am.k2.lattices import arc_offsets


def total_scores(fsas: Fsa) -> Tensor:
    """(B,) float64 log of the sum of exp(score) over all paths; −inf for an empty lattice."""
    total: Tensor = fsas.get_tot_scores(use_double_scores=True, log_semiring=True)
    return total


def expected_accuracies(fsas: Fsa, arc_accuracies: Tensor) -> Tensor:
    """(B,) float64 mean accuracy of a path; 0 for an empty lattice.

    Args:
        fsas: a vector of lattices.
        arc_accuracies: (A,) what each arc adds to a path's accuracy.
    """
    posteriors = fsas.get_arc_post(use_double_scores=True, log_semiring=True).exp()
    utterances = utterance_of_arc(fsas)
    sums = posteriors.new_zeros(int(fsas.shape[0]))
    return sums.index_add(0, utterances, posteriors * arc_accuracies.double())


def utterance_of_arc(fsas: Fsa) -> Tensor:
    """(A,) int64 place of each arc's automaton in a vector, on its device."""
    offsets = torch.from_numpy(arc_offsets(fsas)).long()
    utterances = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    return utterances.to(fsas.device)
