"""The HMM of one utterance's transcript: its phone graph with triphones turned into states.

Shapes: S states, J jumps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from am.alignment.phone_graph import EDGE, PhoneGraph, phone_graph
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang
from am.tree.context_tree import ContextTree

Triphone = tuple[int, int, int]


@dataclass(frozen=True)
class TrainingGraph:
    """An acyclic graph of HMM states in topological order; self-loops are implied.

    Weights are natural logs of pronunciation and silence probabilities; what the HMM's own
    transitions cost is added when the graph is used.

    Attributes:
        transition_states: (S,) int32, from 1.
        advance: (S,) float32, weight of the arc from state ``s - 1`` to ``s``; -inf if none.
        jump_targets, jump_sources: (J,) int32, every other arc, sorted by target.
        jump_weights: (J,) float32.
        start_states, final_states: int32, where paths begin and end.
        start_weights, final_weights: float32, of those.
        min_frames: states on the shortest path.
    """

    transition_states: np.ndarray
    advance: np.ndarray
    jump_targets: np.ndarray
    jump_sources: np.ndarray
    jump_weights: np.ndarray
    start_states: np.ndarray
    start_weights: np.ndarray
    final_states: np.ndarray
    final_weights: np.ndarray
    min_frames: int

    @property
    def num_states(self) -> int:
        """S."""
        return len(self.transition_states)

    def to_record(self) -> np.ndarray:
        """All of it as one int32 array, floats by their bits, for :meth:`from_record`."""
        sizes = [self.num_states, len(self.jump_targets), len(self.start_states)]
        header = np.array([*sizes, len(self.final_states), self.min_frames], dtype=np.int32)
        integers = [self.transition_states, self.jump_targets, self.jump_sources]
        integers += [self.start_states, self.final_states]
        floats = [self.advance, self.jump_weights, self.start_weights, self.final_weights]
        return np.concatenate([header, *integers, *(values.view(np.int32) for values in floats)])

    @staticmethod
    def from_record(record: np.ndarray) -> TrainingGraph:
        """Views into an array of :meth:`to_record`."""
        states, jumps, starts, finals, min_frames = (int(value) for value in record[:5])
        sizes = [states, jumps, jumps, starts, finals, states, jumps, starts, finals]
        parts = np.split(record[5:], np.cumsum(sizes)[:-1])
        floats = [part.view(np.float32) for part in parts[5:]]
        return TrainingGraph(
            transition_states=parts[0],
            advance=floats[0],
            jump_targets=parts[1],
            jump_sources=parts[2],
            jump_weights=floats[1],
            start_states=parts[3],
            start_weights=floats[2],
            final_states=parts[4],
            final_weights=floats[3],
            min_frames=min_frames,
        )


class GraphCompiler:
    """Makes training graphs for one lang folder, tree and transition model."""

    def __init__(
        self, lang: Lang, tree: ContextTree, topology: Topology, transitions: TransitionModel
    ):
        self._lang = lang
        self._tree = tree
        self._topology = topology
        self._transitions = transitions
        self._states_of_triphone: dict[Triphone, tuple[int, ...]] = {}

    def compile(self, word_ids: Sequence[int]) -> TrainingGraph:
        """The graph of a transcript; every word must have a pronunciation."""
        graph = phone_graph(self._lang, word_ids)
        contexts = graph.contexts()
        self._look_up(
            {
                (left, phone, right)
                for phone, (lefts, rights) in zip(graph.phones, contexts, strict=True)
                for left in lefts
                for right in rights
            }
        )
        occurrences = []
        num_states = 0
        for phone, (lefts, rights) in zip(graph.phones, contexts, strict=True):
            occurrence = _Occurrence.expand(phone, lefts, rights, self._states_of_triphone)
            num_states = occurrence.place(num_states)
            occurrences.append(occurrence)
        lengths = [self._topology.num_states(phone) for phone in graph.phones]
        return _lay_out(graph, occurrences, graph.shortest(lengths))

    def _look_up(self, triphones: set[Triphone]) -> None:
        """Ask the tree, in one call, for the triphones that no graph had before."""
        rows = [
            (left, phone, right, state)
            for left, phone, right in triphones - self._states_of_triphone.keys()
            for state in range(self._topology.num_states(phone))
        ]
        if not rows:
            return
        pdf_ids = self._tree.pdf_ids(*np.array(rows).T)
        for (left, phone, right, state), pdf_id in zip(rows, pdf_ids.tolist(), strict=True):
            states = self._states_of_triphone.get((left, phone, right), ())
            state_id = self._transitions.transition_state(phone, state, pdf_id)
            self._states_of_triphone[left, phone, right] = (*states, state_id)


@dataclass
class _Occurrence:
    """A phone occurrence as one copy of its states for each context that must be told apart.

    Right phones between which no left phone makes a difference share a class; within a class,
    left phones with the same states share a copy.  Both mergers keep the set of paths exact.

    Attributes:
        class_of_right: right phone → class.
        copy_of_left: per class, left phone → copy.
        copies: transition-states of each copy.
        first_states: number of each copy's first state in the training graph.
    """

    class_of_right: dict[int, int]
    copy_of_left: list[dict[int, int]]
    copies: list[tuple[int, ...]]
    first_states: list[int]

    @staticmethod
    def expand(
        phone: int,
        lefts: set[int],
        rights: set[int],
        states_of_triphone: dict[Triphone, tuple[int, ...]],
    ) -> _Occurrence:
        classes: dict[tuple[tuple[int, ...], ...], int] = {}
        occurrence = _Occurrence({}, [], [], [])
        ordered_lefts = sorted(lefts)
        for right in sorted(rights):
            by_left = tuple(states_of_triphone[left, phone, right] for left in ordered_lefts)
            if by_left not in classes:
                classes[by_left] = len(classes)
                copies = {
                    states: len(occurrence.copies) + i
                    for i, states in enumerate(dict.fromkeys(by_left))
                }
                occurrence.copies += copies
                occurrence.copy_of_left.append(
                    {left: copies[s] for left, s in zip(ordered_lefts, by_left, strict=True)}
                )
            occurrence.class_of_right[right] = classes[by_left]
        return occurrence

    def place(self, num_states: int) -> int:
        """Number the states from ``num_states`` on; return the first free number."""
        for states in self.copies:
            self.first_states.append(num_states)
            num_states += len(states)
        return num_states

    def entries(self, left: int) -> set[int]:
        """First states that follow the phone ``left``."""
        return {self.first_states[copies[left]] for copies in self.copy_of_left}

    def exits(self, right: int) -> set[int]:
        """Last states that precede the phone ``right``."""
        copies = set(self.copy_of_left[self.class_of_right[right]].values())
        return {self.first_states[copy] + len(self.copies[copy]) - 1 for copy in copies}


def _lay_out(graph: PhoneGraph, occurrences: list[_Occurrence], min_frames: int) -> TrainingGraph:
    copies = [copy for occurrence in occurrences for copy in occurrence.copies]
    transition_states = np.array([state for copy in copies for state in copy], dtype=np.int32)
    advance = np.zeros(len(transition_states), dtype=np.float32)
    for occurrence in occurrences:
        advance[occurrence.first_states] = -np.inf
    starts: list[tuple[int, float]] = []
    finals: list[tuple[int, float]] = []
    jumps: list[tuple[int, int, float]] = []
    for source, target, weight in graph.arcs:
        exits = [] if source == EDGE else occurrences[source].exits(graph.phone(target))
        entries = [] if target == EDGE else occurrences[target].entries(graph.phone(source))
        if source == EDGE:
            starts += [(entry, weight) for entry in entries]
        elif target == EDGE:
            finals += [(exit_state, weight) for exit_state in exits]
        for exit_state in exits:
            for entry in entries:
                if entry == exit_state + 1:
                    advance[entry] = weight
                else:
                    jumps.append((entry, exit_state, weight))
    jumps.sort()
    return TrainingGraph(
        transition_states=transition_states,
        advance=advance,
        jump_targets=np.array([target for target, _, _ in jumps], dtype=np.int32),
        jump_sources=np.array([source for _, source, _ in jumps], dtype=np.int32),
        jump_weights=np.array([weight for _, _, weight in jumps], dtype=np.float32),
        start_states=np.array([state for state, _ in starts], dtype=np.int32),
        start_weights=np.array([weight for _, weight in starts], dtype=np.float32),
        final_states=np.array([state for state, _ in finals], dtype=np.int32),
        final_weights=np.array([weight for _, weight in finals], dtype=np.float32),
        min_frames=min_frames,
    )
