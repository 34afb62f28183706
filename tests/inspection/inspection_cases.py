"""A lang folder with word positions and stress, and alignments of it that are written by hand."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut, SupervisionSegment

from am.features.extractors import LfbeSettings
from am.features.feature_data import write_feature_settings
from am.features.storage import Float16FileWriter
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang
from am.lang.prepare import LangSettings, prepare_lang
from am.storage import write_shard, write_store_description
from am.tree.context_tree import monophone_tree
from tests.stored_features import store_features

SHIFT = 0.01
NUM_BANDS = 64
LEXICON = "a AH0\na EY1\nabe EY1 B\nbe B IY1\nbus B AH1 S\nsub S AH1 B\n"
# A phone and how many frames each of its states lasts.
Phone = tuple[str, Sequence[int]]
SIL: Phone = ("SIL", (1, 1, 1, 1, 1))
UTTERANCES: dict[str, list[Phone]] = {
    "one/1": [SIL, ("B_B", (2, 1, 3)), ("IY1_E", (1, 1, 4)), SIL, ("AH0_S", (4, 1, 1)), SIL],
    "two": [("B_B", (1, 1, 1)), ("AH1_I", (3, 3, 3)), ("S_E", (2, 2, 2)), ("EY1_S", (1, 5, 1))],
    "three": [("SPN_S", (2, 2, 2, 2, 2)), ("EY1_B", (1, 2, 3)), ("B_E", (3, 2, 1)), SIL],
}
TRANSCRIPTS = {"one/1": "be a", "two": "bus a", "three": "hello abe"}


def make_lang(folder: Path, settings: LangSettings | None = None) -> Lang:
    lexicon = folder / "lexicon.txt"
    lexicon.write_text(LEXICON)
    lang = folder / "lang"
    lang.mkdir()
    prepare_lang(lexicon, settings or LangSettings(), lang)
    return Lang.load(lang)


def num_frames(phones: Sequence[Phone]) -> int:
    return sum(sum(states) for _, states in phones)


def make_alignment(folder: Path, lang: Lang, utterances: Mapping[str, Sequence[Phone]]) -> Path:
    """An alignment folder of monophones."""
    tree = monophone_tree([list(root) for root in lang.roots], lang.topology)
    triples = list(tree.possible_triples(lang.topology))
    pdf_of_state = {(phone, state): pdf_id for phone, state, pdf_id in triples}
    transitions = TransitionModel.from_triples(triples, 0.75)
    records = []
    for cut_id, phones in utterances.items():
        ids: list[int] = []
        for name, states in phones:
            phone = lang.phones[name]
            for state, length in enumerate(states):
                number = transitions.transition_state(phone, state, pdf_of_state[phone, state])
                ids += [2 * number - 1] * (length - 1) + [2 * number]
        records.append((cut_id, {"transition_ids": np.array(ids, dtype=np.int32)}))
    description = {"kind": "transition-ids", "frame_shift": SHIFT, "fields": ["transition_ids"]}
    write_store_description(folder, description)
    write_shard(folder, 0, records)
    tree.save(folder / "tree.json")
    lang.topology.save(folder / "topology.json")
    transitions.save(folder / "transitions.json")
    shutil.copyfile(lang.folder / "phones.txt", folder / "phones.txt")
    return folder


def make_senone_labels(folder: Path, labels: Mapping[str, Sequence[int]], tree: str) -> Path:
    """Senone labels at 30 ms of the tree with this checksum."""
    description = {"kind": "pdf-ids", "frame_shift": 0.03, "fields": ["pdf_ids"]}
    write_store_description(folder, {**description, "tree_sha256": tree})
    write_shard(
        folder,
        0,
        [(cut_id, {"pdf_ids": np.array(ids, dtype=np.int32)}) for cut_id, ids in labels.items()],
    )
    return folder


def make_data(
    folder: Path,
    utterances: Mapping[str, Sequence[Phone]],
    transcripts: Mapping[str, str] = TRANSCRIPTS,
) -> Path:
    """LFBE of the utterances, made up."""
    folder.mkdir()
    random = np.random.default_rng(3)
    cuts = []
    with Float16FileWriter(folder / "features") as writer:
        for cut_id, phones in utterances.items():
            energies = random.normal(size=(num_frames(phones), NUM_BANDS))
            duration = len(energies) * SHIFT
            features = store_features(writer, cut_id, energies)
            speech = SupervisionSegment(
                cut_id, cut_id, 0, duration, speaker="anne", text=transcripts.get(cut_id)
            )
            cut = MonoCut(cut_id, 0, duration, 0, supervisions=[speech], features=features)
            cuts.append(cut)
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    write_feature_settings(folder, "lfbe", NUM_BANDS, LfbeSettings())
    return folder
