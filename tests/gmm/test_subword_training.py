"""Made-up speech whose letters are its sounds: trained, clustered and decoded in pieces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_speech import MFCC_DIM, write_data

from am.alignment.align_data import align_data
from am.alignment.viterbi import AlignmentScales
from am.decoding.decode_data import decode_data
from am.decoding.decoder import Scales, SearchSettings
from am.features.feature_data import open_feature_data
from am.gmm.train import DeltasSettings, MonoSettings, train_deltas, train_mono
from am.gmm.trainer import EmSettings
from am.graph.compile import make_graph
from am.inspection.tiers import TierReader
from am.lang.lang import Lang
from am.lang.prepare import LangSettings
from am.lang.prepare_subword import (
    PieceSettings,
    SubwordSettings,
    prepare_subword_lang,
    text_to_pieces,
)
from am.lang.text_rules import TextRules
from am.lm.grammar import format_lm
from am.lm.kneser_ney import NgramSettings
from am.lm.train import train_arpa
from am.scoring.score import score_decoding
from am.scoring.transcripts import read_transcripts
from am.tree.grow import TreeSettings

CPU = torch.device("cpu")
LETTERS = "abcde"
STATES = 3
WORDS = ("bad", "cab", "dab", "bead", "ace", "add", "be", "a")
MONO = MonoSettings(EmSettings(10, (1, 2, 3, 4, 6, 8), 60, 7))
DELTAS = DeltasSettings(TreeSettings(num_leaves=30, min_gain=10.0), EmSettings(6, (3,), 60, 4))


@dataclass(frozen=True)
class Task:
    """Folders of made-up speech, a lang folder of pieces, and the true sounds by cut."""

    folder: Path
    lang: Lang
    sounds: dict[str, list[str]]


def say(folder: Path, texts: dict[str, list[str]], seed: int) -> dict[str, list[str]]:
    """Write speech of upper-case transcripts; a letter is three states of 2 to 5 frames."""
    generator = np.random.default_rng(seed)
    kinds = np.random.default_rng(99).normal(0, 4, (len(LETTERS) + 1, STATES, MFCC_DIM))
    matrices, sounds = {}, {}
    for cut_id, words in texts.items():
        letters = [" "]
        for word in words:
            letters += [*word, *([" "] if generator.random() < 0.4 else [])]
        states = [
            (letter, state)
            for letter in letters
            for state in range(STATES)
            for _ in range(generator.integers(2, 6))
        ]
        means = np.array([kinds[LETTERS.find(letter), state] for letter, state in states])
        matrices[cut_id] = means + generator.normal(0, 1, means.shape)
        sounds[cut_id] = [letter for letter, _ in states]
    shown: dict[str, str | None] = {c: " ".join(w).upper() + "!" for c, w in texts.items()}
    write_data(folder, matrices, shown, dict.fromkeys(texts, "s0"))
    return sounds


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """A monophone model and an alignment of it, on 40 cuts of known words."""
    folder = tmp_path_factory.mktemp("subword")
    generator = np.random.default_rng(0)
    texts = {f"u{n:03d}": list(generator.choice(WORDS, 5)) for n in range(40)}
    sounds = say(folder / "data", texts, seed=1)
    (folder / "text").write_text("".join(f"{' '.join(words)}\n" for words in texts.values()))
    (folder / "lang").mkdir()
    settings = SubwordSettings(
        PieceSettings(num_pieces=20),
        TextRules(case="fold"),
        LangSettings(silence_states=STATES, position_dependent_phones=False),
    )
    prepare_subword_lang(folder / "text", settings, folder / "lang")
    (folder / "mono").mkdir()
    train_mono(folder / "data", folder / "lang", folder / "mono", MONO, seed=1, device=CPU)
    (folder / "ali").mkdir()
    scales = AlignmentScales()
    align_data(folder / "data", folder / "lang", folder / "mono", folder / "ali", scales, CPU)
    return Task(folder, Lang.load(folder / "lang"), sounds)


def test_graphemes_are_found_and_words_have_times(task: Task) -> None:
    """The alignment's phones are the true sounds, its words those of the transcript."""
    reader = TierReader(task.folder / "ali", task.lang)
    right = []
    for cut in open_feature_data(task.folder / "data"):
        tiers = reader.tiers(cut)
        words = task.lang.words_of(cut.supervisions[0].text)
        assert [interval.label for interval in tiers["words"]] == words
        for interval in tiers["phones"]:
            begin, end = round(interval.start * 100), round(interval.end * 100)
            label = interval.label.replace("SIL", " ")
            right += [sound == label for sound in task.sounds[cut.id][begin:end]]
    assert np.mean(right) > 0.95


def test_words_outside_the_text_are_decoded(task: Task, tmp_path: Path) -> None:
    """Context-dependent graphemes, a graph over pieces, words put together: new ones too."""
    folder = task.folder
    for name in ("model", "lang_test", "graph", "decode", "score"):
        (tmp_path / name).mkdir()
    model = tmp_path / "model"
    train_deltas(folder / "data", folder / "lang", folder / "ali", model, DELTAS, 1, CPU)
    assert json.loads((model / "summary.json").read_text())["pdfs"] > STATES * len(LETTERS)

    text_to_pieces(folder / "lang", folder / "text", tmp_path / "pieces")
    words = folder / "lang" / "words.txt"
    train_arpa(tmp_path / "pieces", tmp_path / "arpa", NgramSettings(3), vocabulary=words)
    format_lm(folder / "lang", tmp_path / "arpa", tmp_path / "lang_test")
    make_graph(tmp_path / "lang_test", model, tmp_path / "graph", 0.1)
    # deb is not in the language model's text.
    texts = {
        "v1": ["bad", "deb", "a", "cab"],
        "v2": ["deb", "be", "deb"],
        "v3": ["ace", "add", "dab"],
    }
    say(tmp_path / "data", texts, seed=2)
    decode_data(
        tmp_path / "graph",
        tmp_path / "data",
        model,
        tmp_path / "decode",
        Scales(0.3),
        SearchSettings(),
    )
    assert read_transcripts(tmp_path / "decode" / "hypotheses.txt") == texts
    # The transcripts are spelled by the rules first: "BAD DEB A CAB!".
    errors = score_decoding(tmp_path / "data", tmp_path / "decode", tmp_path / "score")
    assert errors.words == 10 and errors.errors == 0
