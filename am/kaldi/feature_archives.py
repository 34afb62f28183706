"""Kaldi's features (``feats.scp``) as a feature data folder of ours."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lhotse import CutSet, Features, MonoCut
from lhotse.utils import compute_num_frames

from am.errors import InputError
from am.features.feature_data import CUTS_NAME, SETTINGS_NAME
from am.features.storage import Float16FileWriter
from am.kaldi.alignments import FrameRules
from am.kaldi.archives import read_matrix_at
from am.progress import track

log = logging.getLogger(__name__)

FEATURES_NAME = "feats.scp"
REJECTED_NAME = "rejected.tsv"


def import_features(
    kaldi_data: Path,
    data: Path,
    output: Path,
    final_output: Path,
    kind: str,
    rules: FrameRules,
    max_rejected_share: float = 0.05,
) -> None:
    """Copy Kaldi's features of the cuts of a data folder.

    Both lists are read side by side, so both must be sorted by the bytes of their ids, as Kaldi
    and we sort them.

    Args:
        kaldi_data: holds ``feats.scp``.
        data: a data folder with the same utterances.
        output: where to write.
        final_output: where ``output`` will lie in the end.
        kind: ``lfbe`` or ``mfcc``.
        rules: of the frames.
        max_rejected_share: stop when a larger share of the cuts has no features that fit.

    Raises:
        InputError: ``feats.scp`` is missing, not sorted or runs a command, a matrix is damaged or
            of another width, or too many cuts were rejected.
    """
    index = kaldi_data / FEATURES_NAME
    manifest = data / CUTS_NAME
    for path in (index, manifest):
        if not path.is_file():
            raise InputError(f"{path}: no such file; give Kaldi's data folder, then ours")
    kept = num_rejected = dimension = 0
    with (
        Float16FileWriter(output / "features") as storage,
        CutSet.open_writer(output / CUTS_NAME, overwrite=True) as done,
        (output / REJECTED_NAME).open("w", encoding="utf-8") as rejected,
    ):
        stored_in = final_output.resolve() / Path(storage.storage_path).name
        for cut, place in _joined(manifest, index):
            matrix = None if place is None else _with_edges(read_matrix_at(index, place), rules)
            problem = _problem(cut, matrix, rules)
            if matrix is None or problem:
                rejected.write(f"{cut.id}\t{problem}\n")
                num_rejected += 1
                continue
            dimension = dimension or matrix.shape[1]
            if matrix.shape[1] != dimension:
                raise InputError(
                    f"{index}: {cut.id}: {matrix.shape[1]} values a frame, those before it have "
                    f"{dimension}; give features of one kind"
                )
            cut.features = Features(
                type=f"kaldi-{kind}",
                num_frames=len(matrix),
                num_features=dimension,
                frame_shift=rules.frame_shift,
                sampling_rate=cut.sampling_rate,
                start=cut.start,
                duration=cut.duration,
                storage_type=storage.name,
                storage_path=str(stored_in),
                storage_key=storage.write(cut.id, matrix),
                recording_id=cut.recording_id,
                channels=cut.channel,
            )
            done.write(cut)
            kept += 1
    _judge(output, index, kept, num_rejected, max_rejected_share)
    description = {"kind": kind, "dimension": dimension, "frame_shift": rules.frame_shift}
    (output / SETTINGS_NAME).write_text(json.dumps({**description, "made_by": "Kaldi"}, indent=1))
    log.info("%s of %d cuts, %d rejected", kind, kept, num_rejected)


def _with_edges(matrix: np.ndarray, rules: FrameRules) -> np.ndarray:
    """The frames that ``--snip-edges=true`` left out, as copies of their neighbours."""
    if not rules.snip_edges or not len(matrix):
        return matrix
    return np.pad(matrix, ((1, 1), (0, 0)), mode="edge")


def _problem(cut: MonoCut, matrix: np.ndarray | None, rules: FrameRules) -> str | None:
    if matrix is None:
        return f"not in {FEATURES_NAME}"
    expected = compute_num_frames(cut.duration, rules.frame_shift, cut.sampling_rate)
    if len(matrix) != expected:
        return f"{len(matrix)} frames, its {cut.duration:g} s need {expected}"
    return None if np.isfinite(matrix).all() else "features that are no numbers"


def _judge(output: Path, index: Path, kept: int, num_rejected: int, max_share: float) -> None:
    if kept and num_rejected <= max_share * (kept + num_rejected):
        return
    lines = (output / REJECTED_NAME).read_text(encoding="utf-8").splitlines()
    first = f"; the first is {lines[0]}".replace("\t", ": ") if lines else ""
    raise InputError(
        f"{index}: {num_rejected} of {kept + num_rejected} cuts have no features that fit{first} "
        "(two frames too few: --snip-edges)"
    )


def _joined(manifest: Path, index: Path) -> Iterator[tuple[MonoCut, str | None]]:
    """Each cut with the place of its matrix, None where ``feats.scp`` has none."""
    rows = _rows(index)
    row = next(rows, None)
    previous = b""
    for cut in track(CutSet.from_jsonl_lazy(manifest), "features", unit="cut"):
        key = cut.id.encode()
        if key <= previous:
            raise InputError(f"{manifest}: {cut.id}: not sorted; run utils/make_cuts.py")
        previous = key
        while row is not None and row[0].encode() < key:
            row = next(rows, None)
        yield cut, row[1] if row is not None and row[0] == cut.id else None


def _rows(index: Path) -> Iterator[tuple[str, str]]:
    previous = b""
    with index.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            where = f"{index}:{number}"
            key, *rest = line.split(maxsplit=1)
            place = rest[0].strip() if rest else ""
            if not place:
                raise InputError(f"{where}: expected 'utterance archive:offset'; mend the line")
            if place.startswith("|") or place.endswith(("|", "]")):
                raise InputError(
                    f"{where}: '{key}' is a command or a range of rows; write the features to an "
                    "archive (copy-feats) and give its feats.scp"
                )
            if key.encode() <= previous:
                raise InputError(f"{where}: '{key}' is not sorted; run LC_ALL=C sort on the file")
            previous = key.encode()
            yield key, place
