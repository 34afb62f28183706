"""Folders of the made-up language, as the tools read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import CutSet, MonoCut, SupervisionSegment

from am.features.storage import Float16FileWriter
from am.storage import write_shard, write_store_description
from am.tree.build import build_tree
from am.tree.grow import TreeSettings
from tests.stored_features import store_features

SHIFT = 0.01
SETTINGS = TreeSettings(num_leaves=20, min_gain=0.0)


@dataclass
class Folders:
    """Inputs of a tree; two cuts of the data have no alignment, one alignment has no cut."""

    data: Path
    lang: Path
    model: Path
    alignment: Path
    utterances: dict[str, Any]

    def build(self, output: Path, settings: TreeSettings = SETTINGS, **options: Any) -> None:
        output.mkdir()
        options = {"low_frame_rate": True, **options}
        build_tree(self.data, self.lang, self.model, self.alignment, output, settings, **options)


def write_lang(folder: Path, language: Any) -> None:
    (folder / "phones").mkdir(parents=True)
    names = {0: "<eps>", **{phone: f"P{phone}" for phone in range(1, 8)}, 8: "#0"}
    lines = "".join(f"{name} {number}\n" for number, name in names.items())
    (folder / "phones.txt").write_text(lines)
    (folder / "words.txt").write_text("<eps> 0\n<unk> 1\n")
    (folder / "lexiconp.txt").write_text("<unk> 1.0 P2\n")
    (folder / "silence_probability.txt").write_text("0.5\n")
    (folder / "oov.txt").write_text("<unk>\n")
    for name, groups in (
        ("silence", [language.silence]),
        ("optional_silence", [language.silence]),
        ("roots", language.roots),
        ("extra_questions", language.extra_questions),
    ):
        lines = "".join(" ".join(names[phone] for phone in group) + "\n" for group in groups)
        (folder / "phones" / f"{name}.txt").write_text(lines)
    language.topology.save(folder / "topology.json")


def write_data(folder: Path, utterances: dict[str, Any]) -> None:
    folder.mkdir()
    cuts = []
    with Float16FileWriter(folder / "features") as writer:
        for cut_id, made in utterances.items():
            duration = len(made.frames) * SHIFT
            features = store_features(writer, cut_id, made.frames, "mfcc")
            speech = SupervisionSegment(cut_id, cut_id, 0, duration, speaker="one", text="<unk>")
            cut = MonoCut(cut_id, 0, duration, 0, supervisions=[speech], features=features)
            cuts.append(cut)
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")


def write_alignment(folder: Path, language: Any, utterances: dict[str, Any]) -> None:
    fields = ["transition_ids"]
    description = {"kind": "transition-ids", "frame_shift": SHIFT, "fields": fields}
    write_store_description(folder, description)
    records = [(cut_id, {fields[0]: made.transition_ids}) for cut_id, made in utterances.items()]
    write_shard(folder, 0, records[:10])
    write_shard(folder, 1, records[10:])
    language.tree.save(folder / "tree.json")
    language.topology.save(folder / "topology.json")
    language.transitions.save(folder / "transitions.json")
