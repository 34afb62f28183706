"""The small Kaldi system of ``fixtures/``, which Kaldi's own code wrote, and a lang folder for it.

The lang folder numbers the phones otherwise than Kaldi's ``phones.txt`` does.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from am.lang.lang import Lang
from am.lang.prepare import LangSettings, prepare_lang

FIXTURES = Path(__file__).parent / "fixtures"
KALDI_PHONES = {"<eps>": 0, "SIL": 1, "c": 2, "a": 3, "SPN": 4, "b": 5, "#0": 6}
DIM = 6


def make_lang(folder: Path) -> Lang:
    """Words with the phones a, b, c; no word positions."""
    folder.mkdir()
    lexicon = folder / "lexicon_in.txt"
    lexicon.write_text("ab a b\ncab c a b\nba b a\n")
    prepare_lang(lexicon, LangSettings(position_dependent_phones=False), folder)
    return Lang.load(folder)


def make_kaldi_folder(folder: Path, form: str = "binary") -> Path:
    """A Kaldi system: ``form`` is text, binary or ergodic (silence as Kaldi's recipes have it)."""
    folder.mkdir()
    shutil.copyfile(FIXTURES / form / "final.mdl", folder / "final.mdl")
    tree = FIXTURES / ("binary" if form == "ergodic" else form) / "tree"
    shutil.copyfile(tree, folder / "tree")
    rows = "".join(f"{name} {number}\n" for name, number in KALDI_PHONES.items())
    (folder / "phones.txt").write_text(rows)
    return folder


def rows_of(name: str) -> list[list[str]]:
    """The fields of a fixture's lines."""
    return [line.split() for line in (FIXTURES / name).read_text().splitlines()]


def phone_of(lang: Lang) -> dict[int, int]:
    """Kaldi's phone-id → the lang folder's."""
    return {number: lang.phones[name] for name, number in KALDI_PHONES.items() if 0 < number < 6}


def alignments() -> dict[str, np.ndarray]:
    """Kaldi's transition-ids by utterance; odd utterances are not reordered."""
    return {row[0]: np.array(row[1:], dtype=np.int32) for row in rows_of("alignments.txt")}
