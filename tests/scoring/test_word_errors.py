"""Word errors against the textbook edit distance."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lhotse import MonoCut, SupervisionSegment

from am.errors import InputError
from am.scoring.transcripts import read_transcripts, reference_words
from am.scoring.word_errors import GAP, WordErrors, align_words, count_errors

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8)


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein's distance by dynamic programming over prefixes."""
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


@given(WORDS, WORDS)
def test_fewest_errors(reference: list[str], hypothesis: list[str]) -> None:
    errors = count_errors(reference, hypothesis)
    assert errors.errors == edit_distance(reference, hypothesis)
    assert errors.words == len(reference)
    assert len(hypothesis) == errors.words + errors.insertions - errors.deletions


@given(WORDS, WORDS)
def test_alignment_reads_back_as_both_sides(reference: list[str], hypothesis: list[str]) -> None:
    pairs = align_words(reference, hypothesis)
    assert [a for a, _ in pairs if a != GAP] == reference
    assert [b for _, b in pairs if b != GAP] == hypothesis
    assert (GAP, GAP) not in pairs


@given(WORDS)
def test_nothing_heard_is_all_deletions(reference: list[str]) -> None:
    assert count_errors(reference, []) == WordErrors(len(reference), 0, len(reference), 0)
    assert count_errors(reference, reference) == WordErrors(len(reference))


def test_counts_add_up() -> None:
    errors = count_errors(["a", "b"], ["a", "x", "c"]) + count_errors(["a", "b"], ["b"])
    assert errors == WordErrors(words=4, insertions=1, deletions=1, substitutions=1)
    assert errors.wer == 0.75
    assert errors.as_row()["wer_percent"] == 75.0


def test_rate_without_reference_words() -> None:
    assert WordErrors().wer == 0.0
    assert WordErrors(insertions=1).wer == float("inf")


def test_transcripts(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("utt1  hello\tworld \nutt2\n\nutt3 ein\u00a0wort\r\n", encoding="utf-8")
    assert read_transcripts(path) == {
        "utt1": ["hello", "world"],
        "utt2": [],
        "utt3": ["ein\u00a0wort"],
    }
    path.write_text("utt1 a\nutt1 b\n")
    with pytest.raises(InputError, match="line 2: utt1 stands twice"):
        read_transcripts(path)
    path.write_bytes(b"utt1 \xff\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_transcripts(path)
    with pytest.raises(InputError, match="no such file"):
        read_transcripts(tmp_path / "none")


def test_reference_of_a_cut() -> None:
    supervision = SupervisionSegment("cut", "recording", 0.0, 1.0, text="one two")
    cut = MonoCut("cut", 0.0, 1.0, 0, [supervision])
    assert reference_words(cut) == ["one", "two"]
    for supervisions in ([], [SupervisionSegment("cut", "recording", 0.0, 1.0)]):
        with pytest.raises(InputError, match="cut cut: has no transcript"):
            reference_words(MonoCut("cut", 0.0, 1.0, 0, supervisions))
