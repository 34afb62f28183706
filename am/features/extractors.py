"""LFBE and MFCC as Kaldi defines them, as lhotse feature extractors.

kaldifeat computes them where it is installed, else kaldi-native-fbank; both are ports of Kaldi's
``feat/feature-fbank.cc`` and ``feat/feature-mfcc.cc`` and are given the same options here.

Samples lie in -1 … 1, not Kaldi's 16-bit range: the log energies' floor, log(1.2e-7), then sits at
the quantisation noise of 16-bit audio, and digital silence is no outlier.  A log energy is thus
20.8 lower than Kaldi's; cepstra differ in c0 alone.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import kaldi_native_fbank
import numpy as np
import torch
from lhotse.features.base import FeatureExtractor, register_extractor

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

    def to_dict(self) -> dict[str, Any]:
        """For lhotse, which stores an extractor's settings."""
        return dataclasses.asdict(self)


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


Compute = Callable[[np.ndarray], np.ndarray]


class _KaldiExtractor(FeatureExtractor):
    """What both kinds share; ``snip_edges`` is off, so frames = round(duration / shift)."""

    config: LfbeSettings

    def __init__(self, config: LfbeSettings | None = None):
        super().__init__(config)
        self._compute: Compute | None = None

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

    def extract(self, samples: np.ndarray | torch.Tensor, sampling_rate: int) -> np.ndarray:
        """Features of one channel.

        Args:
            samples: (n,) or (1, n), in -1 … 1.
            sampling_rate: must be the settings' one.

        Returns:
            (frames, dimension) float32.

        Raises:
            ValueError: another sampling rate, more than one channel, or a sample that is not
                finite.
        """
        if sampling_rate != self.config.sampling_rate:
            raise ValueError(
                f"audio at {sampling_rate} Hz where the settings say {self.config.sampling_rate} Hz"
            )
        samples = np.asarray(samples, dtype=np.float32)
        if samples.ndim == 2:
            if len(samples) != 1:
                raise ValueError(f"audio of {len(samples)} channels where 1 is expected")
            samples = samples[0]
        if not np.isfinite(samples).all():
            raise ValueError("audio with samples that are not finite")
        if self._compute is None:
            self._compute = self._make_compute()
        return self._compute(np.asarray(samples))

    def _make_compute(self) -> Compute:
        if importlib.util.find_spec("kaldifeat") is not None:
            return self._kaldifeat_compute()
        return self._native_compute()

    def _kaldifeat_compute(self) -> Compute:
        import kaldifeat

        options = self._library_options(kaldifeat)
        extractor_class = kaldifeat.Mfcc if hasattr(options, "num_ceps") else kaldifeat.Fbank
        extractor = extractor_class(options)
        return lambda samples: extractor(torch.from_numpy(samples)).numpy()

    def _native_compute(self) -> Compute:
        options = self._library_options(kaldi_native_fbank)
        is_mfcc = hasattr(options, "num_ceps")
        extractor_class = (
            kaldi_native_fbank.OnlineMfcc if is_mfcc else kaldi_native_fbank.OnlineFbank
        )
        dimension = self.feature_dim(self.config.sampling_rate)

        def compute(samples: np.ndarray) -> np.ndarray:
            extractor = extractor_class(options)
            extractor.accept_waveform(self.config.sampling_rate, samples)
            extractor.input_finished()
            features = np.empty((extractor.num_frames_ready, dimension), dtype=np.float32)
            for frame in range(len(features)):  # the library hands frames out singly
                features[frame] = extractor.get_frame(frame)
            return features

        return compute

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_compute": None}


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


def make_extractor(settings: LfbeSettings) -> FeatureExtractor:
    """The extractor that ``settings`` describe."""
    return (
        MfccExtractor(settings) if isinstance(settings, MfccSettings) else LfbeExtractor(settings)
    )
