"""The lexicon of pieces: what each is said like by its place in a word, and its transducer L.

Which pieces may follow is a matter of L, so that silence stands between words alone::

    between words --▁HE--> inside --LLO--> between words, perhaps by way of silence
    between words --▁HELLO--> between words
    between words --▁--> opened --HE--> inside
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from am.graph.arrays import ArcList, FstArrays
from am.lang.lexicon_fst import LexiconPath, OptionalSilence, add_pronunciation, add_word_ends
from am.lang.phone_set import PhoneSet
from am.lang.subword_model import WORD_MARK
from am.lang.text_rules import TextRules


class Standing(Enum):
    """Where in a word a piece begins or ends: between words, after a lone ``▁``, inside."""

    BETWEEN = "between words"
    OPENED = "opened"
    INSIDE = "inside"


@dataclass(frozen=True)
class PieceForm:
    """How a piece is said in one place.

    Attributes:
        piece: it, or the unknown word.
        phones: its graphemes marked by their places in the word; none for a lone ``▁``.
        begin, end: where it leads from and to.
    """

    piece: str
    phones: tuple[str, ...]
    begin: Standing
    end: Standing


def forms_of(piece: str, rules: TextRules, phone_set: PhoneSet) -> Iterator[PieceForm]:
    """Every way to say a piece."""
    if piece == WORD_MARK:
        yield PieceForm(piece, (), Standing.BETWEEN, Standing.OPENED)
        return
    graphemes = rules.graphemes(piece.removeprefix(WORD_MARK))
    begins = [Standing.OPENED, Standing.INSIDE]
    if piece.startswith(WORD_MARK):
        begins = [Standing.BETWEEN]
    for begin in begins:
        for end in (Standing.BETWEEN, Standing.INSIDE):
            phones = phone_set.in_word(
                graphemes, begins=begin != Standing.INSIDE, ends=end == Standing.BETWEEN
            )
            yield PieceForm(piece, phones, begin, end)


def unknown_form(unknown_word: str, phone: str, phone_set: PhoneSet) -> PieceForm:
    """The unknown word, a whole word of one phone."""
    phones = phone_set.in_word((phone,))
    return PieceForm(unknown_word, phones, Standing.BETWEEN, Standing.BETWEEN)


def piece_lexicon_fst(
    forms: Sequence[Sequence[PieceForm]],
    entries: Sequence[LexiconPath],
    silence: OptionalSilence,
    backoff: tuple[int, int] | None,
) -> FstArrays:
    """L: phone-ids in, piece-ids out, any sequence of whole words, weights -log probability.

    Args:
        forms: for each entry the places where its piece is said so.
        entries: pieces with their phones, disambiguation symbols being part of these.
        silence: which silence may stand before the first word and after every word.
        backoff: phone-id and word-id of ``#0``, which may stand wherever a piece may begin.
    """
    arcs = ArcList()
    between, word_ends = add_word_ends(arcs, silence)
    state_of = {
        Standing.BETWEEN: between,
        Standing.OPENED: arcs.add_state(),
        Standing.INSIDE: arcs.add_state(),
    }
    for entry, its_forms in zip(entries, forms, strict=True):
        for begin in Standing:
            ends = [form.end for form in its_forms if form.begin == begin]
            targets = [(state_of[end], 0.0) for end in ends if end != Standing.BETWEEN]
            if Standing.BETWEEN in ends:
                targets += word_ends
            if targets:
                add_pronunciation(arcs, state_of[begin], entry, targets)
    if backoff is not None:
        for state in state_of.values():
            arcs.add_arc(state, state, *backoff)
    arcs.set_final(between)
    return arcs.to_arrays()
