"""Training data: cuts with features and their labels, in batches of similar length.

Shapes: B utterances, T frames at 10 ms, T' at 30 ms, N = the sum of all T', k stored logits.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lhotse import CutSet, MonoCut
from lhotse.dataset.sampling import DynamicBucketingSampler
from lhotse.dataset.sampling.base import TimeConstraint
from lhotse.dataset.sampling.dynamic_bucketing import estimate_duration_buckets
from torch.utils.data import DataLoader, Dataset

from am.errors import InputError
from am.features.batch_audio import BatchAudio, pad_features
from am.features.computed import audio_in_memory, computed_settings
from am.features.engines import CPU
from am.features.feature_data import (
    CUTS_NAME,
    describe_features,
    one_line_reason,
    open_feature_data,
)
from am.features.low_frame_rate import STACKED_FRAMES, num_low_rate_frames
from am.nnet.audio_augmentation import AudioAugmenter
from am.nnet.batch import AudioBatch, Batch, LoadedBatch
from am.parallel.process_group import current_group
from am.parallel.sharing import Share
from am.storage import RaggedStore

log = logging.getLogger(__name__)

LABEL_KINDS = {"pdf-ids": ("pdf_ids",), "soft labels": ("pdf_ids", "logits")}
CUTS_FOR_BUCKETS = 10000


def load_features(cut: MonoCut) -> np.ndarray:
    """(T, D) float32 of one cut; unreadable ones raise an InputError that names it."""
    try:
        return np.asarray(cut.load_features(), dtype=np.float32)
    except Exception as error:  # lhotse's storages raise whatever their libraries raise
        raise InputError(
            f"{cut.features.storage_path}: cut {cut.id}: {one_line_reason(error)}"
        ) from error


def _load_audio(cut: MonoCut) -> np.ndarray:
    try:
        return audio_in_memory(cut)
    except Exception as error:  # audio libraries raise whatever they like
        raise InputError(f"cut {cut.id}: {one_line_reason(error)}") from error


class _BatchDataset(Dataset[LoadedBatch | InputError | None]):
    """Loads the cuts that the sampler chose; runs in the workers of a DataLoader."""

    def __init__(self, labels: RaggedStore, augmenter: AudioAugmenter | None, seed: int):
        self._labels = labels
        self._augmenter = augmenter
        self._seed = seed

    def __getitem__(self, cuts: CutSet | None) -> LoadedBatch | InputError | None:
        try:
            return None if cuts is None else self._load(list(cuts))
        except InputError as error:  # raised in a worker it would become a traceback in a string
            return error

    def _load(self, cuts: list[MonoCut]) -> LoadedBatch:
        return load_batch(cuts, self._labels, self._augmenter, self._seed)


class Labels(Protocol):
    """Labels of cuts, such as a :class:`am.storage.RaggedStore`."""

    def __getitem__(self, cut_id: str) -> dict[str, np.ndarray]: ...


def load_batch(
    cuts: Sequence[MonoCut], labels: Labels, augmenter: AudioAugmenter | None, seed: int
) -> LoadedBatch:
    """Load the features and labels of some cuts.

    Features that are not stored are computed here, or later if that is better done on a GPU.

    Args:
        cuts: which.
        labels: of them.
        augmenter: changes the audio; None takes the features as they are.
        seed: of the pass.
    """
    settings = computed_settings(cuts[0]) if augmenter is None else augmenter.features
    arrays, records = [], []
    for cut in cuts:
        record = labels[cut.id]
        if augmenter is not None:
            array, index = augmenter.audio(cut, seed)
            record = {name: values[index] for name, values in record.items()}
        else:
            array = load_features(cut) if settings is None else _load_audio(cut)
        arrays.append(array)
        records.append(record)
    pdf_ids = np.concatenate([record["pdf_ids"] for record in records]).astype(np.int64)
    logits = None
    if "logits" in records[0]:
        logits = torch.from_numpy(np.concatenate([record["logits"] for record in records]))
    cut_ids, hard_labels = tuple(cut.id for cut in cuts), torch.from_numpy(pdf_ids)
    if settings is None:
        features, lengths = pad_features([torch.from_numpy(array) for array in arrays])
        return Batch(cut_ids, features, lengths, hard_labels, logits)
    batch = AudioBatch(cut_ids, BatchAudio.of(arrays, settings), hard_labels, logits)
    return batch if batch.audio.waits_for_gpu else batch.to(CPU)


def loaded_batches(
    dataset: Dataset[LoadedBatch | InputError | None], sampler: Iterable[Any], num_workers: int
) -> Iterator[LoadedBatch | None]:
    """What a dataset loads for each item of a sampler, in order.

    Args:
        dataset: gives an error back instead of raising it, which a worker cannot.
        sampler: its items.
        num_workers: processes that load; 0 for this one.

    Raises:
        InputError: what the dataset gave back.
    """
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=num_workers,
        generator=torch.Generator(),  # the loader must not draw from the training's own
        pin_memory=torch.cuda.is_available(),
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


class _Remaining:
    """A process's share of a sampler's batches, without the first ones in the middle of a pass."""

    def __init__(self, sampler: DynamicBucketingSampler, share: Share, seed: int, skip: int):
        self._sampler = sampler
        self._share = share
        self._seed = seed
        self._skip = skip

    def __iter__(self) -> Iterator[CutSet | None]:
        return itertools.islice(self._share.of(self._sampler, self._seed), self._skip, None)


@dataclass(frozen=True)
class BatchingSettings:
    """How batches are made.

    Attributes:
        batch_seconds: speech in a batch, padding not counted.
        num_buckets: groups of similar length, to keep padding small.
        num_workers: processes that load data beside the training; 0 loads in between.
        open_shards: of sharded data, how many are in memory at a time (:mod:`am.nnet.shar_data`).
        divided: whether the N processes that train together share a batch, so that an update has as
            much speech as with one; else each has so much, and an update N times as much.
    """

    batch_seconds: float = 40.0
    num_buckets: int = 10
    num_workers: int = 0
    open_shards: int = 4
    divided: bool = False

    @property
    def process_batch_seconds(self) -> float:
        """Speech in a batch of this process."""
        return self.batch_seconds / (current_group().size if self.divided else 1)


class LabelledCuts:
    """The cuts of one manifest that have labels, to be read in batches again and again.

    Args:
        name, manifest, labels, settings: what, and how batches are made.
        augmenter: changes the audio; None takes the features as they are.

    Attributes:
        name: what the log calls them.
        num_cuts, num_frames: how many, and their 30 ms frames before any change of speed.
    """

    def __init__(
        self,
        name: str,
        manifest: Path,
        labels: RaggedStore,
        settings: BatchingSettings,
        augmenter: AudioAugmenter | None = None,
    ):
        self.name = name
        self.manifest = manifest
        self.labels = labels
        self._settings = settings
        self._augmenter = augmenter
        durations: list[MonoCut] = []
        self.num_cuts = 0
        self.num_frames = 0
        for cut in self.cuts():
            self.num_cuts += 1
            self.num_frames += num_low_rate_frames(int(cut.num_frames))
            if len(durations) < CUTS_FOR_BUCKETS:
                durations.append(cut)
        buckets = max(1, min(settings.num_buckets, len(durations) // 2))
        self._duration_bins = (
            estimate_duration_buckets(
                durations, buckets, TimeConstraint(max_duration=settings.process_batch_seconds)
            )
            if buckets > 1
            else [math.inf]
        )

    def cuts(self) -> Iterator[MonoCut]:
        """The cuts that have labels, in the manifest's order."""
        return (cut for cut in CutSet.from_jsonl_lazy(self.manifest) if cut.id in self.labels)

    def sampler(self, seed: int, shuffle: bool = True) -> DynamicBucketingSampler:
        """One pass over all cuts, a batch's cuts at a time, without loading them."""
        sampler = DynamicBucketingSampler(
            CutSet.from_jsonl_lazy(self.manifest),
            max_duration=self._settings.process_batch_seconds,
            duration_bins=self._duration_bins,
            shuffle=shuffle,
            seed=seed,
            world_size=1,  # by default lhotse takes it from torchrun's variables
            rank=0,
        )
        labels = self.labels
        sampler.filter(lambda cut: cut.id in labels)
        return sampler

    def batches(self, seed: int, shuffle: bool = True, skip: int = 0) -> Iterator[LoadedBatch]:
        """One pass over all cuts.

        Args:
            seed: of the order; the same seed gives the same batches.
            shuffle: whether the order is random.
            skip: leave out that many batches at the start, without loading them.
        """
        rounds = self.rounds(seed, Share(), shuffle, skip)
        return (batch for batch in rounds if batch is not None)

    def rounds(
        self, seed: int, share: Share, shuffle: bool = True, skip: int = 0
    ) -> Iterator[LoadedBatch | None]:
        """One pass of a process among several over its share of the cuts.

        Args:
            seed, shuffle, skip: as of :meth:`batches`.
            share: which one.

        Yields:
            A batch each round, or None in a round that has too few for all processes.
        """
        dataset = _BatchDataset(self.labels, self._augmenter, seed)
        remaining = _Remaining(self.sampler(seed, shuffle), share, seed, skip)
        return loaded_batches(dataset, remaining, self._settings.num_workers)


def open_labels(
    folder: Path,
    kind: str,
    num_pdfs: int,
    frame_shift: float,
    shards: Iterable[int] | None = None,
) -> RaggedStore:
    """Open a store of labels and check that it fits.

    Args:
        folder: the store.
        kind: ``pdf-ids`` or ``soft labels``.
        num_pdfs: senones of the network to train.
        frame_shift: of its output, in seconds.
        shards: only these of the store; None opens all.

    Raises:
        InputError: another kind, frame shift or number of senones, or soft labels that are not
            in today's format.
    """
    labels = RaggedStore(folder, shards)
    if labels.kind != kind:
        raise InputError(f"{folder}: holds {labels.kind} where {kind} are needed")
    if abs(labels.frame_shift - frame_shift) > 1e-6:
        raise InputError(
            f"{folder}: a label every {labels.frame_shift} s, but the network has an output every "
            f"{frame_shift} s; make the labels at the low frame rate"
        )
    stored = labels.description.get("num_pdfs")
    if stored != num_pdfs:
        raise InputError(
            f"{folder}: labels of {stored} senones, but the senone folder has {num_pdfs}; "
            "make the labels again with the same tree"
        )
    if kind == "soft labels" and not {"codec", "temperature"} <= labels.description.keys():
        raise InputError(
            f"{folder}: soft labels of an older format; make them again "
            "(steps/dump_soft_labels.py --redo)"
        )
    if not set(LABEL_KINDS[kind]) <= set(labels.description["fields"]):
        raise InputError(f"{folder}: must have the fields {', '.join(LABEL_KINDS[kind])}")
    return labels


def check_feature_kind(folders: Iterable[Path]) -> int:
    """The dimension that all feature data folders share; else an InputError."""
    descriptions = {folder: describe_features(folder) for folder in folders}
    first_folder, first = next(iter(descriptions.items()))
    for folder, description in descriptions.items():
        if description != first:
            raise InputError(
                f"{folder}: {description}, but {first_folder} has {first}; make both with one "
                "configuration"
            )
    return first.dimension


def check_labels_fit(data: Path, labels: RaggedStore, missing_list: Path) -> None:
    """Check every cut of a feature data folder against its labels.

    Cuts without labels (their alignment failed) are counted in the log and listed in
    ``missing_list``, one id a line.

    Raises:
        InputError: a cut has another number of frames than its labels, or no cut has labels.
    """
    total, missing = 0, 0
    with missing_list.open("w", encoding="utf-8") as listed:
        for cut in open_feature_data(data):
            total += 1
            if cut.id not in labels:
                missing += 1
                listed.write(f"{cut.id}\n")
                continue
            expected = num_low_rate_frames(int(cut.num_frames))
            if labels.num_frames(cut.id) != expected:
                raise InputError(
                    f"{labels.folder}: cut {cut.id}: {labels.num_frames(cut.id)} labels, but "
                    f"{data / CUTS_NAME} has {cut.num_frames} frames, which are {expected} stacked "
                    f"by {STACKED_FRAMES}; make both from the same cuts"
                )
    if missing == total:
        raise InputError(
            f"{labels.folder}: has labels for none of the {total} cuts of {data / CUTS_NAME}; "
            "give the labels of this data"
        )
    if missing:
        log.warning("%d of %d cuts of %s have no labels: %s", missing, total, data, missing_list)


def split_into_parts(manifest: Path, folder: Path, num_parts: int) -> list[Path]:
    """Deal the cuts of a manifest out to ``num_parts`` manifests, in turn; streaming."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{index:03d}.jsonl.gz" for index in range(num_parts)]
    if (folder / "split").is_file():
        return paths
    with ExitStack() as stack:
        writers = [stack.enter_context(CutSet.open_writer(path, overwrite=True)) for path in paths]
        for index, cut in enumerate(CutSet.from_jsonl_lazy(manifest)):
            writers[index % num_parts].write(cut)
    (folder / "split").touch()
    return paths
