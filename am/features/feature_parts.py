"""A feature data folder made in parts: streaming, with bad cuts listed.

The cuts are split into parts of some hundred; each part becomes a feature file and a manifest of
its own, so that memory does not grow with the corpus and a killed run goes on at the first part
that is missing.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np
from lhotse import CutSet, Features, MonoCut
from lhotse.features.io import get_writer

from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import CUTS_NAME, count_cuts
from am.outputs import unfinished_folder
from am.shards import make_shards

log = logging.getLogger(__name__)

CUTS_A_PART = 256
REJECTED_NAME = "rejected.tsv"


class FeatureMaker(Protocol):
    """Makes the features of cuts."""

    @property
    def name(self) -> str:
        """What lhotse's manifests call such features."""

    @property
    def storage_type(self) -> str:
        """Lhotse's storage that they are written to."""

    @property
    def frame_shift(self) -> float:
        """In seconds."""

    def features_of(
        self, cuts: Iterable[MonoCut], rejected: TextIO
    ) -> Iterator[tuple[MonoCut, np.ndarray]]:
        """Cuts and their (T, D) features; cuts that have none are listed in ``rejected``."""


@dataclass(frozen=True)
class _Part:
    """One part's files: the cuts to do, and what comes of them."""

    cuts: Path
    done: Path
    rejected: Path
    storage: Path
    final_folder: Path


def make_features_in_parts(
    data: Path,
    output: Path,
    final_output: Path,
    make_maker: Callable[[], FeatureMaker],
    executor: Executor,
    max_rejected_share: float,
    *,
    share_state: bool = True,
) -> None:
    """Make the features of every cut of ``data/cuts.jsonl.gz``, in their order.

    Args:
        data: a data folder.
        output: where to write: the cuts with features, their storage and ``rejected.tsv``.
        final_output: where ``output`` will lie in the end; the manifest's paths point there.
        make_maker: called in every process; picklable.
        executor: what computes.
        max_rejected_share: stop when a larger share of the cuts has no features.
        share_state: whether processes may inherit what ``make_maker`` made.

    Raises:
        InputError: no cuts, too many rejected ones, or parts that failed.
    """
    manifest = data / CUTS_NAME
    if not manifest.is_file():
        raise InputError(f"{manifest}: no such file; run utils/make_cuts.py")
    parts = list(_split(manifest, output, final_output))
    missing = [part for part in parts if not part.done.is_file()]
    log.info("%d parts of %d cuts, %d to do", len(parts), CUTS_A_PART, len(missing))
    make_shards(
        _make_part,
        make_maker,
        [(part.storage.name, part) for part in missing],
        len(missing),
        executor,
        output,
        description="features",
        share_state=share_state,
    )
    num_rejected = _join([part.rejected for part in parts], output / REJECTED_NAME)
    _join([part.done for part in parts], output / CUTS_NAME)
    num_cuts = count_cuts(output)
    total = num_cuts + num_rejected
    log.info("features of %d cuts, %d rejected", num_cuts, num_rejected)
    if total == 0:
        raise InputError(f"{manifest}: holds no cuts; give data with at least one utterance")
    if num_rejected > max_rejected_share * total:
        first = (output / REJECTED_NAME).read_text().splitlines()[0].replace("\t", ": ")
        raise InputError(
            f"{manifest}: {num_rejected} of {total} cuts have no features, more than "
            f"{max_rejected_share:.0%} (--max-rejected); the first is {first}"
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


def _make_part(maker: FeatureMaker, part: _Part) -> None:
    with unfinished_folder(part.done.parent) as aside:
        rejected_path, done_path = aside / part.rejected.name, aside / part.done.name
        with (
            rejected_path.open("w", encoding="utf-8") as rejected,
            get_writer(maker.storage_type)(aside / part.storage.name) as storage,
            CutSet.open_writer(done_path, overwrite=True) as done,
        ):
            stored = Path(storage.storage_path)
            for cut, features in maker.features_of(CutSet.from_jsonl_lazy(part.cuts), rejected):
                cut.features = Features(
                    type=maker.name,
                    num_frames=len(features),
                    num_features=features.shape[1],
                    frame_shift=maker.frame_shift,
                    sampling_rate=cut.sampling_rate,
                    start=cut.start,
                    duration=cut.duration,
                    storage_type=storage.name,
                    storage_path=str(part.final_folder / stored.name),
                    storage_key=storage.write(cut.id, features),
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
