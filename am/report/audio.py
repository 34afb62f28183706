"""Speech inside a page: small files as data URLs."""

from __future__ import annotations

import base64
import io

import numpy as np
import soundfile
from lhotse.cut import Cut
from scipy.signal import resample_poly

SAMPLING_RATE = 16_000


def audio_url(cut: Cut) -> str:
    """A cut's speech, mono at 16 kHz, as a data URL: Ogg Opus, or FLAC where it is not at hand.

    Raises:
        Exception: whatever lhotse raises for a recording that it cannot read.
    """
    samples = cut.load_audio().mean(axis=0)
    if cut.sampling_rate != SAMPLING_RATE:
        samples = resample_poly(samples, SAMPLING_RATE, int(cut.sampling_rate))
    kind, content = encode(np.clip(samples, -1.0, 1.0).astype(np.float32))
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def encode(samples: np.ndarray) -> tuple[str, bytes]:
    """Media type and file of (N,) float32 samples, −1 … 1, at 16 kHz."""
    stream = io.BytesIO()
    if "OPUS" in soundfile.available_subtypes("OGG"):
        soundfile.write(stream, samples, SAMPLING_RATE, format="OGG", subtype="OPUS")
        return "audio/ogg", stream.getvalue()
    soundfile.write(stream, samples, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return "audio/flac", stream.getvalue()
