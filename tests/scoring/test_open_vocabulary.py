"""Systems of words and pieces whose errors are seen by eye."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from am.errors import InputError
from am.lang.subword_model import SubwordDescription
from am.lang.text_rules import TextRules
from am.scoring.open_vocabulary import OutsideCounts, count_outside, open_vocabulary_table
from am.scoring.score import score_decoding

VOCABULARY = {"the", "cat", "on", "mat"}
CUTS = {
    "u1": ("ann", "", "the cat sat"),
    "u2": ("bob", "", "on the Mat"),
    "u3": ("bob", "", "the dog on the mat"),
}
Make = Callable[..., Path]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("the cat sat", "the cat sat", OutsideCounts(1, 1, 1, 2, 2)),
        ("the cat sat", "the cat on", OutsideCounts(1, 0, 0, 2, 2)),
        ("the cat", "the mad cat", OutsideCounts(0, 0, 1, 2, 2)),
        ("sat", "", OutsideCounts(1, 0, 0, 0, 0)),
        ("", "sat", OutsideCounts(0, 0, 1, 0, 0)),
        ("the dog sat", "a dog hat", OutsideCounts(2, 1, 3, 1, 0)),
    ],
)
def test_counts(reference: str, hypothesis: str, counts: OutsideCounts) -> None:
    assert count_outside(reference.split(), hypothesis.split(), VOCABULARY) == counts


@pytest.fixture
def systems(tmp_path: Path, make_data: Make, make_decoding: Make) -> dict[str, Path]:
    """``words`` never puts out a word outside; ``pieces`` folds case and finds one of two."""
    data = make_data(tmp_path / "data", CUTS)
    (tmp_path / "words.txt").write_text("".join(f"{word}\n" for word in sorted(VOCABULARY)))
    hypotheses = {
        "words": {"u1": "the cat on", "u2": "on the mat", "u3": "the cat on the mat"},
        "pieces": {"u1": "the cat sad", "u2": "on the mat", "u3": "the dog on the mat"},
    }
    folders = {"data": data, "vocabulary": tmp_path / "words.txt"}
    for name, of_system in hypotheses.items():
        decoded = make_decoding(tmp_path / name / "decode_test", of_system)
        if name == "pieces":
            SubwordDescription("0", "<UNK>", True, TextRules(case="fold")).save(decoded)
        (tmp_path / name / "score_test").mkdir()
        score_decoding(data, decoded, tmp_path / name / "score_test")
        folders[name] = tmp_path / name
    return folders


def test_table(systems: dict[str, Path]) -> None:
    table = open_vocabulary_table(
        {"teacher": systems["words"]},
        {"teacher": systems["pieces"]},
        test_set="test",
        data=systems["data"],
        vocabulary=systems["vocabulary"],
    )
    rows = {
        line.split(" | ")[0].strip("| "): [cell.split(" [")[0] for cell in line.split(" | ")[1:]]
        for line in table.splitlines()
        if line.startswith("| teacher,")
    }
    # Of 11 words the first has sat, Mat and dog wrong, the second (which folds Mat) sat.
    assert rows["teacher, words"][1:] == ["27.3", "0.0", "0.0", "– |"]
    assert rows["teacher, pieces"][1:4] == ["9.1", "0.0", "50.0"]
    assert rows["teacher, pieces"][4] == "50.0"
    assert "2 of the 11 words spoken in test (18.2 %)" in table


def test_refused(systems: dict[str, Path], tmp_path: Path) -> None:
    def table(words: dict[str, Path], pieces: dict[str, Path], data: Path) -> None:
        vocabulary = systems["vocabulary"]
        open_vocabulary_table(words, pieces, test_set="test", data=data, vocabulary=vocabulary)

    one, other = {"teacher": systems["words"]}, {"student": systems["pieces"]}
    with pytest.raises(InputError, match="the same names"):
        table(one, other, systems["data"])
    with pytest.raises(InputError, match="the same names"):
        table({}, {}, systems["data"])
    with pytest.raises(InputError, match="no such file"):
        table(one, one, tmp_path)
