"""A decoding graph as k2 takes it: every arc but the last of a path takes a frame.

k2 intersects a graph with scores symbol by symbol, and symbol 0 is one like any other; an HCLG's
arcs without an input label are therefore joined to the arcs before them.  An arc into a state
becomes an arc into each state that can be reached from there without a frame, if a frame can be
taken there or a path may end.  This keeps each path with its score and words, and copies no
state's leaving arcs: the words that a back-off arc leads to stay shared.

Labels are pdf-id + 1 as in HCLG, −1 on the arcs into k2's one final state.  Scores are natural
logs, higher is better.

Shapes: A arcs, E arcs without input label, S states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from am.errors import InputError
from am.graph.arrays import EPSILON, FstArrays
from am.k2.engine import Fsa, load_k2

FINAL_LABEL = -1
Ends = Literal["final", "any"]


@dataclass(frozen=True)
class EmittingGraph:
    """A graph whose arcs take a frame each; state 0 is the start.

    Attributes:
        source, target: (A,) int32 states.
        label: (A,) int32, pdf-id + 1.
        score: (A,) float32.
        words: (A,) int32, places in ``word_sequences``.
        final: (S,) float32 score of ending there, −inf where paths do not end.
        word_sequences: word-ids; the first is empty.
    """

    source: np.ndarray
    target: np.ndarray
    label: np.ndarray
    score: np.ndarray
    words: np.ndarray
    final: np.ndarray
    word_sequences: tuple[tuple[int, ...], ...]

    def to_k2(self, device: torch.device, ends: Ends = "final") -> Fsa:
        """A vector of one ``k2.Fsa``.

        Its attributes are ``words`` and ``graph_score``, the arcs' scores before any acoustics.

        Args:
            device: where it lies.
            ends: paths end in ``final`` states at their scores, or in ``any`` at no cost.
        """
        k2 = load_k2()
        final = self.final if ends == "final" else np.zeros_like(self.final)
        finals = np.flatnonzero(np.isfinite(final)).astype(np.int32)
        end = np.full(len(finals), len(final), dtype=np.int32)
        source = np.concatenate([self.source, finals])
        label = np.concatenate([self.label, np.full_like(finals, FINAL_LABEL)])
        score = np.concatenate([self.score, final[finals]])
        words = np.concatenate([self.words, np.zeros_like(finals)])
        # k2 wants arcs sorted by label within a state, the final label last.
        order = np.lexsort((label.view(np.uint32), source))
        arcs = np.stack([source, np.concatenate([self.target, end]), label, score.view(np.int32)])
        fsa = k2.Fsa(torch.from_numpy(np.ascontiguousarray(arcs.T[order])))
        fsa.words = torch.from_numpy(words[order])
        fsa.graph_score = torch.from_numpy(score[order])
        return k2.create_fsa_vec([k2.arc_sort(fsa)]).to(device)


def emitting_graph(fst: FstArrays) -> EmittingGraph:
    """The same paths without arcs that take no frame.

    Args:
        fst: input labels pdf-id + 1, output labels word-ids, costs.

    Raises:
        InputError: arcs without input label form a cycle, or no path takes a frame.
    """
    sequences = _WordSequences()
    arc_words = sequences.of_words(fst.olabel)
    emits = np.flatnonzero(fst.ilabel != EPSILON)
    is_kept = np.isfinite(fst.final)
    is_kept[fst.source[emits]] = True
    origins = np.union1d(fst.nextstate[emits], [fst.start])
    ways = _ways_without_frames(fst, arc_words, origins, sequences)
    ways = ways.where(is_kept[ways.state])
    by_target = ways.leaving(fst.nextstate[emits])
    arc, way = emits[by_target.row], by_target.way
    graph_words = sequences.joined(arc_words[arc], ways.words[way])
    source, target = fst.source[arc], ways.state[way]
    cost = fst.weight[arc] + ways.cost[way]
    # The start takes the arcs of every state that it reaches without a frame.
    from_start = np.flatnonzero(ways.origin == fst.start)
    first, row = _joined_on(ways.state[from_start], source)
    before = from_start[first]
    if len(row) == 0:
        raise InputError("the decoding graph: no path takes a frame; run utils/mkgraph.py")
    return EmittingGraph(
        source=np.concatenate([np.zeros(len(row)), source + 1]).astype(np.int32),
        target=(np.concatenate([target[row], target]) + 1).astype(np.int32),
        label=np.concatenate([fst.ilabel[arc][row], fst.ilabel[arc]]),
        score=-np.concatenate([ways.cost[before] + cost[row], cost]).astype(np.float32),
        words=np.concatenate([sequences.joined(ways.words[before], graph_words[row]), graph_words]),
        final=np.concatenate([[-np.inf], -fst.final]).astype(np.float32),
        word_sequences=tuple(sequences.all),
    )


class _WordSequences:
    """Numbers for sequences of word-ids; 0 is the empty one."""

    def __init__(self) -> None:
        self.all: list[tuple[int, ...]] = [()]
        self._numbers: dict[tuple[int, ...], int] = {(): 0}

    def of_words(self, word_ids: np.ndarray) -> np.ndarray:
        """The numbers of sequences of one word, or none where it is 0."""
        found, place = np.unique(word_ids, return_inverse=True)
        numbers = [self._number((word,) if word else ()) for word in found.tolist()]
        return np.array(numbers, dtype=np.int32)[place.reshape(-1)]

    def joined(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The numbers of the sequences one after the other."""
        joined = np.where(second == 0, first, second)
        both = np.flatnonzero((first > 0) & (second > 0))
        pairs, place = np.unique(np.stack([first[both], second[both]]), axis=1, return_inverse=True)
        numbers = [self._number(self.all[a] + self.all[b]) for a, b in pairs.T.tolist()]
        joined[both] = np.array(numbers, dtype=np.int32)[place.reshape(-1)]
        return joined

    def _number(self, sequence: tuple[int, ...]) -> int:
        if sequence not in self._numbers:
            self._numbers[sequence] = len(self.all)
            self.all.append(sequence)
        return self._numbers[sequence]


@dataclass(frozen=True)
class _Matches:
    row: np.ndarray
    way: np.ndarray


@dataclass(frozen=True)
class _Ways:
    """Ways from states to states that take no frame, sorted by origin; each starts with itself."""

    origin: np.ndarray
    state: np.ndarray
    cost: np.ndarray
    words: np.ndarray

    def where(self, kept: np.ndarray) -> _Ways:
        return _Ways(self.origin[kept], self.state[kept], self.cost[kept], self.words[kept])

    def leaving(self, states: np.ndarray) -> _Matches:
        """Every pair of a row of ``states`` and a way from it."""
        return _Matches(*_joined_on(states, self.origin))


def _joined_on(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of all pairs of equal values; ordered by the left ones."""
    order = np.argsort(right, kind="stable")
    first = np.searchsorted(right[order], left, side="left")
    counts = np.searchsorted(right[order], left, side="right") - first
    rows = np.repeat(np.arange(len(left)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, order[first[rows] + within]


def _ways_without_frames(
    fst: FstArrays, arc_words: np.ndarray, origins: np.ndarray, sequences: _WordSequences
) -> _Ways:
    epsilons = np.flatnonzero(fst.ilabel == EPSILON)
    _check_acyclic(fst.source[epsilons], fst.nextstate[epsilons])
    newest = _Ways(
        origin=origins,
        state=origins,
        cost=np.zeros(len(origins), dtype=np.float32),
        words=np.zeros(len(origins), dtype=np.int32),
    )
    found = [newest]
    while len(newest.state):
        way, place = _joined_on(newest.state, fst.source[epsilons])
        arc = epsilons[place]
        newest = _Ways(
            origin=newest.origin[way],
            state=fst.nextstate[arc],
            cost=newest.cost[way] + fst.weight[arc],
            words=sequences.joined(newest.words[way], arc_words[arc]),
        )
        found.append(newest)
    names = ("origin", "state", "cost", "words")
    return _Ways(*(np.concatenate([getattr(ways, name) for ways in found]) for name in names))


def _check_acyclic(source: np.ndarray, target: np.ndarray) -> None:
    """Raise InputError if arcs form a cycle: some are left when those at the ends are cut off."""
    while len(source):
        is_entered = np.isin(source, target)
        if is_entered.all():
            raise InputError(
                f"the decoding graph: a cycle without input labels through state {source[0]}; make "
                "the lang folder and the graph again"
            )
        source, target = source[is_entered], target[is_entered]
