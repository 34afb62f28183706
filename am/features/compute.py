"""LFBE or MFCC of a whole data folder, in parts (:mod:`am.features.feature_parts`).

Within a part, minutes of audio are computed at once, on a GPU where there is one and kaldifeat is
the engine.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from lhotse import MonoCut
from lhotse.features.base import FeatureExtractor
from lhotse.features.io import available_storage_backends

from am.errors import InputError
from am.executors import Executor
from am.features.computed import num_frames_of
from am.features.engines import CPU, pick_engine
from am.features.extractors import SETTINGS_OF_KIND, LfbeSettings, make_extractor
from am.features.feature_data import one_line_reason, write_feature_settings
from am.features.feature_parts import make_features_in_parts
from am.nnet.device import pick_device
from am.processes import ONE_PROCESS

log = logging.getLogger(__name__)

SECONDS_A_BATCH = 300.0


def compute_features(
    data: Path,
    output: Path,
    final_output: Path,
    kind: str,
    settings: LfbeSettings,
    executor: Executor = ONE_PROCESS,
    max_rejected_share: float = 0.05,
    device: str = "auto",
) -> None:
    """Compute the features of every cut of ``data/cuts.jsonl.gz``.

    Args:
        data: a data folder.
        output: where to write: the cuts with features, their storage and ``rejected.tsv``.
        final_output: where ``output`` will lie in the end; the manifest's paths point there.
        kind: ``lfbe`` or ``mfcc``.
        settings: of that kind.
        executor: what computes.
        max_rejected_share: stop when a larger share of the cuts cannot be computed.
        device: auto, cpu, cuda or cuda:N, for an engine that can choose.

    Raises:
        InputError: no cuts, an unknown storage, an engine that cannot be used, too many rejected
            cuts, or parts that failed.
    """
    assert isinstance(settings, SETTINGS_OF_KIND[kind])
    if settings.storage_type not in available_storage_backends():
        raise InputError(
            f"storage_type: lhotse has no storage '{settings.storage_type}' here; choose one of "
            f"{', '.join(available_storage_backends())}, or install what it needs"
        )
    place = pick_device(device)
    engine = pick_engine(settings.engine)
    place = place if engine == "kaldifeat" else CPU
    log.info("%s on %s", engine, place)
    make_features_in_parts(
        data,
        output,
        final_output,
        partial(_AudioFeatures.make, settings, place),
        executor,
        max_rejected_share,
        share_state=place.type == "cpu",
    )
    write_feature_settings(
        output, kind, make_extractor(settings).feature_dim(settings.sampling_rate), settings
    )


@dataclass(frozen=True)
class _AudioFeatures:
    """Computed of audio, minutes of it at once."""

    settings: LfbeSettings
    extractor: FeatureExtractor

    @classmethod
    def make(cls, settings: LfbeSettings, device: torch.device) -> _AudioFeatures:
        return cls(settings, make_extractor(settings, device))

    @property
    def name(self) -> str:
        return str(self.extractor.name)

    @property
    def storage_type(self) -> str:
        return self.settings.storage_type

    @property
    def frame_shift(self) -> float:
        return self.settings.frame_shift

    def features_of(
        self, cuts: Iterable[MonoCut], rejected: TextIO
    ) -> Iterator[tuple[MonoCut, np.ndarray]]:
        batch: list[tuple[MonoCut, np.ndarray]] = []
        seconds = 0.0
        for cut in cuts:
            try:
                samples = _samples_of(cut, self.extractor)
            except Exception as error:  # whatever a decoder raises is a reason to reject it
                rejected.write(f"{cut.id}\t{one_line_reason(error)}\n")
                continue
            batch.append((cut, samples))
            seconds += cut.duration
            if seconds >= SECONDS_A_BATCH:
                yield from _computed(batch, self.extractor)
                batch, seconds = [], 0.0
        yield from _computed(batch, self.extractor)


def _samples_of(cut: MonoCut, extractor: FeatureExtractor) -> np.ndarray:
    samples = extractor.checked(cut.load_audio(), cut.sampling_rate)
    if num_frames_of(len(samples) / cut.sampling_rate, extractor.config) == 0:
        raise ValueError(f"audio of {cut.duration:.3f} s gives no frame")
    return np.asarray(samples)


def _computed(
    batch: Sequence[tuple[MonoCut, np.ndarray]], extractor: FeatureExtractor
) -> Iterator[tuple[MonoCut, np.ndarray]]:
    features = extractor.compute([torch.from_numpy(samples) for _, samples in batch])
    for (cut, _), frames in zip(batch, features, strict=True):
        yield cut, frames.numpy(force=True)
