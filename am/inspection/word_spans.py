"""Which phones of a forced alignment are which word of its transcript."""

from __future__ import annotations

import math
from collections.abc import Sequence

from am.lang.lang import Lang

Span = tuple[int, int]


def word_spans(lang: Lang, word_ids: Sequence[int], phones: Sequence[int]) -> list[Span] | None:
    """Part a phone sequence into the pronunciations of a transcript's words.

    Between words, and at either end, one optional silence may stand.  Where phones that do not
    depend on their place in a word can be parted in several ways, the pronunciations of the
    highest probability are taken.

    Args:
        lang: gives pronunciations and the optional silence.
        word_ids: of the transcript's words (or pieces), in order.
        phones: phone-ids of the whole alignment, in order, one a phone.

    Returns:
        For each word the places of its first phone and after its last; None if the phones are
        no pronunciation of the transcript.
    """
    phones = tuple(phones)
    # By the place after the last word: the best log-probability so far, and the spans behind it.
    best: dict[int, tuple[float, tuple[Span, ...]]] = {0: (0.0, ())}
    for pronunciations in lang.spoken_words(word_ids):
        reached: dict[int, tuple[float, tuple[Span, ...]]] = {}
        for place, (score, spans) in best.items():
            for begin in _starts(lang, phones, place):
                for pronunciation in pronunciations:
                    end = begin + len(pronunciation.phones)
                    if phones[begin:end] != pronunciation.phones:
                        continue
                    new_score = score + math.log(max(pronunciation.probability, 1e-30))
                    if end not in reached or new_score > reached[end][0]:
                        reached[end] = (new_score, (*spans, (begin, end)))
        best = reached
    ends = [found for place, found in best.items() if len(phones) in _starts(lang, phones, place)]
    return list(max(ends)[1]) if ends else None


def _starts(lang: Lang, phones: tuple[int, ...], place: int) -> list[int]:
    """Where a word may begin after ``place``: there, or behind an optional silence."""
    silent = phones[place : place + 1] == (lang.optional_silence,)
    return [place, place + 1] if silent else [place]
