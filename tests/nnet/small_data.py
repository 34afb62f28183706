"""A task small enough to learn in seconds: the senone is told by which channels are loud.

Each cut is a row of senones, each held for some frames at 10 ms; a frame is loud in the channels
of its senone, plus noise.  Every test that trains uses it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lhotse import CutSet, MonoCut

from am.features.extractors import LfbeSettings
from am.features.feature_data import write_feature_settings
from am.features.storage import Float16FileWriter
from am.hmm.topology import Topology
from am.nnet.batch import Batch
from am.nnet.data import BatchingSettings
from am.nnet.lstm import LstmSettings
from am.nnet.schedule import Pass
from am.nnet.trainer import Trainer, TrainerSettings
from am.outputs import sha256_of_file
from am.storage import write_shard, write_store_description
from am.tree.context_tree import monophone_tree
from tests.stored_features import store_features

NUM_PDFS = 6
CHANNELS = 12
LSTM = LstmSettings(num_layers=1, cells=16, bidirectional=False, output_delay=1)
TRAINER = TrainerSettings(learning_rate=0.02, warm_up_updates=1, final_learning_rate_ratio=1.0)
BATCHING = BatchingSettings(batch_seconds=4.0, num_buckets=2)


def kill_at_updates(monkeypatch: pytest.MonkeyPatch, *updates: int) -> None:
    """Have every training stop, as by Ctrl-C, before these updates, counted over all of them."""
    count = 0
    original = Trainer.update

    def killed(self: Trainer, batch: Batch | None, one: Pass) -> None:
        nonlocal count
        count += 1
        if count in updates:
            raise KeyboardInterrupt
        original(self, batch, one)

    monkeypatch.setattr(Trainer, "update", killed)


def checkpoints_of(output: Path) -> list[Path]:
    """The checkpoints of a training, the last one last."""
    return sorted((output / "checkpoints").glob("pass-*"))


def make_senones(folder: Path) -> Path:
    """A senone folder with a tree of ``NUM_PDFS`` leaves."""
    folder.mkdir(parents=True)
    phones = list(range(1, NUM_PDFS + 1))
    tree = monophone_tree([[phone] for phone in phones], Topology.uniform(phones, 1))
    tree.save(folder / "tree.json")
    return folder


def make_features(
    folder: Path, num_cuts: int, seed: int = 0, equally_long: bool = False
) -> dict[str, np.ndarray]:
    """Write a feature data folder; returns cut id → (T,) the senone of each 10 ms frame."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    truth = {}
    with (
        Float16FileWriter(folder / "features") as storage,
        CutSet.open_writer(folder / "cuts.jsonl.gz") as writer,
    ):
        for index in range(num_cuts):
            senones = generator.integers(NUM_PDFS, size=generator.integers(4, 9))
            frames = np.repeat(senones, generator.integers(5, 15, size=len(senones)))
            if equally_long:
                frames = np.resize(frames, 60)
            loud = np.arange(CHANNELS) // (CHANNELS // NUM_PDFS) == frames[:, None]
            features = 4.0 * loud - 8.0 + generator.normal(size=loud.shape)
            cut = MonoCut(f"{folder.name}-{seed}-{index:03d}", 0, len(frames) / 100, channel=0)
            cut.features = store_features(storage, cut.id, features)
            writer.write(cut)
            truth[cut.id] = frames
    write_feature_settings(folder, "lfbe", CHANNELS, LfbeSettings(num_mel_bins=CHANNELS))
    return truth


def low_rate(frames: np.ndarray) -> np.ndarray:
    """The label at frame 3i + 1, the last frame repeated."""
    middle = np.minimum(3 * np.arange(-(-len(frames) // 3)) + 1, len(frames) - 1)
    return frames[middle].astype(np.int32)


def make_labels(
    folder: Path, truth: dict[str, np.ndarray], senones: Path, **changes: object
) -> Path:
    """Write hard labels at the low frame rate; ``changes`` override the store's description."""
    description = {
        "kind": "pdf-ids",
        "frame_shift": 0.03,
        "fields": ["pdf_ids"],
        "num_shards": 1,
        "num_pdfs": NUM_PDFS,
        "tree_sha256": sha256_of_file(senones / "tree.json"),
    }
    write_store_description(folder, {**description, **changes})
    write_shard(
        folder, 0, [(cut_id, {"pdf_ids": low_rate(frames)}) for cut_id, frames in truth.items()]
    )
    return folder


class SmallTask:
    """Folders of a whole task: labelled, unlabelled and dev data, senones, labels."""

    def __init__(
        self,
        folder: Path,
        num_labeled: int = 24,
        num_unlabeled: int = 30,
        equally_long: bool = False,
    ):
        self.folder = folder
        self.labeled, self.dev = folder / "labeled", folder / "dev"
        self.unlabeled = folder / "unlabeled"
        self.senones = make_senones(folder / "senones")
        self.labels = folder / "labels"
        truth = make_features(self.labeled, num_labeled, equally_long=equally_long)
        make_labels(self.labels / "labeled", truth, self.senones)
        make_labels(self.labels / "dev", make_features(self.dev, 6, seed=1), self.senones)
        self.unlabeled_truth = make_features(self.unlabeled, num_unlabeled, 2, equally_long)

    def inputs(self) -> tuple[Path, Path, Path, Path]:
        """What ``train_cross_entropy`` takes first."""
        return self.labeled, self.dev, self.senones, self.labels

    def output(self, name: str) -> Path:
        """A new folder to train into."""
        path = self.folder / name
        path.mkdir()
        return path
