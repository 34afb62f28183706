"""Where training data come from: folders read at random, or shards read in order.

Both are opened and checked here, so that a training need not know which it has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from am.errors import InputError
from am.features.feature_data import CUTS_NAME, count_cuts, open_feature_data
from am.nnet.audio_augmentation import AudioAugmentationSettings, audio_augmenter
from am.nnet.data import (
    BatchingSettings,
    LabelledCuts,
    check_labels_fit,
    load_features,
    open_labels,
    split_into_parts,
)
from am.nnet.schedule import part_name
from am.nnet.shar_data import ShardedCuts
from am.nnet.training_plan import SourceSize, size_of
from am.parallel.process_group import current_group
from am.shar.index import INDEX_NAME, is_shar, read_facts
from am.shar.labels import LabelsBesideShards, LabelsInShards, ShardLabels
from am.shar.read import SharData
from am.storage import RaggedStore, check_store

DataSource = LabelledCuts | ShardedCuts


@dataclass(frozen=True)
class LabelsWanted:
    """What labels must fit.

    Attributes:
        num_pdfs: senones of the network to train.
        tree_sha256: of their tree.
        frame_shift: of the network's output, in seconds.
    """

    num_pdfs: int
    tree_sha256: str
    frame_shift: float

    def check(self, description: Mapping[str, Any], where: Path) -> None:
        """Raise an InputError for labels in shards that do not fit; ``where`` names them."""
        stored = (description.get("num_pdfs"), description.get("tree_sha256"))
        if stored != (self.num_pdfs, self.tree_sha256):
            raise InputError(
                f"{where}: labels of another tree than that of the senone folder; make them again "
                "with this tree"
            )
        if abs(description["frame_shift"] - self.frame_shift) > 1e-6:
            raise InputError(
                f"{where}: a label every {description['frame_shift']} s, but the network has an "
                f"output every {self.frame_shift} s; make the labels at the low frame rate"
            )


def labels_place(data: Path, store: Path) -> Path:
    """Where the hard labels of some data lie: in their shards, or else in ``store``."""
    return data if is_shar(data) else store


def open_hard_labelled(
    name: str,
    data: Path,
    store: Path,
    wanted: LabelsWanted,
    batching: BatchingSettings,
    audio: AudioAugmentationSettings | None,
    missing_list: Path,
) -> DataSource:
    """Data with hard labels.

    Args:
        name: what the log calls them.
        data: feature data folder, LFBE; a Shar data folder holds its labels itself.
        store: pdf-ids of any other.
        wanted: what the labels must fit.
        batching: how batches are made.
        audio: changes of the audio, if any.
        missing_list: gets the cuts without labels.
    """
    augmenter = audio_augmenter(data, audio) if audio else None
    if is_shar(data):
        shards = SharData(data)
        labels = LabelsInShards(shards, "pdf-ids")
        wanted.check(shards.facts.labels["pdf-ids"], data / INDEX_NAME)
        return ShardedCuts(name, shards, labels, batching, augmenter)
    opened = open_labels(store, "pdf-ids", wanted.num_pdfs, wanted.frame_shift)
    wanted.check(opened.description, store)
    if current_group().is_main:
        check_labels_fit(data, opened, missing_list)
    return LabelledCuts(name, data / CUTS_NAME, opened, batching, augmenter)


def open_unlabeled_parts(
    data: Path,
    store: Path,
    num_parts: int,
    wanted: LabelsWanted,
    batching: BatchingSettings,
    audio: AudioAugmentationSettings,
    folder: Path,
) -> list[DataSource]:
    """Data with a teacher's labels, in parts of about the same size.

    Args:
        data: feature data folder, LFBE.
        store: the labels: soft, or pdf-ids; of a Shar data folder ``data`` itself, if its shards
            hold soft labels, or what steps/dump_soft_labels.py wrote from it.
        num_parts: how many.
        wanted, batching, audio: as of :func:`open_hard_labelled`.
        folder: of the training; gets manifests and the list of cuts without labels.
    """
    if is_shar(data):
        parts = _sharded_parts(data, store, num_parts, wanted, batching, audio)
    else:
        parts = _parts_of_folder(data, store, num_parts, wanted, batching, audio, folder)
    if any(part.num_cuts == 0 for part in parts):
        raise InputError(
            f"schedule.parts: {num_parts} parts are too many for the "
            f"{'shards' if is_shar(data) else 'cuts'} of {data}; choose fewer"
        )
    return parts


def _parts_of_folder(
    data: Path,
    store: Path,
    num_parts: int,
    wanted: LabelsWanted,
    batching: BatchingSettings,
    audio: AudioAugmentationSettings,
    folder: Path,
) -> list[DataSource]:
    kind = "pdf-ids" if RaggedStore(store).kind == "pdf-ids" else "soft labels"
    labels = open_labels(store, kind, wanted.num_pdfs, wanted.frame_shift)
    wanted.check(labels.description, store)
    if current_group().is_main:
        check_store(store)
        check_labels_fit(data, labels, folder / "unlabeled_without_labels.txt")
    augmenter = audio_augmenter(data, audio)
    manifests = split_into_parts(data / CUTS_NAME, folder / "parts", num_parts)
    return [
        LabelledCuts(part_name(index), manifest, labels, batching, augmenter)
        for index, manifest in enumerate(manifests)
    ]


def _sharded_parts(
    data: Path,
    store: Path,
    num_parts: int,
    wanted: LabelsWanted,
    batching: BatchingSettings,
    audio: AudioAugmentationSettings,
) -> list[DataSource]:
    shards = SharData(data)
    labels: ShardLabels
    if is_shar(store):
        if read_facts(store).lines_sha256 != shards.facts.lines_sha256:
            raise InputError(f"{store}: other shards than those of {data}; give the same for both")
        labels = LabelsInShards(shards, "soft labels")
        wanted.check(shards.facts.labels["soft labels"], data / INDEX_NAME)
    else:
        opened = open_labels(store, "soft labels", wanted.num_pdfs, wanted.frame_shift, shards=())
        wanted.check(opened.description, store)
        if opened.description.get("num_shards") != len(shards.shards):
            raise InputError(
                f"{store}: not the labels of the shards of {data}; make them from this folder "
                "(steps/dump_soft_labels.py)"
            )
        labels = LabelsBesideShards(store)
    augmenter = audio_augmenter(data, audio)
    positions = range(len(shards.shards))
    return [
        ShardedCuts(
            part_name(part), shards, labels, batching, augmenter, positions[part::num_parts]
        )
        for part in range(num_parts)
    ]


def size_of_source(
    source: DataSource, batching: BatchingSettings, chunk_seconds: float, num_processes: int = 1
) -> SourceSize:
    """Frames and about how many updates a pass over a source has.

    Args:
        source: the data.
        batching: of the training.
        chunk_seconds: of its chunks; 0 for whole utterances.
        num_processes: that share the batches.
    """
    if isinstance(source, LabelledCuts):
        return size_of(source.cuts(), batching, chunk_seconds, num_processes)
    size = source.size(chunk_seconds)
    return SourceSize(size.frames, math.ceil(size.updates / num_processes))


class FeaturesOf:
    """The features of some cuts, spread evenly over folders; may be iterated again.

    Of shards every n-th is read, of other folders every n-th cut.

    Args:
        folders: of feature data.
        max_cuts: about how many.
    """

    def __init__(self, folders: Sequence[Path], max_cuts: int):
        self._folders = [folder for folder in folders if not is_shar(folder)]
        self._shards = [SharData(folder) for folder in folders if is_shar(folder)]
        num_cuts = sum(map(count_cuts, folders))
        self._every = -(-num_cuts // max(max_cuts, 1))

    def __iter__(self) -> Iterator[np.ndarray]:
        cuts = itertools.chain.from_iterable(map(open_feature_data, self._folders))
        chosen = itertools.islice(cuts, 0, None, self._every)
        return (load_features(cut) for cut in itertools.chain(chosen, self._cuts_of_shards()))

    def _cuts_of_shards(self) -> Iterator[Any]:
        for shards in self._shards:
            for position in range(0, len(shards.shards), self._every):
                yield from shards.read_shard(position)
