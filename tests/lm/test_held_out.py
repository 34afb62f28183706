"""What is left of a text without a test set's sentences and rare words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lhotse import CutSet, MonoCut, SupervisionSegment

from am.errors import InputError
from am.lm.held_out import hold_out

TEXT = "a cat\na dog runs\na dog\na fox runs\na cat sat\nthe end\n"
TEST = ["a dog", "the fox", "a bird"]


def make_data(folder: Path, texts: list[str]) -> Path:
    folder.mkdir()
    with CutSet.open_writer(folder / "cuts.jsonl.gz") as writer:
        for number, text in enumerate(texts):
            name = f"u{number}"
            supervision = SupervisionSegment(name, name, 0.0, 1.0, text=text)
            writer.write(MonoCut(name, 0.0, 1.0, 0, [supervision]))
    return folder


@pytest.mark.parametrize(
    ("max_count", "left", "outside", "tokens"),
    [
        # "a dog" is spoken in the test set; "bird" never was in the text.
        (0, ["a cat", "a dog runs", "a fox runs", "a cat sat", "the end"], ["bird"], 1),
        # dog, fox and the are then in one sentence each.
        (1, ["a cat", "a cat sat"], ["bird", "dog", "fox", "the"], 4),
    ],
)
def test_seen_by_eye(
    tmp_path: Path, max_count: int, left: list[str], outside: list[str], tokens: int
) -> None:
    (tmp_path / "text").write_text(TEXT)
    (tmp_path / "out").mkdir()
    hold_out(tmp_path / "text", make_data(tmp_path / "data", TEST), tmp_path / "out", max_count)
    assert (tmp_path / "out" / "text.txt").read_text().splitlines() == left
    assert (tmp_path / "out" / "held_out.txt").read_text().splitlines() == outside
    vocabulary = (tmp_path / "out" / "words.txt").read_text().splitlines()
    assert vocabulary == sorted({word for line in left for word in line.split()})
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["test_tokens"] == 6
    assert summary["test_tokens_outside"] == tokens
    assert summary["sentences_of_test"] == 1


def test_nothing_left(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(TEXT)
    data = make_data(tmp_path / "data", TEST)
    with pytest.raises(InputError, match="nothing is left"):
        hold_out(tmp_path / "text", data, tmp_path, 100)
    with pytest.raises(InputError, match="no such file"):
        hold_out(tmp_path / "text", tmp_path, tmp_path, 1)
