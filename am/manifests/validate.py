"""What is wrong with a data folder or feature data folder that a step made."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut

from am.manifests.make_cuts import CUTS_NAME

# lhotse rounds times to this many seconds.
TIME_TOLERANCE = 1e-4


def problems_of_folder(folder: Path) -> Iterator[str]:
    """Check every cut of ``folder`` without changing anything.

    Audio is held against its header, not decoded (``utils/make_cuts.py`` decoded it); features
    are loaded.

    Yields:
        one line for each problem, naming the cut.
    """
    path = folder / CUTS_NAME
    if not path.is_file():
        yield f"{path}: no such file"
        return
    previous, first = "", None
    try:
        for cut in CutSet.from_jsonl_lazy(path):
            if first is None:
                first = cut
            if cut.id.encode() <= previous.encode():
                fault = "duplicate id" if cut.id == previous else f"not sorted after {previous}"
                yield f"{path}: {cut.id}: {fault}"
            previous = cut.id
            for problem in problems_of_cut(cut, first):
                yield f"{path}: {cut.id}: {problem}"
    except (OSError, EOFError, zlib.error, json.JSONDecodeError, ValueError, KeyError) as error:
        where = f"after cut {previous}" if previous else "from its start"
        yield f"{path}: unreadable {where}: {' '.join(str(error).split())}"
        return
    if first is None:
        yield f"{path}: holds no cuts"


def problems_of_cut(cut: MonoCut, first: MonoCut) -> Iterator[str]:
    """What is wrong with one cut; ``first`` is the folder's first, which the others must match."""
    if cut.recording is None:
        yield "no recording"
    else:
        yield from _recording_problems(cut)
        if cut.sampling_rate != first.sampling_rate:
            yield f"sampling rate {cut.sampling_rate}, the first cut's is {first.sampling_rate}"
    yield from _supervision_problems(cut, first)
    if cut.has_features != first.has_features:
        yield "the first cut has features and this one not, or the reverse"
    elif cut.has_features:
        yield from _feature_problems(cut, first)


def _recording_problems(cut: MonoCut) -> Iterator[str]:
    assert cut.recording is not None
    if cut.start < 0 or cut.end > cut.recording.duration + TIME_TOLERANCE:
        yield f"ends at {cut.end:.3f} s, its recording at {cut.recording.duration:.3f} s"
    for source in cut.recording.sources:
        if source.type != "file":
            continue
        header = _audio_header(source.source)
        stated = (cut.recording.sampling_rate, cut.recording.num_samples)
        if isinstance(header, str):
            yield header
        elif header != stated:
            yield (
                f"{source.source}: {header[1]} samples at {header[0]} Hz, "
                f"the cut says {stated[1]} at {stated[0]}"
            )


@lru_cache(maxsize=64)  # neighbouring cuts may share a recording
def _audio_header(path: str) -> tuple[int, int] | str:
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        return f"{path}: unreadable audio: {' '.join(str(error).split())}"
    return info.samplerate, info.frames


def _supervision_problems(cut: MonoCut, first: MonoCut) -> Iterator[str]:
    if len(cut.supervisions) != 1:
        yield f"{len(cut.supervisions)} supervisions, expected 1"
        return
    (supervision,) = cut.supervisions
    if supervision.id != cut.id:
        yield f"supervision {supervision.id} has another id than its cut"
    if not supervision.speaker:
        yield "no speaker"
    if supervision.start < -TIME_TOLERANCE or supervision.end > cut.duration + TIME_TOLERANCE:
        yield (
            f"supervision from {supervision.start:.3f} to {supervision.end:.3f} s, "
            f"the cut lasts {cut.duration:.3f} s"
        )
    if supervision.text is not None and not supervision.text.strip():
        yield "empty transcript"
    has_text = [bool(c.supervisions and c.supervisions[0].text is not None) for c in (cut, first)]
    if has_text[0] != has_text[1]:
        yield "the first cut has a transcript and this one not, or the reverse"


def _feature_problems(cut: MonoCut, first: MonoCut) -> Iterator[str]:
    for name in ("num_features", "frame_shift"):
        if getattr(cut, name) != getattr(first, name):
            yield f"{name} {getattr(cut, name)}, the first cut's is {getattr(first, name)}"
    try:
        features = cut.load_features()
    # Each storage backend raises its own errors for what is missing or cut off.
    except Exception as error:
        yield f"unreadable features: {type(error).__name__}: {' '.join(str(error).split())}"
        return
    expected = (cut.num_frames, cut.num_features)
    if features.shape != expected:
        yield f"features of shape {features.shape}, expected {expected}"
    elif not np.isfinite(features).all():
        yield "features that are not finite"
