"""Features of a whole data folder: in shards, streaming, with bad cuts listed.

The cuts are split into parts of some hundred; each part becomes a feature file and a manifest of
its own, so that memory does not grow with the corpus and a killed run goes on at the first part
that is missing.  Within a part, minutes of audio are computed at once, on a GPU where there is one
and kaldifeat is the engine.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from lhotse import CutSet, Features, MonoCut
from lhotse.features.base import FeatureExtractor
from lhotse.features.io import available_storage_backends, get_writer
from torch import Tensor

from am.errors import InputError
from am.executors import Executor
from am.features.computed import num_frames_of
from am.features.engines import CPU, pick_engine
from am.features.extractors import SETTINGS_OF_KIND, LfbeSettings, make_extractor
from am.features.feature_data import CUTS_NAME, one_line_reason, write_feature_settings
from am.nnet.device import pick_device
from am.outputs import unfinished_folder
from am.processes import ONE_PROCESS
from am.shards import make_shards

log = logging.getLogger(__name__)

CUTS_A_PART = 256
SECONDS_A_BATCH = 300.0
REJECTED_NAME = "rejected.tsv"


@dataclass(frozen=True)
class _Part:
    """One part's files: the cuts to do, and what comes of them."""

    cuts: Path
    done: Path
    rejected: Path
    storage: Path
    final_folder: Path


def compute_features(
    data: Path,
    output: Path,
    final_output: Path,
    kind: str,
    settings: LfbeSettings,
    executor: Executor = ONE_PROCESS,
    max_rejected_share: float = 0.05,
    device: str = "auto",
) -> None:
    """Compute the features of every cut of ``data/cuts.jsonl.gz``.

    Args:
        data: a data folder.
        output: where to write: the cuts with features, their storage and ``rejected.tsv``.
        final_output: where ``output`` will lie in the end; the manifest's paths point there.
        kind: ``lfbe`` or ``mfcc``.
        settings: of that kind.
        executor: what computes.
        max_rejected_share: stop when a larger share of the cuts cannot be computed.
        device: auto, cpu, cuda or cuda:N, for an engine that can choose.

    Raises:
        InputError: no cuts, an unknown storage, an engine that cannot be used, too many rejected
            cuts, or parts that failed.
    """
    assert isinstance(settings, SETTINGS_OF_KIND[kind])
    if settings.storage_type not in available_storage_backends():
        raise InputError(
            f"storage_type: lhotse has no storage '{settings.storage_type}' here; choose one of "
            f"{', '.join(available_storage_backends())}, or install what it needs"
        )
    manifest = data / CUTS_NAME
    if not manifest.is_file():
        raise InputError(f"{manifest}: no such file; run utils/make_cuts.py")
    place = pick_device(device)
    engine = pick_engine(settings.engine)
    place = place if engine == "kaldifeat" else CPU
    log.info("%s on %s", engine, place)
    parts = list(_split(manifest, output, final_output))
    missing = [part for part in parts if not part.done.is_file()]
    log.info("%d parts of %d cuts, %d to do", len(parts), CUTS_A_PART, len(missing))
    make_shards(
        _compute_part,
        partial(_State.make, settings, place),
        [(part.storage.name, part) for part in missing],
        len(missing),
        executor,
        output,
        description="features",
        share_state=place.type == "cpu",
    )
    num_rejected = _join([part.rejected for part in parts], output / REJECTED_NAME)
    _join([part.done for part in parts], output / CUTS_NAME)
    num_cuts = sum(1 for _ in CutSet.from_jsonl_lazy(output / CUTS_NAME))
    total = num_cuts + num_rejected
    log.info("%s of %d cuts, %d rejected", kind, num_cuts, num_rejected)
    if total == 0:
        raise InputError(f"{manifest}: holds no cuts; give data with at least one utterance")
    if num_rejected > max_rejected_share * total:
        first = (output / REJECTED_NAME).read_text().splitlines()[0].replace("\t", ": ")
        raise InputError(
            f"{manifest}: {num_rejected} of {total} cuts have no features, more than "
            f"{max_rejected_share:.0%} (--max-rejected); the first is {first}"
        )
    write_feature_settings(
        output, kind, make_extractor(settings).feature_dim(settings.sampling_rate), settings
    )
    shutil.rmtree(output / "parts")


def _split(manifest: Path, output: Path, final_output: Path) -> Iterator[_Part]:
    folder = output / "parts"
    if not (folder / "split").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        CutSet.from_jsonl_lazy(manifest).split_lazy(folder, CUTS_A_PART, prefix="cuts")
        (folder / "split").touch()
    for index, path in enumerate(sorted(folder.glob("cuts.*.jsonl.gz"))):
        yield _Part(
            cuts=path,
            done=folder / f"done.{index:05d}.jsonl.gz",
            rejected=folder / f"rejected.{index:05d}.tsv",
            storage=output / f"features-{index:05d}",
            final_folder=final_output.resolve(),
        )


@dataclass(frozen=True)
class _State:
    settings: LfbeSettings
    extractor: FeatureExtractor

    @classmethod
    def make(cls, settings: LfbeSettings, device: torch.device) -> _State:
        return cls(settings, make_extractor(settings, device))


def _compute_part(state: _State, part: _Part) -> None:
    with unfinished_folder(part.done.parent) as aside:
        rejected_path, done_path = aside / part.rejected.name, aside / part.done.name
        with (
            rejected_path.open("w", encoding="utf-8") as rejected,
            get_writer(state.settings.storage_type)(aside / part.storage.name) as storage,
            CutSet.open_writer(done_path, overwrite=True) as done,
        ):
            stored = Path(storage.storage_path)
            for cut, features in _with_features(
                CutSet.from_jsonl_lazy(part.cuts), state.extractor, rejected
            ):
                cut.features = Features(
                    type=state.extractor.name,
                    num_frames=len(features),
                    num_features=features.shape[1],
                    frame_shift=state.settings.frame_shift,
                    sampling_rate=cut.sampling_rate,
                    start=cut.start,
                    duration=cut.duration,
                    storage_type=storage.name,
                    storage_path=str(part.final_folder / stored.name),
                    storage_key=storage.write(cut.id, features.numpy(force=True)),
                    recording_id=cut.recording_id,
                    channels=cut.channel,
                )
                done.write(cut)
        _move(stored, part.storage.parent)
        _move(rejected_path, part.rejected.parent)
        _move(done_path, part.done.parent)


def _move(path: Path, folder: Path) -> None:
    """Rename a file or a folder of files into ``folder``, in place of what stands there."""
    target = folder / path.name
    if target.is_dir():
        shutil.rmtree(target)
    path.replace(target)


def _with_features(
    cuts: Iterable[MonoCut], extractor: FeatureExtractor, rejected: TextIO
) -> Iterator[tuple[MonoCut, Tensor]]:
    """Cuts and their (T, D) features; cuts that have none are listed in ``rejected``."""
    batch: list[tuple[MonoCut, np.ndarray]] = []
    seconds = 0.0
    for cut in cuts:
        try:
            samples = _samples_of(cut, extractor)
        except Exception as error:  # whatever a decoder raises is a reason to reject it
            rejected.write(f"{cut.id}\t{one_line_reason(error)}\n")
            continue
        batch.append((cut, samples))
        seconds += cut.duration
        if seconds >= SECONDS_A_BATCH:
            yield from _computed(batch, extractor)
            batch, seconds = [], 0.0
    yield from _computed(batch, extractor)


def _samples_of(cut: MonoCut, extractor: FeatureExtractor) -> np.ndarray:
    samples = extractor.checked(cut.load_audio(), cut.sampling_rate)
    if num_frames_of(len(samples) / cut.sampling_rate, extractor.config) == 0:
        raise ValueError(f"audio of {cut.duration:.3f} s gives no frame")
    return np.asarray(samples)


def _computed(
    batch: Sequence[tuple[MonoCut, np.ndarray]], extractor: FeatureExtractor
) -> Iterator[tuple[MonoCut, Tensor]]:
    features = extractor.compute([torch.from_numpy(samples) for _, samples in batch])
    return zip((cut for cut, _ in batch), features, strict=True)


def _join(paths: list[Path], output: Path) -> int:
    """Concatenate files (gzip members may stand one after the other); how many lines."""
    lines = 0
    with output.open("wb") as joined:
        for path in paths:
            with path.open("rb") as stream:
                shutil.copyfileobj(stream, joined)
            if path.suffix == ".tsv":
                lines += path.read_text(encoding="utf-8").count("\n")
    return lines
