"""From MFCC to the input of a GMM: normalisation a speaker, then one linear map of spliced frames.

Deltas and splice + LDA + MLLT are the same operation with different matrices: frames
``t - context … t + context`` side by side (the edge frames repeated), times a fixed matrix.

Shapes: T frames, C cepstral coefficients, D values of a model input.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from am.errors import InputError

DESCRIPTION_NAME = "features.json"
TRANSFORM_NAME = "transform.safetensors"
# Keeps a constant coefficient (digital silence) from being divided by zero.
VARIANCE_FLOOR = 1e-4


@dataclass(frozen=True)
class GmmFeatures:
    """How normalised MFCC become model input.

    Attributes:
        kind: ``deltas`` or ``splice`` (LDA, MLLT).
        mfcc_dim: C, coefficients of a raw frame.
        context: frames on either side that are spliced.
        normalise_variance: whether a speaker's variance is normalised besides the mean.
        transform: (D, (2 * context + 1) * C) float32.
        speaker_adapted: whether a transform of each speaker
            (:class:`am.features.speaker_transforms.SpeakerTransforms`) comes after these features.
    """

    kind: str
    mfcc_dim: int
    context: int
    normalise_variance: bool
    transform: np.ndarray
    speaker_adapted: bool = False

    @property
    def dim(self) -> int:
        """D, values of a model-input frame."""
        return len(self.transform)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the transform: a speaker's transform fits no other features."""
        return hashlib.sha256(np.ascontiguousarray(self.transform).tobytes()).hexdigest()

    def model_input(self, normalised: np.ndarray) -> np.ndarray:
        """(T, C) MFCC of one cut, normalised for its speaker → (T, D) float32."""
        # Frames that are not finite are for the caller to refuse: only there the cut has a name.
        with np.errstate(invalid="ignore"):
            return splice(normalised, self.context) @ self.transform.T

    def compose(self, matrix: np.ndarray) -> GmmFeatures:
        """These features followed by ``matrix`` (D', D), e.g. a new MLLT estimate."""
        transform = (matrix.astype(np.float64) @ self.transform).astype(np.float32)
        return dataclasses.replace(self, transform=transform)

    def save(self, folder: Path) -> None:
        """Write ``features.json`` and ``transform.safetensors``."""
        save_file({"transform": np.ascontiguousarray(self.transform)}, str(folder / TRANSFORM_NAME))
        description = {
            "kind": self.kind,
            "mfcc_dim": self.mfcc_dim,
            "context": self.context,
            "normalise_variance": self.normalise_variance,
            "dim": self.dim,
            "speaker_adapted": self.speaker_adapted,
        }
        (folder / DESCRIPTION_NAME).write_text(json.dumps(description, indent=1))

    @staticmethod
    def load(folder: Path) -> GmmFeatures:
        """Read what :meth:`save` wrote."""
        for name in (DESCRIPTION_NAME, TRANSFORM_NAME):
            if not (folder / name).is_file():
                raise InputError(f"{folder / name}: no such file; give the folder of a GMM")
        description = json.loads((folder / DESCRIPTION_NAME).read_text())
        return GmmFeatures(
            description["kind"],
            description["mfcc_dim"],
            description["context"],
            description["normalise_variance"],
            load_file(str(folder / TRANSFORM_NAME))["transform"],
            description.get("speaker_adapted", False),
        )


def delta_features(mfcc_dim: int, normalise_variance: bool = False) -> GmmFeatures:
    """MFCC with their first and second differences, D = 3 C, as Kaldi's ``add-deltas``."""
    transform = delta_transform(mfcc_dim, order=2, window=2)
    return GmmFeatures("deltas", mfcc_dim, 4, normalise_variance, transform)


def delta_transform(mfcc_dim: int, order: int, window: int) -> np.ndarray:
    """Differences up to ``order`` as a matrix on spliced frames.

    One order convolves the one before with the regression weights ``j / sum(j²)``,
    ``j = -window … window`` (Kaldi's ``feat/feature-functions.cc``, DeltaFeatures).

    Returns:
        ((order + 1) * C, (2 * order * window + 1) * C) float32.
    """
    slopes = np.arange(-window, window + 1, dtype=np.float64)
    slopes /= np.sum(slopes**2)
    weights = np.ones(1)
    rows = []
    for done in range(order + 1):
        rows.append(np.pad(weights, (order - done) * window))
        # np.convolve flips its argument, whereas the regression weights are a correlation.
        weights = np.convolve(weights, slopes)
    blocks = [np.kron(row, np.eye(mfcc_dim)) for row in rows]
    return np.concatenate(blocks).astype(np.float32)


def splice(frames: np.ndarray, context: int) -> np.ndarray:
    """(T, C) → (T, (2 * context + 1) * C), the edge frames repeated."""
    width = (2 * context + 1) * frames.shape[1]
    return frames[splice_indices(np.array([len(frames)]), context)].reshape(len(frames), width)


def splice_indices(num_frames: np.ndarray, context: int) -> np.ndarray:
    """Row numbers that splice utterances laid one after the other.

    Args:
        num_frames: (utterances,) frames of each.
        context: frames on either side, never taken from a neighbouring utterance.

    Returns:
        (sum of num_frames, 2 * context + 1) int64.
    """
    ends = np.cumsum(num_frames)
    total = int(ends[-1])
    first = np.repeat(ends - num_frames, num_frames)
    last = np.repeat(ends - 1, num_frames)
    rows = np.arange(total)[:, None] + np.arange(-context, context + 1)
    return np.clip(rows, first[:, None], last[:, None])


class SpeakerNormalisation:
    """Mean and variance of each speaker's MFCC, and their removal.

    Statistics are of all finite frames that were added, so one object belongs to one data folder.
    """

    def __init__(self) -> None:
        self._totals: dict[str, np.ndarray] = {}

    @staticmethod
    def from_cuts(cuts: Iterable[Any]) -> SpeakerNormalisation:
        """Statistics of ``cuts`` (lhotse cuts with MFCC), read once, one cut in memory."""
        normalisation = SpeakerNormalisation()
        for cut in cuts:
            normalisation.add(speaker_of(cut), cut.load_features())
        return normalisation

    def save(self, path: Path) -> None:
        """Write the statistics."""
        metadata = {"speakers": json.dumps(self.speakers)}
        save_file({"totals": np.stack(list(self._totals.values()))}, str(path), metadata)

    @staticmethod
    def load(path: Path) -> SpeakerNormalisation:
        """Read what :meth:`save` wrote."""
        normalisation = SpeakerNormalisation()
        with safe_open(str(path), framework="np") as stored:
            speakers = json.loads(stored.metadata()["speakers"])
            normalisation._totals = dict(zip(speakers, stored.get_tensor("totals"), strict=True))
        return normalisation

    @property
    def speakers(self) -> list[str]:
        """Those with frames, in the order in which they were met."""
        return list(self._totals)

    def add(self, speaker: str, mfcc: np.ndarray) -> None:
        """Count the frames (T, C) of ``speaker``; one with a NaN or an infinity does not count."""
        frames = mfcc.astype(np.float64)
        finite = np.isfinite(frames).all(axis=1)
        if not finite.all():
            frames = frames[finite]
        totals = np.stack(
            [np.full(frames.shape[1], len(frames)), frames.sum(0), (frames**2).sum(0)]
        )
        self._add_totals(speaker, totals)

    def merge(self, other: SpeakerNormalisation) -> None:
        """Add the statistics of ``other``, e.g. of another part of the data."""
        for speaker, totals in other._totals.items():
            self._add_totals(speaker, totals)

    def _add_totals(self, speaker: str, totals: np.ndarray) -> None:
        known = self._totals.get(speaker)
        self._totals[speaker] = totals if known is None else known + totals

    def shift_and_scale(
        self, speaker: str, normalise_variance: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """(C,) mean and (C,) factor of ``(frames - mean) * factor``."""
        if speaker not in self._totals:
            raise InputError(
                f"speaker {speaker}: no statistics; compute them over the data folder in use"
            )
        count, total, squares = self._totals[speaker]
        count = np.maximum(count, 1.0)
        mean = total / count
        if not normalise_variance:
            return mean, np.ones_like(mean)
        variance = np.maximum(squares / count - mean**2, VARIANCE_FLOOR)
        return mean, variance**-0.5

    def apply(self, speaker: str, mfcc: np.ndarray, normalise_variance: bool = False) -> np.ndarray:
        """(T, C) raw → (T, C) float32 with the speaker's mean (and variance) removed."""
        mean, factor = self.shift_and_scale(speaker, normalise_variance)
        return ((mfcc - mean) * factor).astype(np.float32)


def speaker_of(cut: Any) -> str:
    """The speaker of a cut's supervision; a cut that names none is its own speaker."""
    supervisions: Any = cut.supervisions
    speaker = supervisions[0].speaker if supervisions else None
    return str(speaker) if speaker is not None else str(cut.id)


def fault_of_features(frames: np.ndarray) -> str | None:
    """What keeps frames (T, C) from being used, or None."""
    if len(frames) == 0:
        return "features without a frame"
    if not np.isfinite(frames).all():
        return "features hold NaN or infinity"
    return None


def check_mfcc_dim(features: GmmFeatures, mfcc: np.ndarray, cut_id: str) -> None:
    """Raise InputError if a cut's raw frames are not as wide as the model's were."""
    if mfcc.shape[1] != features.mfcc_dim:
        raise InputError(
            f"{cut_id}: MFCC of {mfcc.shape[1]} coefficients, the model was trained on "
            f"{features.mfcc_dim}; compute features with the same configuration"
        )
