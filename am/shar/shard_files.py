"""The files of one shard, as lhotse's own ``SharWriter`` would write them.

A cut is written once all of it could be read, so that an unreadable one leaves nothing behind; and
features may be of half precision.

Shapes: c channels, n samples, T frames at 10 ms, D values a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lhotse import MonoCut
from lhotse.array import Array
from lhotse.shar.utils import to_shar_placeholder
from lhotse.shar.writers import ArrayTarWriter, AudioTarWriter, JsonlShardWriter
from lhotse.utils import fastcopy

from am.nnet.data import load_features
from am.shar.index import CUTS_FIELD, FEATURES, RECORDING, file_name
from am.shar.labels import FRAME_SHIFT, SoftLabelForm

Content = Literal["features", "audio", "both"]


@dataclass(frozen=True)
class SharSettings:
    """What the shards hold.

    Attributes:
        shard_size: cuts in a shard, which a reader holds in memory as a whole.
        content: stored features, or audio from which they are computed when read, or both.
        audio_format: Opus is lossy; FLAC keeps audio of 16 bits as it is.
        precision: of stored features.
        soft_label_form: coded as in a store, or plain arrays for other readers, 5 times the size.
    """

    shard_size: int = 500
    content: Content = "features"
    audio_format: Literal["flac", "opus", "wav"] = "flac"
    precision: Literal["float16", "float32"] = "float16"
    soft_label_form: SoftLabelForm = "coded"

    @property
    def fields(self) -> tuple[str, ...]:
        """Of features and audio."""
        fields = {"features": (FEATURES,), "audio": (RECORDING,), "both": (FEATURES, RECORDING)}
        return fields[self.content]


@dataclass(frozen=True)
class CutData:
    """What is stored of a cut.

    Attributes:
        features: (T, D), or None.
        audio: (c, n) float32, or None.
        arrays: labels, field → array.
    """

    features: np.ndarray | None
    audio: np.ndarray | None
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def load(
        cls, cut: MonoCut, settings: SharSettings, arrays: Mapping[str, np.ndarray]
    ) -> CutData:
        """Read features and audio as the settings want them; raises whatever lhotse raises."""
        features = audio = None
        if FEATURES in settings.fields:
            features = load_features(cut).astype(settings.precision)
        if RECORDING in settings.fields:
            audio = cut.load_audio()
        return cls(features, audio, arrays)


class ShardFiles:
    """Writes one shard; a context manager.

    Args:
        folder: of all shards.
        number: of this one.
        settings: what it holds.
        label_fields: beside features and audio.
        label_frame_shift: in seconds, for the cuts with labels.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        settings: SharSettings,
        label_fields: tuple[str, ...],
        label_frame_shift: float | None,
    ):
        self.paths = {
            field: folder / file_name(field, number)
            for field in (CUTS_FIELD, *settings.fields, *label_fields)
        }
        self._label_frame_shift = label_frame_shift
        self._writers: dict[str, Any] = {}
        for field, path in self.paths.items():
            if field == CUTS_FIELD:
                self._writers[field] = JsonlShardWriter(str(path), shard_size=None)
            elif field == RECORDING:
                self._writers[field] = AudioTarWriter(
                    str(path), shard_size=None, format=settings.audio_format
                )
            else:
                self._writers[field] = ArrayTarWriter(str(path), shard_size=None)

    def __enter__(self) -> ShardFiles:
        self._stack = ExitStack()
        for writer in self._writers.values():
            self._stack.enter_context(writer)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def write(self, cut: MonoCut, data: CutData) -> None:
        """Append a cut; what is not stored of it is left out of its manifest too."""
        features = recording = None
        if data.features is not None:
            features = to_shar_placeholder(cut.features, cut)
            self._writers[FEATURES].write(cut.id, data.features, manifest=features)
        if data.audio is not None:
            recording = to_shar_placeholder(cut.recording, cut)
            recording.channel_ids = recording.sources[0].channels = [cut.channel]
            self._writers[RECORDING].write(
                cut.id, data.audio, cut.sampling_rate, manifest=recording
            )
        custom = dict(cut.custom or {})
        for field, array in data.arrays.items():
            custom[field] = Array("shar", "", "", list(array.shape))
            self._writers[field].write(cut.id, array, manifest=custom[field])
        if data.arrays:
            custom[FRAME_SHIFT] = self._label_frame_shift
        stored = fastcopy(
            cut, start=0, features=features, recording=recording, custom=custom or None
        )
        self._writers[CUTS_FIELD].write(stored)
