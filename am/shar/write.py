"""From a data folder to shards: features or audio, with labels if there are some.

A shard is done when its entry stands in ``entries/``; a killed run goes on at the first that does
not.  The entries become the index at the end.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse import MonoCut

from am.errors import InputError
from am.executors import Executor
from am.features.computed import num_frames_of
from am.features.extractors import LfbeSettings, make_extractor
from am.features.feature_data import (
    SETTINGS_NAME,
    describe_features,
    extractor_settings,
    one_line_reason,
    open_feature_data,
    write_feature_settings,
)
from am.features.low_frame_rate import STACKED_FRAMES, num_low_rate_frames
from am.inspection.cuts import open_cuts
from am.nnet.data import open_labels
from am.processes import ONE_PROCESS, map_chunks
from am.progress import track
from am.shar.index import (
    FEATURES,
    RECORDING,
    SHARDS_NAME,
    IndexFacts,
    LinesWriter,
    Shard,
    count_lengths,
)
from am.shar.labels import PDF_IDS, LabelWriter
from am.shar.location import content_sha256
from am.shar.shard_files import Content, CutData, ShardFiles, SharSettings
from am.storage import RaggedStore, check_store

log = logging.getLogger(__name__)

REJECTED_NAME = "rejected.tsv"
WITHOUT_LABELS_NAME = "without_labels.txt"


def content_of(data: Path) -> Content:
    """What is kept of a data folder unless it is said: its features, or audio without such."""
    return "features" if (data / SETTINGS_NAME).is_file() else "audio"


def write_shar(
    data: Path,
    output: Path,
    settings: SharSettings,
    stores: Sequence[Path] = (),
    extractor: LfbeSettings | None = None,
    executor: Executor = ONE_PROCESS,
    max_rejected_share: float = 0.05,
) -> IndexFacts:
    """Write a Shar data folder; shards that a killed run finished are kept.

    Args:
        data: a feature data folder, or one of audio cuts.
        output: the folder to write (:mod:`am.shar.index`), with ``rejected.tsv`` (cut, reason:
            unreadable) and ``without_labels.txt`` (cuts left out because a store lacks them).
        settings: what the shards hold.
        stores: of pdf-ids or soft labels, at most one of each.
        extractor: computes LFBE from the audio of a folder without features.
        executor: what writes the shards.
        max_rejected_share: stop when a larger share of the cuts is unreadable.

    Raises:
        InputError: the data lack what is to be stored, labels do not fit or are damaged, or too
            many cuts are unreadable.
    """
    _write_settings(data, output, settings, extractor)
    labels = _open_stores(stores, STACKED_FRAMES * describe_features(output).frame_shift)
    entries = output / "entries"
    entries.mkdir(exist_ok=True)
    (output / SHARDS_NAME).mkdir(exist_ok=True)
    paths = map_chunks(
        _write_shard,
        partial(_Work, data, output, settings, labels),
        enumerate(open_cuts(data)),
        executor,
        chunk_size=settings.shard_size,
        device=torch.device("cpu"),
    )
    with _Totals(output) as totals:
        for path in track(paths, "shar", unit="shard"):
            totals.add(json.loads(path.read_text()))
    totals.check(data, max_rejected_share)
    facts = totals.facts(settings, labels)
    facts.write(output)
    shutil.rmtree(entries)
    log.info(
        "%d shards, %d cuts, %.2f hours; %d cuts rejected (%s), %d without labels (%s)",
        totals.lines.num_shards,
        facts.num_cuts,
        facts.hours,
        totals.num_rejected,
        REJECTED_NAME,
        totals.num_without_labels,
        WITHOUT_LABELS_NAME,
    )
    return facts


class _Work:
    """What a process needs to write shards."""

    def __init__(
        self, data: Path, output: Path, settings: SharSettings, labels: Sequence[RaggedStore]
    ):
        self.output = output
        self.settings = settings
        self.writers = [LabelWriter(store, settings.soft_label_form) for store in labels]
        self._extractor = None if content_of(data) == "features" else extractor_settings(output)

    def num_frames(self, cut: MonoCut) -> int:
        """T of a cut's features, stored or to be computed."""
        if self._extractor is None:
            return int(cut.num_frames)
        return num_frames_of(cut.duration, self._extractor)

    def entry_path(self, number: int) -> Path:
        """Where the entry of a shard stands once it is done."""
        return self.output / "entries" / f"{number:06d}.json"


@dataclass
class _Entry:
    """What one shard holds, and what it lacks."""

    shard: Shard
    bytes: Mapping[str, int]
    pdf_counts: Sequence[tuple[int, int]]
    rejected: Sequence[tuple[str, str]]
    without_labels: Sequence[str]


def _write_shard(work: _Work, numbered: list[tuple[int, MonoCut]]) -> Path:
    """Write the shard of some cuts unless it is done; returns its entry's path."""
    number = numbered[0][0] // work.settings.shard_size
    path = work.entry_path(number)
    if not _is_done(path, work.output):
        entry = _written(work, number, [cut for _, cut in numbered])
        aside = path.with_suffix(".tmp")
        aside.write_text(json.dumps(dataclasses.asdict(entry)))
        aside.replace(path)
    return path


def _is_done(entry: Path, output: Path) -> bool:
    """Whether the files that an entry tells of are there, whole as far as their sizes say."""
    if not entry.is_file():
        return False
    values = json.loads(entry.read_text())
    shard = Shard.from_json(values["shard"])
    paths = {field: output / SHARDS_NAME / shard.file_name(field) for field in values["bytes"]}
    return all(
        path.is_file() and path.stat().st_size == values["bytes"][field]
        for field, path in paths.items()
    )


def _written(work: _Work, number: int, cuts: Sequence[MonoCut]) -> _Entry:
    lengths: list[int] = []
    seconds = 0.0
    pdf_counts: Counter[int] = Counter()
    rejected, without_labels = [], []
    fields = tuple(field for writer in work.writers for field in writer.fields)
    frame_shift = work.writers[0].store.frame_shift if work.writers else None
    folder = work.output / SHARDS_NAME
    with ShardFiles(folder, number, work.settings, fields, frame_shift) as files:
        for cut in cuts:
            if any(cut.id not in writer.store for writer in work.writers):
                without_labels.append(cut.id)
                continue
            num_frames = work.num_frames(cut)
            arrays: dict[str, np.ndarray] = {}
            for writer in work.writers:
                arrays |= writer.arrays(cut.id, num_frames)
            try:
                data = CutData.load(cut, work.settings, arrays)
            except Exception as error:  # whatever a decoder raises is a reason to reject the cut
                rejected.append((cut.id, one_line_reason(error)))
                continue
            files.write(cut, data)
            lengths.append(num_frames)
            seconds += cut.duration
            pdf_counts.update(arrays.get(PDF_IDS, np.zeros(0, np.int32)).tolist())
    paths = {field: path for field, path in files.paths.items() if lengths}
    shard = Shard(
        number,
        len(lengths),
        sum(map(num_low_rate_frames, lengths)),
        round(seconds, 3),
        count_lengths(lengths),
        {field: content_sha256(path) for field, path in paths.items()},
    )
    sizes = {field: path.stat().st_size for field, path in paths.items()}
    return _Entry(shard, sizes, sorted(pdf_counts.items()), rejected, without_labels)


def _write_settings(
    data: Path, output: Path, settings: SharSettings, extractor: LfbeSettings | None
) -> None:
    """``features.json``, after a look whether the data have what is to be stored."""
    if content_of(data) == "features":
        first = next(iter(open_feature_data(data)))
        shutil.copyfile(data / SETTINGS_NAME, output / SETTINGS_NAME)
        if settings.content == "audio":
            extractor_settings(data)
    else:
        if FEATURES in settings.fields:
            raise InputError(f"{data}: has no features; run steps/make_features.py")
        if extractor is None:
            raise InputError(f"{data}: has no features; say how to compute them (--config)")
        first = next(iter(open_cuts(data)), None)
        if first is None:
            raise InputError(f"{data}: holds no cuts; give data with at least one utterance")
        dimension = make_extractor(extractor).feature_dim(extractor.sampling_rate)
        write_feature_settings(output, "lfbe", dimension, extractor)
    if RECORDING in settings.fields and not first.has_recording:
        raise InputError(f"{data}: cut {first.id}: has no recording; give cuts with audio")


def _open_stores(stores: Sequence[Path], frame_shift: float) -> list[RaggedStore]:
    """The stores, checked; one that is no store of labels is refused."""
    opened: dict[str, RaggedStore] = {}
    for folder in stores:
        store = RaggedStore(folder)
        kind = "pdf-ids" if store.kind == "pdf-ids" else "soft labels"
        if kind in opened:
            raise InputError(f"{folder}: a second store of {kind}; give one of each kind")
        num_pdfs = store.description.get("num_pdfs", 0)
        opened[kind] = open_labels(folder, kind, num_pdfs, frame_shift)
        check_store(folder)
    return list(opened.values())


class _Totals:
    """Gathers the entries of all shards; lists cuts that were left out; a context manager.

    Attributes:
        lines: of the index.
        num_rejected, num_without_labels: cuts left out.
    """

    def __init__(self, output: Path):
        self._output = output
        self.lines = LinesWriter(output)
        self._pdf_counts: Counter[int] = Counter()
        self._first_rejected = ""
        self.num_rejected = self.num_without_labels = 0

    def __enter__(self) -> _Totals:
        self._stack = ExitStack()
        self._stack.enter_context(self.lines)
        self._rejected, self._without_labels = (
            self._stack.enter_context((self._output / name).open("w", encoding="utf-8"))
            for name in (REJECTED_NAME, WITHOUT_LABELS_NAME)
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def add(self, entry: Mapping[str, Any]) -> None:
        """Count one more shard."""
        shard = Shard.from_json(entry["shard"])
        if shard.num_cuts:
            self.lines.add(shard)
        self._pdf_counts.update(dict(entry["pdf_counts"]))
        for cut_id, reason in entry["rejected"]:
            self._first_rejected = self._first_rejected or f"{cut_id}: {reason}"
            self._rejected.write(f"{cut_id}\t{reason}\n")
        self._without_labels.writelines(f"{cut_id}\n" for cut_id in entry["without_labels"])
        self.num_rejected += len(entry["rejected"])
        self.num_without_labels += len(entry["without_labels"])

    def check(self, data: Path, max_rejected_share: float) -> None:
        """Raise an InputError where too much was left out."""
        total = self.lines.num_cuts + self.num_rejected + self.num_without_labels
        if self.num_rejected > max_rejected_share * total:
            raise InputError(
                f"{data}: {self.num_rejected} of {total} cuts are unreadable, more than "
                f"{max_rejected_share:.0%} (--max-rejected); the first is {self._first_rejected}"
            )
        if self.lines.num_cuts == 0:
            raise InputError(
                f"{data}: none of its {total} cuts has labels; give the labels of this data"
            )

    def facts(self, settings: SharSettings, labels: Sequence[RaggedStore]) -> IndexFacts:
        """What holds for all shards."""
        fields = list(settings.fields)
        for store in labels:
            fields.extend(LabelWriter(store, settings.soft_label_form).fields)
        hard = [store for store in labels if store.kind == "pdf-ids"]
        num_pdfs = hard[0].description["num_pdfs"] if hard else 0
        counts = (self._pdf_counts[pdf_id] for pdf_id in range(num_pdfs))
        return self.lines.facts(fields, {store.kind: store.description for store in labels}, counts)
