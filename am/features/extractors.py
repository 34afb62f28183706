"""LFBE and MFCC as Kaldi defines them, as lhotse feature extractors.

What computes them is an engine (:mod:`am.features.engines`), which is given the same options
whichever it is.

Samples lie in -1 … 1, not Kaldi's 16-bit range: the log energies' floor, log(1.2e-7), then sits at
the quantisation noise of 16-bit audio, and digital silence is no outlier.  A log energy is thus
20.8 lower than Kaldi's; cepstra differ in c0 alone.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from lhotse.features.base import FeatureExtractor, register_extractor
from torch import Tensor

from am.features.engines import CPU, Engine, EngineSetting, make_engine

FeatureKind = Literal["lfbe", "mfcc"]
ENERGY_FLOOR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class LfbeSettings:
    """Log mel filter-bank energies (natural log of power).

    Attributes:
        sampling_rate: of the audio, in Hz; audio of another rate is an error.
        frame_length, frame_shift: in seconds.
        num_mel_bins: the dimension.
        low_frequency: lowest edge of the filters, in Hz.
        high_frequency: highest edge, in Hz; 0 or below counts from the Nyquist frequency.
        preemphasis: coefficient of the high-pass filter.
        window_type: a window of Kaldi's, e.g. povey, hamming, hanning.
        storage_type: lhotse's name of the storage, e.g. ``float16_file`` or ``lilcom_chunky``.
        engine: what computes them, see :func:`am.features.engines.pick_engine`.
    """

    sampling_rate: int = 16000
    frame_length: float = 0.025
    frame_shift: float = 0.01
    num_mel_bins: int = 64
    low_frequency: float = 20.0
    high_frequency: float = -400.0
    preemphasis: float = 0.97
    window_type: str = "povey"
    storage_type: str = "float16_file"
    engine: EngineSetting = "auto"

    def to_dict(self) -> dict[str, Any]:
        """What the features are; an engine that is left open is no part of that."""
        values = dataclasses.asdict(self)
        if self.engine == "auto":
            del values["engine"]
        return values


@dataclass(frozen=True)
class MfccSettings(LfbeSettings):
    """Mel-frequency cepstra, c0 first; the defaults are Kaldi's, without its dither.

    Attributes:
        num_cepstra: the dimension.
        cepstral_lifter: scales the higher cepstra up; 0 does not.
    """

    num_mel_bins: int = 23
    high_frequency: float = 0.0
    num_cepstra: int = 13
    cepstral_lifter: float = 22.0


class _KaldiExtractor(FeatureExtractor):
    """What both kinds share; ``snip_edges`` is off, so frames = round(duration / shift)."""

    config: LfbeSettings

    def __init__(self, config: LfbeSettings | None = None, device: torch.device = CPU):
        super().__init__(config)
        self._device = device
        self._engine: Engine | None = None

    def _library_options(self, library: Any) -> Any:
        """The options object of kaldifeat or kaldi-native-fbank."""
        raise NotImplementedError

    def _set_shared_options(self, options: Any) -> None:
        config = self.config
        frame = options.frame_opts
        frame.samp_freq = config.sampling_rate
        frame.frame_length_ms = config.frame_length * 1000.0
        frame.frame_shift_ms = config.frame_shift * 1000.0
        frame.dither = 0.0
        frame.preemph_coeff = config.preemphasis
        frame.window_type = config.window_type
        frame.snip_edges = False
        options.mel_opts.num_bins = config.num_mel_bins
        options.mel_opts.low_freq = config.low_frequency
        options.mel_opts.high_freq = config.high_frequency
        options.use_energy = False

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame to the next."""
        return self.config.frame_shift

    def feature_dim(self, sampling_rate: int) -> int:
        """Values a frame."""
        raise NotImplementedError

    def extract(self, samples: np.ndarray | Tensor, sampling_rate: int) -> np.ndarray:
        """Features of one channel.

        Args:
            samples: (n,) or (1, n), in -1 … 1.
            sampling_rate: must be the settings' one.

        Returns:
            (frames, dimension) float32.

        Raises:
            ValueError: another sampling rate, more than one channel, or a sample that is not
                finite.
            InputError: the settings' engine cannot be used here.
        """
        return self.extract_batch([samples], sampling_rate)[0].numpy(force=True)

    def extract_batch(
        self,
        samples: Sequence[np.ndarray | Tensor],
        sampling_rate: int,
        lengths: object = None,
    ) -> list[Tensor]:
        """Features of several utterances, computed together where the engine can.

        Args:
            samples: of each, as in :meth:`extract`.
            sampling_rate: of all.
            lengths: lhotse's, for padded samples; must be None.

        Returns:
            (frames, dimension) float32 of each, on the engine's device.

        Raises:
            ValueError, InputError: as in :meth:`extract`.
        """
        if lengths is not None:
            raise ValueError("padded samples are not supported; give each utterance by itself")
        return self.compute([torch.from_numpy(self.checked(one, sampling_rate)) for one in samples])

    def compute(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """The same of samples that went through :meth:`checked`."""
        if self._engine is None:
            self._engine = make_engine(
                self.config.engine, self._library_options, self.config.sampling_rate, self._device
            )
        return self._engine.compute(waves)

    def checked(self, samples: np.ndarray | Tensor, sampling_rate: int) -> np.ndarray:
        """(n,) float32 of samples that features can be computed of; else a ValueError."""
        if sampling_rate != self.config.sampling_rate:
            raise ValueError(
                f"audio at {sampling_rate} Hz where the settings say {self.config.sampling_rate} Hz"
            )
        wave = np.asarray(samples, dtype=np.float32)
        if wave.ndim == 2:
            if len(wave) != 1:
                raise ValueError(f"audio of {len(wave)} channels where 1 is expected")
            wave = wave[0]
        if not np.isfinite(wave).all():
            raise ValueError("audio with samples that are not finite")
        return np.ascontiguousarray(wave)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}


@register_extractor
class LfbeExtractor(_KaldiExtractor):
    """64 log mel filter-bank energies every 10 ms, or as :class:`LfbeSettings` says."""

    name = "megahour-lfbe"
    config_type = LfbeSettings

    def feature_dim(self, sampling_rate: int) -> int:
        """Values a frame."""
        return self.config.num_mel_bins

    def _library_options(self, library: Any) -> Any:
        options = library.FbankOptions()
        self._set_shared_options(options)
        options.use_log_fbank = True
        options.use_power = True
        return options


@register_extractor
class MfccExtractor(_KaldiExtractor):
    """13 mel-frequency cepstra every 10 ms, or as :class:`MfccSettings` says."""

    name = "megahour-mfcc"
    config_type = MfccSettings
    config: MfccSettings

    def feature_dim(self, sampling_rate: int) -> int:
        """Values a frame."""
        return self.config.num_cepstra

    def _library_options(self, library: Any) -> Any:
        options = library.MfccOptions()
        self._set_shared_options(options)
        options.num_ceps = self.config.num_cepstra
        options.cepstral_lifter = self.config.cepstral_lifter
        return options


SETTINGS_OF_KIND: dict[str, type[LfbeSettings]] = {"lfbe": LfbeSettings, "mfcc": MfccSettings}


def make_extractor(settings: LfbeSettings, device: torch.device = CPU) -> FeatureExtractor:
    """The extractor that ``settings`` describe; it computes on ``device`` if its engine can."""
    kind = MfccExtractor if isinstance(settings, MfccSettings) else LfbeExtractor
    return kind(settings, device)


@functools.lru_cache(maxsize=8)
def shared_extractor(settings: LfbeSettings, device: torch.device = CPU) -> FeatureExtractor:
    """:func:`make_extractor`, once a process."""
    return make_extractor(settings, device)
