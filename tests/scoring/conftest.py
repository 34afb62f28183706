"""Data folders and decodings as a few lines of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from lhotse import CutSet, MonoCut, SupervisionSegment

MakeData = Callable[[Path, Mapping[str, tuple[str, str, str | None]]], Path]
MakeDecoding = Callable[[Path, Mapping[str, str]], Path]


@pytest.fixture
def make_data() -> MakeData:
    """Writes cuts from cut id → speaker, condition, transcript."""

    def make(folder: Path, cuts: Mapping[str, tuple[str, str, str | None]]) -> Path:
        folder.mkdir(parents=True)
        with CutSet.open_writer(folder / "cuts.jsonl.gz") as writer:
            for cut_id, (speaker, condition, text) in cuts.items():
                custom = {"condition": condition} if condition else None
                supervision = SupervisionSegment(
                    cut_id, cut_id, 0.0, 1.0, text=text, speaker=speaker, custom=custom
                )
                writer.write(MonoCut(cut_id, 0.0, 1.0, 0, [supervision]))
        return folder

    return make


@pytest.fixture
def make_decoding() -> MakeDecoding:
    """Writes hypotheses from cut id → words."""

    def make(folder: Path, hypotheses: Mapping[str, str]) -> Path:
        folder.mkdir(parents=True)
        lines = (f"{cut_id} {words}".strip() for cut_id, words in sorted(hypotheses.items()))
        (folder / "hypotheses.txt").write_text("".join(f"{line}\n" for line in lines))
        return folder

    return make
