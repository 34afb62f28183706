"""The libraries that compute features: kaldi-native-fbank, and kaldifeat where it is installed.

Both are ports of Kaldi's ``feat/feature-fbank.cc`` and ``feat/feature-mfcc.cc``; given the same
options they agree within about 1e-3 (docs/engines.md).  kaldifeat computes all frames of many
utterances at once with torch, on a GPU too.

Shapes: n samples, T frames, D values a frame.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, Literal, Protocol

import kaldi_native_fbank
import numpy as np
import torch
from torch import Tensor

from am.errors import InputError

log = logging.getLogger(__name__)

EngineName = Literal["kaldifeat", "kaldi_native_fbank"]
EngineSetting = Literal["auto", "kaldifeat", "kaldi_native_fbank"]
CPU = torch.device("cpu")
# Frames of this many samples at a time stay in a CPU's cache.
CPU_SAMPLES = 160_000
OptionsOf = Callable[[ModuleType], Any]


class Engine(Protocol):
    """Computes the features of utterances."""

    def compute(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """(T, D) float32 of each (n,) float32, on the engine's device."""


@functools.cache
def kaldifeat_problem() -> str | None:
    """Why kaldifeat cannot be used here, in one line; None where it can."""
    if importlib.util.find_spec("kaldifeat") is None:
        return "kaldifeat is not installed; run utils/install_kaldifeat.sh"
    try:
        import kaldifeat  # noqa: F401
    except Exception as error:  # one built for another torch fails in many ways
        return f"kaldifeat: {' '.join(str(error).split())}; run utils/install_kaldifeat.sh"
    return None


def pick_engine(setting: EngineSetting) -> EngineName:
    """The engine that a setting stands for.

    Args:
        setting: ``auto`` is kaldifeat where it can be used, else kaldi-native-fbank.

    Raises:
        InputError: kaldifeat is asked for and cannot be used.
    """
    if setting == "kaldi_native_fbank":
        return "kaldi_native_fbank"
    problem = kaldifeat_problem()
    if problem is None:
        return "kaldifeat"
    if setting == "kaldifeat":
        raise InputError(f"engine: {problem}, or set engine to auto")
    if importlib.util.find_spec("kaldifeat") is not None:
        _warn_once(problem)
    return "kaldi_native_fbank"


@functools.cache
def _warn_once(problem: str) -> None:
    log.warning("%s; until then kaldi-native-fbank computes features", problem)


def make_engine(
    setting: EngineSetting, options_of: OptionsOf, sampling_rate: int, device: torch.device = CPU
) -> Engine:
    """The engine that a setting stands for, ready to compute.

    Args:
        setting: see :func:`pick_engine`.
        options_of: makes a library's ``FbankOptions`` or ``MfccOptions``.
        sampling_rate: in Hz.
        device: where to compute, if the engine can.
    """
    if pick_engine(setting) == "kaldifeat":
        return Kaldifeat(options_of, device)
    return KaldiNativeFbank(options_of, sampling_rate)


class KaldiNativeFbank:
    """One utterance after the other, on the CPU."""

    def __init__(self, options_of: OptionsOf, sampling_rate: int):
        self._options = options_of(kaldi_native_fbank)
        self._sampling_rate = sampling_rate
        is_mfcc = hasattr(self._options, "num_ceps")
        self._dimension = self._options.num_ceps if is_mfcc else self._options.mel_opts.num_bins
        self._extractor_class = (
            kaldi_native_fbank.OnlineMfcc if is_mfcc else kaldi_native_fbank.OnlineFbank
        )

    def compute(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """See :meth:`Engine.compute`."""
        return [torch.from_numpy(self._features(wave.numpy(force=True))) for wave in waves]

    def _features(self, wave: np.ndarray) -> np.ndarray:
        extractor = self._extractor_class(self._options)
        extractor.accept_waveform(self._sampling_rate, wave)
        extractor.input_finished()
        features = np.empty((extractor.num_frames_ready, self._dimension), dtype=np.float32)
        for frame in range(len(features)):  # the library hands frames out singly
            features[frame] = extractor.get_frame(frame)
        return features


class Kaldifeat:
    """Many utterances at once, on a CPU or GPU."""

    def __init__(self, options_of: OptionsOf, device: torch.device = CPU):
        import kaldifeat

        options = options_of(kaldifeat)
        options.device = device
        is_mfcc = hasattr(options, "num_ceps")
        self._extractor = (kaldifeat.Mfcc if is_mfcc else kaldifeat.Fbank)(options)
        self._device = device
        frame = options.frame_opts
        self._short = KaldiNativeFbank(options_of, int(frame.samp_freq))
        self._min_samples = round(frame.samp_freq * frame.frame_length_ms / 1000.0)

    def compute(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """See :meth:`Engine.compute`."""
        features: list[Tensor] = [torch.empty(0)] * len(waves)
        long_enough = []
        for index, wave in enumerate(waves):
            # kaldifeat mirrors an utterance at its ends once, so it must fill a window.
            if len(wave) < self._min_samples:
                features[index] = self._short.compute([wave])[0].to(self._device)
            else:
                long_enough.append(index)
        for group in self._groups(long_enough, waves):
            tensors = [waves[index].to(self._device, non_blocking=True) for index in group]
            for index, matrix in zip(group, self._extractor(tensors), strict=True):
                features[index] = matrix
        return features

    def _groups(self, indices: Sequence[int], waves: Sequence[Tensor]) -> Iterator[list[int]]:
        """Utterances that are computed together: on a GPU all, on a CPU those the cache holds."""
        limit = CPU_SAMPLES if self._device.type == "cpu" else sum(map(len, waves))
        group: list[int] = []
        samples = 0
        for index in indices:
            if group and samples + len(waves[index]) > limit:
                yield group
                group, samples = [], 0
            group.append(index)
            samples += len(waves[index])
        if group:
            yield group
