"""Features that are computed when they are read, from audio in memory.

A lhotse storage (``computed``): its path is the extractor's settings (JSON), a matrix's key is the
audio, encoded as in a file (FLAC, Opus, WAV).  So ``cut.load_features()`` works for cuts that
carry audio alone, and whichever process loads a cut computes its features.

Frames are counted as lhotse counts them, round(duration / shift), which is Kaldi's count without
``snip_edges`` as well.
"""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from lhotse import Features, MonoCut
from lhotse.features.io import FeaturesReader, register_reader
from lhotse.utils import compute_num_frames

from am import config
from am.features.extractors import SETTINGS_OF_KIND, LfbeSettings, make_extractor, shared_extractor

NAME = "computed"


@register_reader
class ComputedFeaturesReader(FeaturesReader):
    """Computes what :func:`computed_features` describes."""

    name = NAME

    def __init__(self, storage_path: str | Path, *args: Any, **kwargs: Any):
        self._settings = str(storage_path)

    def read(
        self, key: bytes, left_offset_frames: int = 0, right_offset_frames: int | None = None
    ) -> np.ndarray:
        """Frames ``left_offset_frames`` up to ``right_offset_frames``, (frames, dimension) float32.

        Raises:
            ValueError: the audio does not suit the settings.
        """
        samples, sampling_rate = _decoded(key)
        extractor = shared_extractor(_settings_of(self._settings))
        features = extractor.extract(samples, sampling_rate)
        return np.asarray(features[left_offset_frames:right_offset_frames])


def _decoded(audio: bytes) -> tuple[np.ndarray, int]:
    samples, sampling_rate = soundfile.read(io.BytesIO(audio), dtype="float32", always_2d=True)
    return samples.T, sampling_rate


@functools.lru_cache(maxsize=4)
def _settings_of(storage_path: str) -> LfbeSettings:
    values = json.loads(storage_path)
    kind = SETTINGS_OF_KIND[values.pop("kind")]
    return config.settings_from_mapping(kind, values, NAME)


def computed_settings(cut: MonoCut) -> LfbeSettings | None:
    """How the features of a cut are computed; None where they are stored."""
    if not cut.has_features or cut.features.storage_type != NAME:
        return None
    return _settings_of(cut.features.storage_path)


def audio_in_memory(cut: MonoCut) -> np.ndarray:
    """(n,) float32 audio of a cut whose features :func:`computed_features` describes.

    Raises:
        ValueError: it does not suit the features' settings.
    """
    extractor = shared_extractor(_settings_of(cut.features.storage_path))
    return np.asarray(extractor.checked(*_decoded(cut.features.storage_key)))


def num_frames_of(duration: float, settings: LfbeSettings) -> int:
    """Frames of so many seconds of audio."""
    return int(compute_num_frames(duration, settings.frame_shift, settings.sampling_rate))


def computed_features(cut: MonoCut, kind: str, settings: LfbeSettings) -> Features:
    """A manifest of the features of a cut whose recording is in memory.

    Args:
        cut: the whole of its recording.
        kind: ``lfbe`` or ``mfcc``.
        settings: of that kind.
    """
    extractor = make_extractor(settings)
    return Features(
        type=extractor.name,
        num_frames=num_frames_of(cut.duration, settings),
        num_features=extractor.feature_dim(settings.sampling_rate),
        frame_shift=settings.frame_shift,
        sampling_rate=settings.sampling_rate,
        start=0,
        duration=cut.duration,
        storage_type=NAME,
        storage_path=json.dumps({"kind": kind, **settings.to_dict()}),
        storage_key=cut.recording.sources[0].source,
        recording_id=cut.recording.id,
        channels=cut.channel,
    )
