"""The lexicon transducer L, and the disambiguation symbols that make it determinizable.

The form is that of Kaldi's ``utils/lang/make_lexicon_fst.py`` and ``utils/add_lex_disambig.pl``.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from am.graph.arrays import EPSILON, ArcList, FstArrays

# A state and the cost of going there.
WordEnd = tuple[int, float]


@dataclass(frozen=True)
class LexiconPath:
    """A pronunciation as integers: word-id, probability, phone-ids."""

    word: int
    probability: float
    phones: tuple[int, ...]


@dataclass(frozen=True)
class OptionalSilence:
    """Silence between words and at both ends.

    Attributes:
        phone: phone-id of the silence.
        probability: how often it stands there, in [0, 1); with 0 there is none.
        disambiguation: label after the silence; None for no label.
    """

    phone: int
    probability: float
    disambiguation: int | None = None


def disambiguation_numbers(pronunciations: Sequence[tuple[str, ...]]) -> list[int]:
    """For each pronunciation the number k of the symbol ``#k`` to end it with; 0 for none.

    A pronunciation gets a symbol if another entry has the same phones or begins with them (all
    begin with no phones); entries of the same phones get 1, 2, ... in their order.
    """
    count = Counter(pronunciations)
    prefixes = {phones[:end] for phones in count for end in range(len(phones))}
    used: Counter[tuple[str, ...]] = Counter()
    numbers = []
    for phones in pronunciations:
        if count[phones] > 1 or phones in prefixes:
            used[phones] += 1
            numbers.append(used[phones])
        else:
            numbers.append(0)
    return numbers


def lexicon_fst(
    entries: Sequence[LexiconPath],
    silence: OptionalSilence,
    backoff: tuple[int, int] | None = None,
) -> FstArrays:
    """L: phone-ids in, word-ids out, any sequence of words, weights -log probability.

    Args:
        entries: pronunciations, their disambiguation symbols being part of the phones.
        silence: which silence may stand before the first word and after every word.
        backoff: phone-id and word-id of ``#0``; given, it may stand between words at no cost,
            so that the language model's backoff arcs survive composition.
    """
    arcs = ArcList()
    loop, word_ends = add_word_ends(arcs, silence)
    for entry in entries:
        add_pronunciation(arcs, loop, entry, word_ends)
    if backoff is not None:
        arcs.add_arc(loop, loop, *backoff)
    arcs.set_final(loop)
    return arcs.to_arrays()


def add_word_ends(arcs: ArcList, silence: OptionalSilence) -> tuple[int, list[WordEnd]]:
    """Begin a lexicon: its start, the state between words, and the optional silence.

    Returns:
        The state between words, and where a word's last phone leads: that state and cost.
    """
    start, loop = arcs.add_state(), arcs.add_state()
    word_ends = [(loop, -math.log1p(-silence.probability))]
    if silence.probability > 0.0:
        word_ends.append((_silence_state(arcs, silence, loop), -math.log(silence.probability)))
    for state, cost in word_ends:
        arcs.add_arc(start, state, EPSILON, EPSILON, cost)
    return loop, word_ends


def add_pronunciation(
    arcs: ArcList, source: int, entry: LexiconPath, ends: Sequence[WordEnd]
) -> None:
    """The arcs of a pronunciation from ``source`` to each of ``ends``."""
    state, word, cost = source, entry.word, -math.log(entry.probability)
    *inner, last = entry.phones or (EPSILON,)
    for phone in inner:
        following = arcs.add_state()
        arcs.add_arc(state, following, phone, word, cost)
        state, word, cost = following, EPSILON, 0.0
    for end, end_cost in ends:
        arcs.add_arc(state, end, last, word, cost + end_cost)


def _silence_state(arcs: ArcList, silence: OptionalSilence, loop: int) -> int:
    """A state from which the silence leads to ``loop``."""
    labels = [silence.phone]
    if silence.disambiguation is not None:
        labels.append(silence.disambiguation)
    states = [arcs.add_state() for _ in labels] + [loop]
    for (source, target), label in zip(itertools.pairwise(states), labels, strict=True):
        arcs.add_arc(source, target, label, EPSILON)
    return states[0]
