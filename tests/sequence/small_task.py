"""A recognition task small enough for a test: folders as the recipe's earlier stages leave them.

Three words of two senones each, and a silence senone; a cut is a few words, each senone 2 to 4
frames of 30 ms.  The features are the senone's mean plus noise, so that a network learns much but
not all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut, SupervisionSegment

from am.features.storage import Float16FileWriter
from am.graph.arrays import ArcList, to_fst
from am.hmm.topology import Topology
from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from am.nnet.data import BatchingSettings
from am.nnet.lstm import LstmSettings
from am.nnet.trainer import TrainerSettings
from am.outputs import sha256_of_file
from am.storage import write_shard, write_store_description
from am.tree.context_tree import monophone_tree
from tests.stored_features import store_features

WORDS = {1: (1, 2), 2: (3, 2), 3: (1, 4)}
NUM_PDFS = 5
DIMENSION = 6


@dataclass(frozen=True)
class SmallTask:
    """Where its folders are."""

    root: Path

    @property
    def labeled(self) -> Path:
        return self.root / "labeled"

    @property
    def dev(self) -> Path:
        return self.root / "dev"

    @property
    def senones(self) -> Path:
        return self.root / "senones"

    @property
    def labels(self) -> Path:
        return self.root / "labels"

    @property
    def graph(self) -> Path:
        return self.root / "graph"

    @property
    def model(self) -> Path:
        return self.root / "model"


def make_small_task(root: Path, num_labeled: int = 24, num_dev: int = 6) -> SmallTask:
    """Write features, labels, senones, a unigram graph, and a network trained a little."""
    task = SmallTask(root)
    topology = Topology.uniform(list(range(1, NUM_PDFS + 1)), 1)
    task.senones.mkdir()
    monophone_tree([[phone] for phone in topology.states_of_phone], topology).save(
        task.senones / "tree.json"
    )
    tree_sha256 = sha256_of_file(task.senones / "tree.json")
    rng = np.random.default_rng(0)
    means = rng.normal(size=(NUM_PDFS, DIMENSION))
    for name, count in (("labeled", num_labeled), ("dev", num_dev)):
        labels = {f"{name}-{i:02d}": _senones_of_cut(rng) for i in range(count)}
        _write_features(root / name, labels, means, rng)
        store = task.labels / name
        write_store_description(
            store,
            {
                "kind": "pdf-ids",
                "frame_shift": 0.03,
                "fields": ["pdf_ids"],
                "num_pdfs": NUM_PDFS,
                "tree_sha256": tree_sha256,
                "num_shards": 1,
            },
        )
        write_shard(store, 0, ((cut, {"pdf_ids": ids}) for cut, ids in labels.items()))
    _write_graph(task.graph, tree_sha256)
    task.model.mkdir()
    train_cross_entropy(
        task.labeled,
        task.dev,
        task.senones,
        task.labels,
        task.model,
        CrossEntropySettings(
            LstmSettings(num_layers=1, cells=12, bidirectional=False),
            TrainerSettings(learning_rate=0.02, warm_up_updates=1),
            BatchingSettings(batch_seconds=4.0, num_buckets=2),
            epochs=2,
        ),
        device="cpu",
    )
    return task


def _senones_of_cut(rng: np.random.Generator) -> np.ndarray:
    words = rng.integers(1, len(WORDS) + 1, size=rng.integers(2, 6))
    senones = [0, *(senone for word in words for senone in WORDS[int(word)]), 0]
    return np.repeat(senones, rng.integers(2, 5, size=len(senones))).astype(np.int32)


def _write_features(
    folder: Path, labels: dict[str, np.ndarray], means: np.ndarray, rng: np.random.Generator
) -> None:
    folder.mkdir()
    with (
        Float16FileWriter(folder / "features") as storage,
        CutSet.open_writer(folder / "cuts.jsonl.gz") as cuts,
    ):
        for cut_id, pdf_ids in labels.items():
            frames = means[np.repeat(pdf_ids, 3)]
            frames = frames + rng.normal(scale=1.2, size=frames.shape)
            duration = round(0.01 * len(frames), 2)
            features = store_features(storage, cut_id, frames)
            supervision = SupervisionSegment(cut_id, cut_id, 0.0, duration, text="")
            cuts.write(
                MonoCut(cut_id, 0.0, duration, 0, supervisions=[supervision], features=features)
            )
    description = {"kind": "lfbe", "dimension": DIMENSION, "frame_shift": 0.01}
    (folder / "features.json").write_text(json.dumps(description))


def _write_graph(folder: Path, tree_sha256: str) -> None:
    """Silence, a loop of words of equal probability, silence; self-loops of probability 1/2."""
    folder.mkdir()
    graph, half = ArcList(), float(np.log(2.0))

    def emitting(source: int, pdf_id: int, word: int, cost: float) -> int:
        state = graph.add_state()
        graph.add_arc(source, state, pdf_id + 1, word, cost)
        graph.add_arc(state, state, pdf_id + 1, 0, half)
        return state

    start, loop = graph.add_state(), graph.add_state()
    graph.add_arc(emitting(start, 0, 0, 0.0), loop, 0, 0, half)
    for word, (first, second) in WORDS.items():
        last = emitting(emitting(loop, first, word, float(np.log(3.0))), second, 0, half)
        graph.add_arc(last, loop, 0, 0, half)
    graph.set_final(emitting(loop, 0, 0, half))
    to_fst(graph.to_arrays()).write(str(folder / "HCLG.fst"))
    words = ["<eps> 0", "a 1", "b 2", "c 3"]
    (folder / "words.txt").write_text("".join(f"{line}\n" for line in words))
    description = {"num_pdfs": NUM_PDFS, "tree_sha256": tree_sha256, "frame_shift": 0.03}
    (folder / "graph.json").write_text(json.dumps(description))
