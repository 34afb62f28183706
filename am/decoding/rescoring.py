"""Best paths through lattices at many scales at once.

Shapes: S states, A arcs, U lattices (utterances), G grid points (scales).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from am.decoding.decoder import Scales
from am.decoding.lattices import LatticeArrays, side_by_side

NO_ARC = -1


def best_words(
    lattices: Sequence[LatticeArrays], grid: Sequence[Scales]
) -> list[list[tuple[int, ...]]]:
    """The word-ids of the cheapest path of each lattice under each scale.

    A path costs graph cost + acoustic scale × acoustic cost + word insertion penalty × words.
    Of equally cheap paths the one over the earlier arcs is taken.

    Returns:
        [lattice][grid point] word-ids.
    """
    if not lattices:
        return []
    union = side_by_side(lattices)
    best, incoming = _forward(union, grid)
    owner = np.repeat(np.arange(len(lattices)), [lattice.num_states for lattice in lattices])
    ends = _best_ends(union, best, owner)
    return _trace(union, incoming, ends)


def _forward(union: LatticeArrays, grid: Sequence[Scales]) -> tuple[np.ndarray, np.ndarray]:
    """Costs (S, G) float64 of the best path from the start, and its last arc (S, G) or NO_ARC.

    States are settled in topological order, all those whose arcs in have been followed at once.
    """
    acoustic_scales = np.array([scales.acoustic_scale for scales in grid])
    penalties = np.array([scales.word_insertion_penalty for scales in grid])
    order = np.argsort(union.source, kind="stable")
    first_arc = np.searchsorted(union.source[order], np.arange(union.num_states + 1))
    waiting_for = np.bincount(union.target, minlength=union.num_states)
    best = np.full((union.num_states, len(grid)), np.inf)
    best[union.starts] = 0.0
    incoming = np.full(best.shape, NO_ARC, dtype=np.int64)
    settled = np.flatnonzero(waiting_for == 0)
    while len(settled):
        arcs = order[_ranges(first_arc[settled], first_arc[settled + 1])]
        if len(arcs) == 0:
            break
        arcs = arcs[np.argsort(union.target[arcs], kind="stable")]
        cost = (
            best[union.source[arcs]]
            + union.graph_cost[arcs, None]
            + union.acoustic_cost[arcs, None] * acoustic_scales
            + (union.word[arcs, None] != 0) * penalties
        )
        targets, first, counts = np.unique(
            union.target[arcs], return_index=True, return_counts=True
        )
        cheapest = np.minimum.reduceat(cost, first)
        ties = np.where(cost == np.repeat(cheapest, counts, axis=0), arcs[:, None], len(order))
        chosen = np.minimum.reduceat(ties, first)
        better = cheapest < best[targets]
        best[targets] = np.where(better, cheapest, best[targets])
        incoming[targets] = np.where(better, chosen, incoming[targets])
        waiting_for[targets] -= counts
        settled = targets[waiting_for[targets] == 0]
    return best, incoming


def _best_ends(union: LatticeArrays, best: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """(U, G) the final state of each lattice's cheapest whole path."""
    whole = best + union.final_cost[:, None]
    bounds = np.searchsorted(owner, np.arange(len(union.starts) + 1))
    return np.stack([begin + whole[begin:end].argmin(axis=0) for begin, end in pairwise(bounds)])


def _trace(
    union: LatticeArrays, incoming: np.ndarray, ends: np.ndarray
) -> list[list[tuple[int, ...]]]:
    """Follow the incoming arcs back from ``ends`` (U, G), all paths in step."""
    state = ends.copy()
    point = np.broadcast_to(np.arange(ends.shape[1]), ends.shape)
    steps: list[np.ndarray] = []
    while True:
        arc = incoming[state, point]
        going_on = arc != NO_ARC
        if not going_on.any():
            break
        steps.append(np.where(going_on, union.word[arc], 0))
        state = np.where(going_on, union.source[arc], state)
    words = np.stack(steps[::-1], axis=-1) if steps else np.zeros((*ends.shape, 0), np.int32)
    return [[tuple(path[path != 0].tolist()) for path in of_lattice] for of_lattice in words]


def _ranges(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """All the whole numbers of many ranges, one range after the other."""
    lengths = end - begin
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(begin - before, lengths)
