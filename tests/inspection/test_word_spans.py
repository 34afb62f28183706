"""Words found again among the phones of an alignment."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from inspection_cases import make_lang

from am.inspection.word_spans import word_spans
from am.lang.lang import Lang, Pronunciation
from am.lang.prepare import LangSettings


@pytest.fixture(scope="module", params=[True, False], ids=["positions", "no-positions"])
def lang(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lang:
    settings = LangSettings(position_dependent_phones=request.param)
    return make_lang(tmp_path_factory.mktemp("lang"), settings)


def test_words_are_found_whatever_was_said(lang: Lang) -> None:
    random = np.random.default_rng(1)
    speakable = sorted(lang.pronunciations)
    for _ in range(200):
        word_ids = random.choice(speakable, random.integers(1, 6)).tolist()
        phones: list[int] = []
        spans = []
        for word_id in word_ids:
            phones += [lang.optional_silence] * int(random.integers(0, 2))
            spoken = random.choice(len(lang.pronunciations[word_id]))
            begin = len(phones)
            phones += lang.pronunciations[word_id][spoken].phones
            spans.append((begin, len(phones)))
        phones += [lang.optional_silence] * int(random.integers(0, 2))
        assert word_spans(lang, word_ids, phones) == spans


def test_phones_of_other_words_are_none(lang: Lang) -> None:
    be, bus = lang.words["be"], lang.words["bus"]
    phones = list(lang.pronunciations[be][0].phones)
    assert word_spans(lang, [be], phones) == [(0, 2)]
    assert word_spans(lang, [bus], phones) is None
    assert word_spans(lang, [be, be], phones) is None
    assert word_spans(lang, [be], phones + phones) is None
    two_silences = [lang.optional_silence] * 2
    assert word_spans(lang, [be], two_silences + phones) is None


def test_the_likelier_parting_is_taken(lang: Lang, tmp_path: Path) -> None:
    """Of "ab" + "c" and "a" + "bc", by brute force over all pronunciations."""
    first, second = 1, 2
    for probabilities in itertools.product((0.2, 1.0), repeat=4):
        spoken = [((3,), 0), ((3, 4), 1), ((5,), 2), ((4, 5), 3)]
        entries = [Pronunciation(probabilities[place], phones) for phones, place in spoken]
        unclear = dataclasses.replace(
            lang, pronunciations={first: tuple(entries[:2]), second: tuple(entries[2:])}
        )
        parted_early = probabilities[0] * probabilities[3]
        parted_late = probabilities[1] * probabilities[2]
        found = word_spans(unclear, [first, second], [3, 4, 5])
        if parted_early > parted_late:
            assert found == [(0, 1), (1, 3)]
        elif parted_early < parted_late:
            assert found == [(0, 2), (2, 3)]
        else:
            assert found in ([(0, 1), (1, 3)], [(0, 2), (2, 3)])
