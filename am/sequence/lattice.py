"""Denominator lattices: the competing state sequences of an utterance, as arrays.

A lattice is acyclic and frame-synchronous: an arc with a pdf-id takes one frame, an epsilon arc
none.  State 0 is where all paths begin, the last state where all end.  States are numbered in
topological order: by frame (how many frames lie before), then by depth (the most epsilon arcs of
that frame that lie before).  Arcs are sorted by target, and every state but the first is some
arc's target.

Acoustics are not stored: sequence training scores the arcs with the network as it is.

Shapes: A arcs, S states.  Scores are natural logs, higher is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from am.decoding.lattices import LatticeArrays

STORE_KIND = "denominator lattices"
STORED_FIELDS = ("target_step", "source_back", "label", "graph_score")
EPSILON_PDF = -1


@dataclass(frozen=True)
class DenominatorLattice:
    """One utterance's lattice.

    Attributes:
        source, target: (A,) int64 states; ``source < target``, ``target`` ascending.
        pdf_id: (A,) int64, ``EPSILON_PDF`` where no frame is taken.
        graph_score: (A,) float32 natural log weight of the graph: language model,
            pronunciation, transitions; that of ending is on the epsilon arcs to the last state.
    """

    source: np.ndarray
    target: np.ndarray
    pdf_id: np.ndarray
    graph_score: np.ndarray

    @property
    def num_arcs(self) -> int:
        """A."""
        return len(self.source)

    @property
    def num_states(self) -> int:
        """S."""
        return int(self.target[-1]) + 1

    @cached_property
    def state_frames(self) -> np.ndarray:
        """(S,) int64, frames before each state."""
        return _state_frames(self.source, self.target, self.pdf_id != EPSILON_PDF, 0)

    @cached_property
    def state_depths(self) -> np.ndarray:
        """(S,) int64, the most epsilon arcs on a way to each state within its frame."""
        epsilon = self.pdf_id == EPSILON_PDF
        return _state_depths(self.source[epsilon], self.target[epsilon], self.num_states)

    @property
    def num_frames(self) -> int:
        """Frames of every path."""
        return int(self.state_frames[-1])

    def to_record(self) -> dict[str, np.ndarray]:
        """The arrays of ``STORED_FIELDS``, (A,) each, in the narrowest integer types.

        ``target_step`` is 1 where the target is one higher than the arc's before, else 0;
        ``source_back`` is target − source; ``label`` is pdf-id + 1; ``graph_score`` is rounded
        to half precision, within 0.05 %.
        """
        return {
            "target_step": np.diff(self.target, prepend=0).astype(np.uint8),
            "source_back": _narrow(self.target - self.source),
            "label": _narrow(self.pdf_id + 1),
            "graph_score": self.graph_score.astype(np.float16),
        }

    @staticmethod
    def from_record(record: Mapping[str, np.ndarray]) -> DenominatorLattice:
        """What :meth:`to_record` wrote."""
        target = np.cumsum(record["target_step"], dtype=np.int64)
        return DenominatorLattice(
            source=target - record["source_back"].astype(np.int64),
            target=target,
            pdf_id=record["label"].astype(np.int64) - 1,
            graph_score=record["graph_score"].astype(np.float32),
        )


def denominator_lattice(raw: LatticeArrays) -> DenominatorLattice | None:
    """Put a decoder's raw lattice in order; parallel arcs of one pdf-id become one.

    Args:
        raw: its output labels (``word``) are pdf-id + 1, 0 for epsilon.

    Returns:
        None if no path leads from the start to a final state.

    Raises:
        ValueError: paths to one state take different numbers of frames, or there is a cycle.
    """
    finals = np.flatnonzero(np.isfinite(raw.final_cost))
    start, end = int(raw.starts[0]), raw.num_states
    source = np.concatenate([raw.source, finals])
    target = np.concatenate([raw.target, np.full(len(finals), end)])
    label = np.concatenate([raw.word, np.zeros(len(finals), dtype=raw.word.dtype)])
    score = -np.concatenate([raw.graph_cost, raw.final_cost[finals]]).astype(np.float64)
    kept = _on_paths(source, target, start, end)
    if not kept.any():
        return None
    if (target[kept] == start).any():
        raise ValueError("a lattice has a cycle")
    return arranged(source[kept], target[kept], label[kept], score[kept], start)


def arranged(
    source: np.ndarray, target: np.ndarray, label: np.ndarray, score: np.ndarray, start: int
) -> DenominatorLattice:
    """Put arcs in a lattice's order; parallel arcs of one pdf-id become one.

    Args:
        source, target: (A,) integers, any numbers of states; all lie on paths from ``start`` to
            one and the same last state.
        label: (A,) pdf-id + 1, 0 for epsilon.
        score: (A,) natural log weight of the graph.
        start: the first state, no arc's target.

    Raises:
        ValueError: paths to one state take different numbers of frames, or there is a cycle.
    """
    states, numbers = np.unique(np.concatenate([source, target]), return_inverse=True)
    source, target = np.split(numbers.reshape(-1), 2)
    by_target = np.argsort(target, kind="stable")
    source, target = source[by_target], target[by_target]
    label, score = label[by_target], score[by_target]
    emits = label > 0
    frames = _state_frames(source, target, emits, int(np.searchsorted(states, start)))
    if (frames[target] - frames[source] != emits).any():
        raise ValueError("paths to one state of a lattice take different numbers of frames")
    depths = _state_depths(source[~emits], target[~emits], len(states))
    renumbered = np.empty(len(states), dtype=np.int64)
    renumbered[np.lexsort((depths, frames))] = np.arange(len(states))
    return _merged(renumbered[source], renumbered[target], label, score)


def _on_paths(source: np.ndarray, target: np.ndarray, start: int, end: int) -> np.ndarray:
    """(A,) bool, arcs that are left when dead ends are cut off again and again."""
    num_states = end + 1
    kept = np.ones(len(source), dtype=bool)
    while True:
        entered = np.zeros(num_states, dtype=bool)
        entered[target[kept]] = True
        entered[start] = True
        left = np.zeros(num_states, dtype=bool)
        left[source[kept]] = True
        left[end] = True
        alive = kept & entered[source] & left[target]
        if alive.sum() == kept.sum():
            return kept
        kept = alive


def _state_frames(
    source: np.ndarray, target: np.ndarray, emits: np.ndarray, start: int
) -> np.ndarray:
    """(S,) frames from the start to each state, by pointer doubling along one path each.

    ``target`` is sorted and names every state but ``start``.
    """
    states, arcs = np.unique(target, return_index=True)
    num_states = len(states) + 1
    before = np.full(num_states, start)
    before[states] = source[arcs]
    frames = np.zeros(num_states, dtype=np.int64)
    frames[states] = emits[arcs]
    for _ in range(num_states.bit_length()):
        frames += frames[before]
        before = before[before]
    if (before != start).any():
        raise ValueError("a lattice has a cycle")
    return frames


def _state_depths(source: np.ndarray, target: np.ndarray, num_states: int) -> np.ndarray:
    """(S,) longest path of epsilon arcs to each state."""
    depths = np.zeros(num_states, dtype=np.int64)
    for _ in range(len(source) + 1):
        deeper = depths.copy()
        np.maximum.at(deeper, target, depths[source] + 1)
        if (deeper == depths).all():
            return depths
        depths = deeper
    raise ValueError("a lattice has a cycle of epsilon arcs")


def _merged(
    source: np.ndarray, target: np.ndarray, label: np.ndarray, score: np.ndarray
) -> DenominatorLattice:
    order = np.lexsort((label, source, target))
    source, target, label, score = source[order], target[order], label[order], score[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(target) != 0) | (np.diff(source) != 0) | (np.diff(label) != 0)
    first = np.flatnonzero(new)
    return DenominatorLattice(
        source=source[first],
        target=target[first],
        pdf_id=label[first].astype(np.int64) - 1,
        graph_score=np.logaddexp.reduceat(score, first).astype(np.float32),
    )


def _narrow(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint16 if values.max(initial=0) < 1 << 16 else np.int64)
