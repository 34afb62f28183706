"""Names of phones, and sets of phones in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inspection_cases import make_lang

from am.errors import InputError
from am.inspection.phone_names import PhoneNames
from am.inspection.tree_questions import QuestionWords
from am.lang.prepare import LangSettings
from am.tree.context_tree import CENTRE, LEFT, PDF_CLASS, RIGHT


def test_base_phones(folders: Any) -> None:
    names = PhoneNames(folders.lang)
    assert names.base_names == ["SIL", "SPN", "AH", "B", "EY1", "IY1", "S"]
    phones = folders.lang.phones
    for name in ("AH", "AH0", "AH0_B"):
        assert names.phone_of(name) == phones["AH0_B"]
    assert names.phone_of("EY") == phones["EY1_B"]
    assert names.phone_of("SIL") == phones["SIL"]
    assert (names.number(phones["AH0_B"]), names.number(phones["S_S"])) == ("0", "")
    for unknown in ("QX", "<eps>", "#0", "A", ""):
        with pytest.raises(InputError, match=rf"no phone '{unknown}'; give .* SIL SPN AH B"):
            names.phone_of(unknown)


def test_names_with_two_meanings_are_none(tmp_path: Path) -> None:
    """Where stress has roots of its own, AH alone means two of them."""
    settings = LangSettings(share_numbered_variants=False, position_dependent_phones=False)
    names = PhoneNames(make_lang(tmp_path, settings))
    assert names.base_names == ["SIL", "SPN", "AH0", "AH1", "B", "EY1", "IY1", "S"]
    assert names.places == {}
    assert names.symbols[names.phone_of("AH1")] == "AH1"
    with pytest.raises(InputError, match="no phone 'AH'"):
        names.phone_of("AH")


def test_questions_in_words(folders: Any) -> None:
    lang = folders.lang
    words = QuestionWords(PhoneNames(lang), lang.extra_questions)

    def phones(*ends: str) -> list[int]:
        return [number for name, number in lang.phones.items() if name.endswith(ends)]

    silence = [number for name, number in lang.phones.items() if name.startswith(("SIL", "SPN"))]
    stressed = [number for name, number in lang.phones.items() if "1_" in name]
    begin = [number for number in phones("_B") if number not in silence]
    cases: list[tuple[int, list[int], str]] = [
        (LEFT, silence, "left phone is a silence phone (extra question)"),
        (CENTRE, stressed, "phone itself is a speech phone with number 1 (stress question)"),
        (
            RIGHT,
            begin,
            "right phone is a speech phone with word position begin (position question)",
        ),
        (
            LEFT,
            [lang.phones["SIL"], lang.phones["SPN"]],
            "left phone is a silence phone outside words (position question)",
        ),
        (RIGHT, lang.real_phones, "right phone is any, so not the utterance's edge"),
        (LEFT, [*lang.roots[3], lang.phones["AH0_S"]], "left phone is one of: AH0_S B"),
        (LEFT, lang.roots[3], "left phone is B"),
        (PDF_CLASS, [1, 0], "HMM state is one of: 0 1"),
        (PDF_CLASS, [0], "HMM state is 0"),
    ]
    for position, members, text in cases:
        assert words.describe(position, members) == text


def test_a_broken_word_boundary_file(tmp_path: Path) -> None:
    lang = make_lang(tmp_path)
    path = lang.folder / "phones" / "word_boundary.txt"
    path.write_text("SIL nonword\nAH0_B somewhere\n")
    with pytest.raises(InputError, match="'AH0_B somewhere' is not a phone and its place"):
        PhoneNames(lang)
