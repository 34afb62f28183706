"""fMLLR of all speakers of a data folder, a group of speakers at a time.

Shapes: T frames of an utterance, D values of a frame, P pdfs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from am.executors import Executor
from am.features.feature_data import open_feature_data
from am.features.gmm_features import GmmFeatures, speaker_of
from am.features.gmm_front_end import GmmFrontEnd
from am.features.speaker_transforms import SpeakerTransform, SpeakerTransforms
from am.gmm.fmllr import FmllrStatistics, estimate_fmllr
from am.gmm.model import DiagonalGmms, GmmTables
from am.gmm.model_folder import GmmHmm
from am.gmm.parts import Arrays
from am.gmm.statistics import frame_precisions
from am.gmm.training_data import TrainingData
from am.processes import map_chunks
from am.progress import track

log = logging.getLogger(__name__)

# Statistics of a speaker are half a megabyte at 40 values a frame; so many are held at once.
SPEAKERS_A_GROUP = 128
# Frames whose posteriors are computed together.
BATCH_FRAMES = 1 << 14
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class FmllrSettings:
    """How the transform of a speaker is estimated.

    Attributes:
        min_frames: a speaker with fewer (sum of their weights) keeps the identity.
        silence_weight: what a frame of a silence phone counts beside one of speech.
    """

    min_frames: float = 500.0
    silence_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.min_frames < 0:
            raise ValueError(f"min_frames must not be below 0, not {self.min_frames}")
        if not 0 <= self.silence_weight <= 1:
            raise ValueError(f"silence_weight must lie in 0 … 1, not {self.silence_weight}")


@dataclass(frozen=True)
class AlignedUtterance:
    """Model input (T, D) of an utterance of ``speaker``, and the (T,) pdf-ids of its frames."""

    speaker: str
    frames: np.ndarray
    pdf_ids: np.ndarray


# The aligned utterances of some speakers, in any order.
UtterancesOf = Callable[[Collection[str]], Iterable[AlignedUtterance]]


def estimate_transforms(
    model: Path,
    speakers: Iterable[str],
    utterances_of: UtterancesOf,
    silence_phones: Collection[int],
    settings: FmllrSettings,
    executor: Executor,
    device: torch.device,
    posteriors_of: Path | None = None,
) -> SpeakerTransforms:
    """The transforms under which the model likes each speaker's frames best.

    Memory holds the statistics of ``SPEAKERS_A_GROUP`` speakers, for each of which the utterances
    are asked for once.

    Args:
        model: GMM folder, whose Gaussians the frames are brought near to; the workers read it.
        speakers: all of the data; each gets a transform.
        utterances_of: called with the speakers of a group.
        silence_phones: phone-ids that are not speech.
        settings: see :class:`FmllrSettings`.
        executor: what gathers statistics; the transforms do not depend on it.
        device: where tensors live.
        posteriors_of: GMM folder with the model's Gaussians under other features, which are to
            weigh the frames as they are; the model's own where left out.
    """
    features = GmmFeatures.load(model)
    make_state = partial(
        _Accumulator.load, model, tuple(silence_phones), settings, device, posteriors_of
    )
    distinct = list(dict.fromkeys(speakers))
    found: dict[str, SpeakerTransform] = {}
    for first in range(0, len(distinct), SPEAKERS_A_GROUP):
        group = distinct[first : first + SPEAKERS_A_GROUP]
        statistics = {speaker: FmllrStatistics(features.dim, _CPU) for speaker in group}
        for part in map_chunks(
            _gather,
            make_state,
            _batches(utterances_of(frozenset(group))),
            executor,
            chunk_size=1,
            device=device,
            at_most=None if device.type == "cpu" else 1,
            in_threads=True,
        ):
            for speaker, more in part.items():
                statistics[speaker].add_arrays(more)
        for speaker in group:
            found[speaker] = _transform_of(statistics[speaker], settings)
    transforms = SpeakerTransforms(found, features.fingerprint)
    _report(transforms, settings)
    return transforms


@dataclass(frozen=True)
class _Batch:
    """Utterances whose statistics are gathered together; ``id`` is for messages."""

    utterances: list[AlignedUtterance]

    @property
    def id(self) -> str:
        return "some of " + ", ".join(sorted({one.speaker for one in self.utterances}))


class _Accumulator:
    @staticmethod
    def load(
        model: Path,
        silence_phones: Collection[int],
        settings: FmllrSettings,
        device: torch.device,
        posteriors_of: Path | None,
    ) -> _Accumulator:
        gmms = None if posteriors_of is None else DiagonalGmms.load(posteriors_of)
        return _Accumulator(GmmHmm.load(model), silence_phones, settings, device, gmms)

    def __init__(
        self,
        model: GmmHmm,
        silence_phones: Collection[int],
        settings: FmllrSettings,
        device: torch.device,
        posteriors_of: DiagonalGmms | None,
    ):
        self._device = device
        self._parameters = GmmTables(model.gmms, device)
        self._tables = self._parameters
        if posteriors_of is not None:
            self._tables = GmmTables(posteriors_of, device)
        silent = model.pdfs_of(silence_phones)
        self._weight_of_pdf = np.where(silent, settings.silence_weight, 1.0).astype(np.float32)

    def gather(self, utterances: list[AlignedUtterance]) -> dict[str, FmllrStatistics]:
        """Their statistics by speaker."""
        batch = sorted(utterances, key=lambda utterance: utterance.speaker)
        speakers = sorted({utterance.speaker for utterance in batch})
        number = {speaker: place for place, speaker in enumerate(speakers)}
        pdf_ids = np.concatenate([utterance.pdf_ids for utterance in batch])
        weights = self._weight_of_pdf[pdf_ids]
        counted = weights > 0
        of_frame = np.repeat(
            [number[utterance.speaker] for utterance in batch],
            [len(utterance.frames) for utterance in batch],
        )
        bounds = np.searchsorted(of_frame[counted], np.arange(len(speakers) + 1)).tolist()
        frames = np.concatenate([utterance.frames for utterance in batch])[counted]
        return self._statistics(speakers, bounds, frames, pdf_ids[counted], weights[counted])

    def _statistics(
        self,
        speakers: list[str],
        bounds: list[int],
        frames: np.ndarray,
        pdf_ids: np.ndarray,
        weights: np.ndarray,
    ) -> dict[str, FmllrStatistics]:
        """Of frames (n, D) that belong to one speaker after the other, from bound to bound."""
        on_device = torch.from_numpy(frames).to(self._device)
        weight = torch.from_numpy(weights).to(self._device)
        precisions, weighted_means = frame_precisions(
            self._tables, on_device, pdf_ids, self._parameters
        )
        found = {}
        for speaker, first, last in zip(speakers, bounds, bounds[1:], strict=False):
            own = slice(first, last)
            found[speaker] = FmllrStatistics(frames.shape[1], self._device)
            found[speaker].accumulate(
                on_device[own], precisions[own], weighted_means[own], weight[own]
            )
        return found


def _gather(accumulator: _Accumulator, batches: list[_Batch]) -> dict[str, Arrays]:
    (batch,) = batches
    found = accumulator.gather(batch.utterances)
    return {speaker: statistics.to_arrays() for speaker, statistics in found.items()}


def _batches(utterances: Iterable[AlignedUtterance]) -> Iterator[_Batch]:
    batch: list[AlignedUtterance] = []
    frames = 0
    for utterance in utterances:
        batch.append(utterance)
        frames += len(utterance.frames)
        if frames >= BATCH_FRAMES:
            yield _Batch(batch)
            batch, frames = [], 0
    if batch:
        yield _Batch(batch)


def _transform_of(statistics: FmllrStatistics, settings: FmllrSettings) -> SpeakerTransform:
    frames = statistics.num_frames
    estimate = estimate_fmllr(statistics) if frames >= max(settings.min_frames, 1.0) else None
    if estimate is None:
        return SpeakerTransform.identity(len(statistics.linear), frames)
    matrix, gain = estimate
    return SpeakerTransform(matrix.astype(np.float32), frames, gain)


def _report(transforms: SpeakerTransforms, settings: FmllrSettings) -> None:
    each = transforms.of_speaker
    log.info(
        "fMLLR: %d speakers, objective up by %.3f a frame", len(each), transforms.gain_per_frame
    )
    unadapted = [speaker for speaker, transform in each.items() if not transform.gain_per_frame]
    if unadapted:
        log.warning(
            "%d of %d speakers keep the identity, having fewer than %g frames of speech or frames "
            "too much alike: %s",
            len(unadapted),
            len(each),
            settings.min_frames,
            ", ".join(unadapted[:10]) + (" …" if len(unadapted) > 10 else ""),
        )


def training_utterances(
    data: TrainingData, inputs: np.ndarray, pdf_ids_of: Callable[[int], np.ndarray | None]
) -> UtterancesOf:
    """The utterances of prepared training data.

    Args:
        data: the utterances.
        inputs: (frames, D) model input of all.
        pdf_ids_of: an utterance's number → its (T,) pdf-ids, None where it is not aligned.
    """

    def utterances_of(group: Collection[str]) -> Iterator[AlignedUtterance]:
        for utterance, speaker in enumerate(data.speakers):
            pdf_ids = pdf_ids_of(utterance) if speaker in group else None
            if pdf_ids is not None:
                frames = np.array(inputs[data.frames_of(utterance)])
                yield AlignedUtterance(speaker, frames, pdf_ids)

    return utterances_of


def transforms_of_data(
    data_folder: Path,
    front_end: GmmFrontEnd,
    pdf_ids_of: Callable[[str], np.ndarray | None],
    model: Path,
    silence_phones: Collection[int],
    settings: FmllrSettings,
    executor: Executor,
    device: torch.device,
    posteriors_of: Path | None = None,
) -> SpeakerTransforms:
    """The transforms of the speakers of a feature data folder.

    Args:
        data_folder: MFCC.
        front_end: of the data.  Where it has transforms, they are the starting point, and what
            is returned contains them.
        pdf_ids_of: cut id → its (T,) pdf-ids, None where it has none.
        model, silence_phones, settings, executor, device, posteriors_of: see
            :func:`estimate_transforms`.
    """

    def utterances_of(group: Collection[str]) -> Iterator[AlignedUtterance]:
        for cut in track(open_feature_data(data_folder), "fMLLR", unit="cut"):
            pdf_ids = pdf_ids_of(cut.id) if speaker_of(cut) in group else None
            if pdf_ids is not None:
                yield AlignedUtterance(speaker_of(cut), front_end.model_input(cut), pdf_ids)

    changes = estimate_transforms(
        model,
        front_end.normalisation.speakers,
        utterances_of,
        silence_phones,
        settings,
        executor,
        device,
        posteriors_of,
    )
    return changes if front_end.transforms is None else changes.after(front_end.transforms)
