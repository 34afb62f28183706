"""A feature data folder of made-up speech: every state of a phone has frames of its own kind."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut, SupervisionSegment

from am.features.storage import Float16FileWriter
from am.lang.lang import Lang
from am.lang.prepare import LangSettings, prepare_lang
from tests.stored_features import store_features

MFCC_DIM = 5
LEXICON = "go G OW\nno N OW\nnoon N UW N\ngone G AO N\ngone G OW N\nwon W AO N\nwoo W UW\n"
PHONES = ("SIL", "G", "OW", "N", "UW", "AO", "W")
STATES = 3


def make_lang(folder: Path, more_words: str = "") -> Lang:
    """A lang folder of 5 words, one with two pronunciations, and more; 3 states a phone."""
    folder.mkdir(parents=True)
    (folder / "lexicon.txt").write_text(LEXICON + more_words)
    (folder / "lang").mkdir()
    settings = LangSettings(silence_states=STATES, position_dependent_phones=False)
    prepare_lang(folder / "lexicon.txt", settings, folder / "lang")
    return Lang.load(folder / "lang")


def make_data(
    folder: Path,
    num_cuts: int,
    seed: int = 0,
    odd_cuts: bool = False,
    vocabulary: Collection[str] | None = None,
) -> dict[str, list[str]]:
    """Write MFCC and transcripts of two speakers; return the true phone of each frame by cut.

    The words are those of ``vocabulary``, all by default.  With ``odd_cuts``, a cut without text,
    one with an unknown word and one that is too short are added.
    """
    generator = np.random.default_rng(seed)
    kinds = np.random.default_rng(99).normal(0, 4, (len(PHONES), STATES, MFCC_DIM))
    pronunciations: dict[str, list[list[str]]] = {}
    for line in LEXICON.splitlines():
        word, *phones = line.split()
        pronunciations.setdefault(word, []).append(phones)
    truth: dict[str, list[str]] = {}
    texts: dict[str, str | None] = {}
    matrices: dict[str, np.ndarray] = {}

    def say(cut_id: str, words: list[str]) -> None:
        phones = ["SIL"]
        for word in words:
            choices = pronunciations.get(word, [["AO"]])
            phones += choices[generator.integers(len(choices))]
            phones += ["SIL"] if generator.random() < 0.4 else []
        states = [
            (phone, state)
            for phone in phones
            for state in range(STATES)
            for _ in range(generator.integers(2, 6))
        ]
        means = np.array([kinds[PHONES.index(phone), state] for phone, state in states])
        shift = 3.0 * (int(cut_id[1:]) % 2)
        matrices[cut_id] = means + shift + generator.normal(0, 1, means.shape)
        truth[cut_id] = [phone for phone, _ in states]
        texts[cut_id] = " ".join(words)

    words = sorted(vocabulary or pronunciations)
    for number in range(num_cuts):
        say(f"u{number:03d}", [words[i] for i in generator.integers(0, len(words), 5)])
    if odd_cuts:
        say("u900", ["go", "no"])
        texts["u900"] = None
        say("u901", ["go", "xyzzy"])
        say("u902", ["go", "no", "noon"])
        matrices["u902"] = matrices["u902"][:8]
    speakers = {cut_id: f"s{int(cut_id[1:]) % 2}" for cut_id in matrices}
    write_data(folder, matrices, texts, speakers)
    return truth


def write_data(
    folder: Path,
    matrices: Mapping[str, np.ndarray],
    texts: Mapping[str, str | None],
    speakers: Mapping[str, str],
) -> None:
    """Write a feature data folder of MFCC (frames, MFCC_DIM) by cut id."""
    folder.mkdir(parents=True)
    cuts = []
    with Float16FileWriter(folder / "features") as storage:
        for cut_id, matrix in matrices.items():
            duration = len(matrix) * 0.01
            features = store_features(storage, cut_id, matrix, "mfcc")
            supervision = SupervisionSegment(
                cut_id, cut_id, 0.0, duration, text=texts[cut_id], speaker=speakers[cut_id]
            )
            cuts.append(
                MonoCut(cut_id, 0.0, duration, 0, features=features, supervisions=[supervision])
            )
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    description = {"kind": "mfcc", "dimension": MFCC_DIM, "frame_shift": 0.01}
    (folder / "features.json").write_text(json.dumps(description))


def read_data(
    folder: Path,
) -> tuple[dict[str, np.ndarray], dict[str, str | None], dict[str, str]]:
    """What :func:`write_data` was given: frames, transcripts and speakers by cut id."""
    cuts = list(CutSet.from_file(folder / "cuts.jsonl.gz"))
    return (
        {cut.id: cut.load_features() for cut in cuts},
        {cut.id: cut.supervisions[0].text for cut in cuts},
        {cut.id: cut.supervisions[0].speaker for cut in cuts},
    )
