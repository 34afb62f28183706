"""Reading audio once, to learn whether it can be used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soundfile

BLOCK_FRAMES = 1 << 20


@dataclass(frozen=True)
class AudioFacts:
    """What a recording is: its rate in Hz and its length in samples."""

    sampling_rate: int
    num_samples: int


@dataclass(frozen=True)
class Fault:
    """Why an item cannot be used: a fixed reason, and what was found."""

    reason: str
    detail: str


def check_audio(
    path: str, sampling_rate: int, start: float, end: float | None
) -> AudioFacts | Fault:
    """Read the part of a recording that an utterance uses.

    Ogg/Opus is decoded at the rate its header names, as lhotse does; libsndfile's other reader
    conventions (48 kHz) never show here.

    Args:
        sampling_rate: Hz that the recording must have.
        start, end: seconds; end None: to the end.
    """
    try:
        with soundfile.SoundFile(path) as audio:
            facts = AudioFacts(audio.samplerate, audio.frames)
            if audio.samplerate != sampling_rate:
                return Fault(
                    "wrong sampling rate", f"{path}: {audio.samplerate} Hz, not {sampling_rate}"
                )
            if audio.channels != 1:
                return Fault("not mono", f"{path}: {audio.channels} channels")
            if audio.frames == 0:
                return Fault("empty audio", f"{path}: no samples")
            first = round(start * sampling_rate)
            last = audio.frames if end is None else round(end * sampling_rate)
            if last > audio.frames or first >= audio.frames:
                return Fault(
                    "past its recording",
                    f"{path}: lasts {audio.frames / sampling_rate:.3f} s, "
                    f"the utterance {start:.3f} to {last / sampling_rate:.3f} s",
                )
            return _check_samples(audio, path, first, last) or facts
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        return Fault("unreadable audio", f"{path}: {' '.join(str(error).split())}")


def _check_samples(audio: soundfile.SoundFile, path: str, first: int, last: int) -> Fault | None:
    """Decode samples ``first`` to ``last`` (exclusive) in blocks."""
    audio.seek(first)
    missing, low, high = last - first, np.inf, -np.inf
    while missing > 0:
        block = audio.read(min(missing, BLOCK_FRAMES), dtype="float32")
        if len(block) == 0:
            return Fault("unreadable audio", f"{path}: the header promises {missing} samples more")
        if not np.isfinite(block).all():
            return Fault("unreadable audio", f"{path}: holds samples that are no numbers")
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        missing -= len(block)
    if low == high:
        return Fault("silent audio", f"{path}: every sample is {low:g}")
    return None
