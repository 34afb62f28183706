"""Training on augmented audio: other speeds, rooms and recorded noise.

Where noise and warps on stored features are too tame, cuts are read as audio, changed, and their
features computed on the fly, new in every pass.  What a cut becomes depends on the pass's seed and
the cut alone, not on its batch or on the process that loads it.

Speed (Ko et al., "Audio augmentation for speech recognition", Interspeech 2015) is lhotse's
resampling; it changes the number of frames, and labels are carried over to the new ones.  Rooms are
those of the embedded corpus, since lhotse's generator of impulse responses needs torchaudio.

Shapes: n samples, T frames at 10 ms, T' at 30 ms, D values a frame.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut
from lhotse.augmentation import Speed

from am.errors import InputError
from am.features.computed import num_frames_of
from am.features.extractors import shared_extractor
from am.features.feature_data import CUTS_NAME, extractor_settings, one_line_reason
from am.features.low_frame_rate import STACKED_FRAMES, num_low_rate_frames

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AudioAugmentationSettings:
    """What is done to the audio of training data; nothing by default.

    Attributes:
        speed_factors: one is drawn for a cut in each pass; 1.1 is faster and higher.
        room_probability: share of cuts that are reverberated.
        rooms: impulse responses, made when training starts, of which one is drawn.
        reverberation_seconds: shortest and longest time in which a room's sound falls by 60 dB.
        noise_probability: share of cuts that get noise.
        noises: a folder with ``cuts.jsonl.gz`` of noise recordings, at the data's sampling rate.
        lowest_snr_db, highest_snr_db: signal-to-noise ratios, drawn evenly.
        seed: of the rooms.
    """

    speed_factors: tuple[float, ...] = ()
    room_probability: float = 0.0
    rooms: int = 100
    reverberation_seconds: tuple[float, float] = (0.2, 0.7)
    noise_probability: float = 0.0
    noises: Path | None = None
    lowest_snr_db: float = 0.0
    highest_snr_db: float = 25.0
    seed: int = 1

    def __post_init__(self) -> None:
        if any(not 0.5 <= factor <= 2.0 for factor in self.speed_factors):
            raise InputError("audio: speed_factors must be in 0.5 … 2")
        if not (0.0 <= self.room_probability <= 1.0 and 0.0 <= self.noise_probability <= 1.0):
            raise InputError("audio: room_probability and noise_probability must be in 0 … 1")
        if (
            self.rooms < 1
            or not 0.0 < self.reverberation_seconds[0] <= (self.reverberation_seconds[1])
        ):
            raise InputError("audio: rooms must be at least 1, reverberation_seconds rise from 0")
        if self.lowest_snr_db > self.highest_snr_db:
            raise InputError("audio: lowest_snr_db must not exceed highest_snr_db")
        if self.noise_probability > 0.0 and self.noises is None:
            raise InputError("audio: noise_probability needs noises, a folder of noise cuts")

    @property
    def is_on(self) -> bool:
        """Whether any audio is changed."""
        return bool(self.speed_factors) or self.room_probability + self.noise_probability > 0.0


class AudioAugmenter:
    """Changed audio of cuts, for features like those stored in a feature data folder.

    Args:
        data: the feature data folder.
        settings: what is changed.

    Attributes:
        settings: as given.
        features: the settings that the data's features are computed with.

    Raises:
        InputError: the features' settings are unknown, no noises, or rooms at another sampling
            rate than the room generator's.
    """

    def __init__(self, data: Path, settings: AudioAugmentationSettings):
        self.settings = settings
        self.features = extractor_settings(data)
        self._sampling_rate = self.features.sampling_rate
        self._noises = _noise_cuts(settings)
        self._rooms = self._make_rooms(data) if settings.room_probability > 0.0 else []

    def audio(self, cut: MonoCut, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Audio of a cut in a pass, and which labels belong to its features.

        Args:
            cut: has a recording, and stored features that tell its number of frames.
            seed: of the pass.

        Returns:
            (n,) float32, and (T',) int64: the stored label of each new frame at 30 ms.

        Raises:
            InputError: unreadable audio, or audio that does not belong to the stored features.
        """
        try:
            samples, factor = self.augmented(cut, seed)
            samples = shared_extractor(self.features).checked(samples, self._sampling_rate)
        except InputError:
            raise
        except Exception as error:  # audio libraries raise whatever they like
            raise InputError(f"audio: cut {cut.id}: {one_line_reason(error)}") from error
        num_frames = num_frames_of(len(samples) / self._sampling_rate, self.features)
        if factor == 1.0 and num_frames != cut.num_frames:
            raise InputError(
                f"audio: cut {cut.id}: its audio gives {num_frames} frames, its stored features "
                f"have {cut.num_frames}; make the features again"
            )
        return samples, labels_at_speed(int(cut.num_frames), num_frames, factor)

    def augmented(self, cut: MonoCut, seed: int) -> tuple[np.ndarray, float]:
        """(n,) float32 samples of a cut in a pass, and the factor of its speed."""
        from am.corpus.acoustics import add_noise, reverberate  # room acoustics load slowly

        settings = self.settings
        generator = np.random.default_rng([seed, zlib.crc32(cut.id.encode())])
        has_room, has_noise = generator.random(2) < (
            settings.room_probability,
            settings.noise_probability,
        )
        samples = _mono(cut, self._sampling_rate)
        factor = float(generator.choice(settings.speed_factors)) if settings.speed_factors else 1.0
        if factor != 1.0:
            samples = np.asarray(Speed(factor)(samples[None], self._sampling_rate))[0]
        if not samples.any():
            return samples, factor
        if has_room:
            samples = reverberate(samples, self._rooms[generator.integers(len(self._rooms))])
        if has_noise:
            noise = self._some_noise(generator, len(samples))
            snr_db = generator.uniform(settings.lowest_snr_db, settings.highest_snr_db)
            samples = add_noise(samples, noise, snr_db) if noise.any() else samples
        return samples, factor

    def _some_noise(self, generator: np.random.Generator, length: int) -> np.ndarray:
        """(length,) of a random noise from a random time, repeated where it is too short."""
        cut = self._noises[generator.integers(len(self._noises))]
        seconds = length / self._sampling_rate
        start = generator.uniform(0.0, max(cut.duration - seconds, 0.0))
        if cut.duration > seconds:
            cut = cut.truncate(offset=start, duration=seconds)
        return np.resize(_mono(cut, self._sampling_rate), length)

    def _make_rooms(self, data: Path) -> list[np.ndarray]:
        from am.corpus.acoustics import SAMPLING_RATE, random_room

        if self._sampling_rate != SAMPLING_RATE:
            raise InputError(
                f"{data}: audio at {self._sampling_rate} Hz, but rooms are made at {SAMPLING_RATE} "
                "Hz; set audio.room_probability to 0"
            )
        generator = np.random.default_rng(self.settings.seed)
        count, seconds = self.settings.rooms, self.settings.reverberation_seconds
        log.info("making %d rooms", count)
        return [random_room(generator, seconds) for _ in range(count)]


def audio_augmenter(data: Path, settings: AudioAugmentationSettings) -> AudioAugmenter | None:
    """The augmenter of a feature data folder, None where the settings change nothing."""
    return AudioAugmenter(data, settings) if settings.is_on else None


def labels_at_speed(num_frames: int, new_frames: int, factor: float) -> np.ndarray:
    """Which 30 ms label belongs to each 30 ms frame of audio that was made faster.

    A label stands for its middle 10 ms frame: that of new label i is 3i + 1, which was frame
    (3i + 1) × factor before; label j with the nearest middle 3j + 1 is taken.

    Args:
        num_frames: T before.
        new_frames: T now.
        factor: of the speed.

    Returns:
        (T',) int64, T' of the new frames.
    """
    middle = STACKED_FRAMES * np.arange(num_low_rate_frames(new_frames)) + 1
    nearest = np.rint((middle * factor - 1) / STACKED_FRAMES).astype(np.int64)
    return nearest.clip(0, num_low_rate_frames(num_frames) - 1)


def _noise_cuts(settings: AudioAugmentationSettings) -> list[MonoCut]:
    if settings.noises is None or settings.noise_probability == 0.0:
        return []
    path = settings.noises / CUTS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; give audio.noises a folder of utils/make_cuts.py")
    cuts = list(CutSet.from_jsonl_lazy(path))
    if not cuts:
        raise InputError(f"{path}: holds no cuts; give at least one noise")
    return cuts


def _mono(cut: MonoCut, sampling_rate: int) -> np.ndarray:
    if not cut.has_recording:
        raise InputError(f"audio: cut {cut.id}: has no recording; give cuts with audio")
    if cut.sampling_rate != sampling_rate:
        raise InputError(
            f"audio: cut {cut.id}: {cut.sampling_rate} Hz where the features say {sampling_rate} Hz"
        )
    samples = cut.load_audio()
    if len(samples) != 1:
        raise InputError(f"audio: cut {cut.id}: {len(samples)} channels; give cuts of one")
    return np.asarray(samples[0], dtype=np.float32)
