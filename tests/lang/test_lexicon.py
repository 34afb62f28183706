"""Reading lexicons: what is accepted, and what is refused with file and line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am.errors import InputError
from am.lang.lexicon import LexiconEntry, read_lexicon
from am.lang.lexicon_fst import disambiguation_numbers


def lexicon(folder: Path, content: str | bytes) -> Path:
    path = folder / "lexicon.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_entries_are_sorted_by_code_point_whatever_the_line_ends(tmp_path: Path) -> None:
    path = lexicon(tmp_path, "\ufeffb\tB\r\nÄ EH\r\n\nA AH0\na  EY1 \nB B IY\nA AH0 AH0\n")
    words = [entry.word for entry in read_lexicon(path, with_probabilities=False)]
    assert words == ["A", "A", "B", "a", "b", "Ä"]


def test_repeated_entries_are_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = lexicon(tmp_path, "a X\nb Y\na X\na X X\n")
    entries = read_lexicon(path, with_probabilities=False)
    assert [(entry.word, entry.phones) for entry in entries] == [
        ("a", ("X",)),
        ("a", ("X", "X")),
        ("b", ("Y",)),
    ]
    assert f"{path}:3" in caplog.text


def test_probabilities_are_scaled_to_a_highest_of_one(tmp_path: Path) -> None:
    path = lexicon(tmp_path, "a 0.2 X\na 0.8 Y\nb 0.5 X\nc 1 Y\n")
    assert read_lexicon(path, with_probabilities=True) == [
        LexiconEntry("a", 0.25, ("X",)),
        LexiconEntry("a", 1.0, ("Y",)),
        LexiconEntry("b", 1.0, ("X",)),
        LexiconEntry("c", 1.0, ("Y",)),
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "no entry"),
        ("\n  \n", "no entry"),
        ("a X\nb\n", ":2: the word 'b' has no phones"),
        ("<s> X\n", ":1: '<s>' is a reserved word"),
        ("a X\n<eps> X\n", ":2: '<eps>' is a reserved word"),
        ("#0 X\n", ":1: '#0' is a reserved word"),
        ("a X #3\n", ":1: the phone '#3' is a reserved symbol"),
        ("a <eps>\n", ":1: the phone '<eps>' is a reserved symbol"),
        ("a X\nb 0.5 Y\n", ":2: '0.5' looks like a probability"),
        (b"a X\nb\xff Y\n", ":2: not UTF-8"),
    ],
)
def test_refused(tmp_path: Path, content: str | bytes, complaint: str) -> None:
    path = lexicon(tmp_path, content)
    with pytest.raises(InputError, match=r"lexicon.txt") as error:
        read_lexicon(path, with_probabilities=False)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", ["a X", "a 0 X", "a 0.0 X", "a 1.5 X", "a -0.5 X", "a nan X", "a"])
def test_refused_probabilities(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=":1: the word 'a' needs a probability"):
        read_lexicon(lexicon(tmp_path, f"{line}\n"), with_probabilities=True)


@given(st.lists(st.lists(st.sampled_from("xyz"), min_size=1, max_size=4).map(tuple), max_size=12))
def test_disambiguated_pronunciations_differ_and_none_begins_another(
    pronunciations: list[tuple[str, ...]],
) -> None:
    numbers = disambiguation_numbers(pronunciations)
    marked = [
        (*phones, f"#{number}") if number else phones
        for phones, number in zip(pronunciations, numbers, strict=True)
    ]
    for i, one in enumerate(marked):
        for j, other in enumerate(marked):
            assert i == j or other[: len(one)] != one


def test_disambiguation_uses_as_few_symbols_as_kaldi() -> None:
    pronunciations = [("x",), ("x",), ("x", "y"), ("y", "z"), ("y",), ("z",)]
    assert disambiguation_numbers(pronunciations) == [1, 2, 0, 0, 1, 0]
