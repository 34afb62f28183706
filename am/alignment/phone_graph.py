"""A transcript as a graph of phones: pronunciations in parallel, optional silence between words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from am.lang.lang import Lang

# The phone beyond either end of an utterance.
EDGE_PHONE = 0
# In an arc, the place before the first and after the last phone.
EDGE = -1

# Where a path may stand: a phone occurrence (or EDGE) and the log weight still to be paid.
_Ends = list[tuple[int, float]]


@dataclass
class PhoneGraph:
    """Phone occurrences, numbered in topological order, and the arcs between them.

    Attributes:
        phones: phone-id of each occurrence.
        arcs: source, target (occurrences, or EDGE) and natural log weight.
    """

    phones: list[int] = field(default_factory=list)
    arcs: list[tuple[int, int, float]] = field(default_factory=list)

    def contexts(self) -> list[tuple[set[int], set[int]]]:
        """The left and the right phones that each occurrence can have."""
        found: list[tuple[set[int], set[int]]] = [(set(), set()) for _ in self.phones]
        for source, target, _ in self.arcs:
            if target != EDGE:
                found[target][0].add(self.phone(source))
            if source != EDGE:
                found[source][1].add(self.phone(target))
        return found

    def phone(self, occurrence: int) -> int:
        """The phone-id of an occurrence; ``EDGE_PHONE`` beyond the ends."""
        return EDGE_PHONE if occurrence == EDGE else self.phones[occurrence]

    def shortest(self, lengths: Sequence[int]) -> int:
        """The length of the shortest path, ``lengths`` being those of the occurrences."""
        before: dict[int, int] = {}
        shortest = math.inf
        for source, target, _ in sorted(self.arcs, key=_by_target):
            reached = 0 if source == EDGE else before[source] + lengths[source]
            if target == EDGE:
                shortest = min(shortest, reached)
            else:
                before[target] = min(before.get(target, reached), reached)
        return int(shortest)

    def _add(self, phone: int, ends: _Ends, weight: float) -> int:
        occurrence = len(self.phones)
        self.phones.append(phone)
        self.arcs += [(source, occurrence, before + weight) for source, before in ends]
        return occurrence

    def _add_optional_silence(self, lang: Lang, ends: _Ends) -> _Ends:
        probability = lang.silence_probability
        continued: _Ends = []
        if probability < 1.0:
            skip = math.log1p(-probability)
            continued += [(occurrence, weight + skip) for occurrence, weight in ends]
        if probability > 0.0:
            silence = self._add(lang.optional_silence, ends, math.log(probability))
            continued.append((silence, 0.0))
        return continued


def phone_graph(lang: Lang, word_ids: Sequence[int]) -> PhoneGraph:
    """The graph of a transcript; weights as in the L that Kaldi's ``make_lexicon_fst.py`` makes.

    Args:
        word_ids: words (or pieces) of ``lang``, each with a pronunciation.
    """
    graph = PhoneGraph()
    ends = graph._add_optional_silence(lang, [(EDGE, 0.0)])
    for pronunciations in lang.spoken_words(word_ids):
        word_ends: _Ends = []
        for pronunciation in pronunciations:
            first, *others = pronunciation.phones
            occurrence = graph._add(first, ends, math.log(pronunciation.probability))
            for phone in others:
                occurrence = graph._add(phone, [(occurrence, 0.0)], 0.0)
            word_ends.append((occurrence, 0.0))
        ends = graph._add_optional_silence(lang, word_ends)
    graph.arcs += [(occurrence, EDGE, weight) for occurrence, weight in ends]
    return graph


def _by_target(arc: tuple[int, int, float]) -> float:
    return math.inf if arc[1] == EDGE else arc[1]
