"""Affine transforms of model input, one a speaker (fMLLR), and their place on disk.

Shapes: T frames, D values of a frame.  A transform is (D, D + 1), [A b]: a frame x becomes A x + b.

A folder that holds transforms has two files with the same speakers::

    speaker_transforms.safetensors   (D, D + 1) float32 by speaker
    speaker_transforms.tsv           speaker, frames, gain per frame, log-determinant

Every speaker of the data has an entry, the identity where there was too little speech: one without
an entry belongs to other data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from am.errors import InputError
from am.features.gmm_features import GmmFeatures

MATRICES_NAME = "speaker_transforms.safetensors"
TABLE_NAME = "speaker_transforms.tsv"
HEADER = ("speaker", "frames", "gain_per_frame", "log_determinant")


@dataclass(frozen=True)
class SpeakerTransform:
    """The transform of one speaker.

    Attributes:
        matrix: (D, D + 1) float32.
        frames: of the statistics that it was estimated from (sum of their weights).
        gain_per_frame: log-likelihood (natural) of such a frame won over the transform before;
            0 where the identity stands for too little speech.
    """

    matrix: np.ndarray
    frames: float = 0.0
    gain_per_frame: float = 0.0

    @staticmethod
    def identity(dim: int, frames: float = 0.0) -> SpeakerTransform:
        """Leaves frames as they are."""
        return SpeakerTransform(np.eye(dim, dim + 1, dtype=np.float32), frames)

    @cached_property
    def log_determinant(self) -> float:
        """log |det A|, what a frame's log-likelihood gains by the change of variables."""
        return float(np.linalg.slogdet(self.matrix[:, :-1].astype(np.float64))[1])

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """(T, D) → (T, D) float32."""
        return frames @ self.matrix[:, :-1].T + self.matrix[:, -1]

    def after(self, first: SpeakerTransform) -> SpeakerTransform:
        """``first`` and then this one, with this one's frames and gain."""
        square = np.concatenate(
            [first.matrix, np.eye(1, first.matrix.shape[1], first.matrix.shape[1] - 1)]
        )
        matrix = (self.matrix.astype(np.float64) @ square).astype(np.float32)
        return dataclasses.replace(self, matrix=matrix)


@dataclass(frozen=True)
class SpeakerTransforms:
    """The transforms of the speakers of a data folder.

    Attributes:
        of_speaker: by speaker.
        fingerprint: of the features that they apply to (:attr:`GmmFeatures.fingerprint`).
        source: where they were read from, for messages.
    """

    of_speaker: Mapping[str, SpeakerTransform]
    fingerprint: str
    source: str = "speaker transforms"

    def __getitem__(self, speaker: str) -> SpeakerTransform:
        if speaker not in self.of_speaker:
            raise InputError(
                f"{self.source}: speaker {speaker}: no transform; estimate them on the data in use"
            )
        return self.of_speaker[speaker]

    @property
    def gain_per_frame(self) -> float:
        """Of all speakers' frames, see :class:`SpeakerTransform`."""
        each = self.of_speaker.values()
        gain = sum(transform.frames * transform.gain_per_frame for transform in each)
        return gain / max(sum(transform.frames for transform in each), 1.0)

    def apply(self, speaker: str, frames: np.ndarray) -> np.ndarray:
        """(T, D) model input of ``speaker`` → (T, D) float32 adapted."""
        return self[speaker].apply(frames)

    def after(self, first: SpeakerTransforms) -> SpeakerTransforms:
        """``first`` and then these, speaker by speaker."""
        composed = {name: later.after(first[name]) for name, later in self.of_speaker.items()}
        return dataclasses.replace(self, of_speaker=composed)

    def save(self, folder: Path) -> None:
        """Write both files; ``folder`` exists."""
        rows: list[tuple[str, ...]] = [HEADER]
        for speaker, transform in self.of_speaker.items():
            facts = (transform.frames, transform.gain_per_frame, transform.log_determinant)
            rows.append((speaker, *(f"{fact:.4f}" for fact in facts)))
        (folder / TABLE_NAME).write_text("".join("\t".join(row) + "\n" for row in rows))
        matrices = {
            name: np.ascontiguousarray(transform.matrix)
            for name, transform in self.of_speaker.items()
        }
        metadata = {"fingerprint": self.fingerprint}
        save_file(matrices, str(folder / MATRICES_NAME), metadata=metadata)

    @staticmethod
    def are_in(folder: Path) -> bool:
        """Whether a folder holds transforms."""
        return (folder / MATRICES_NAME).is_file()

    @staticmethod
    def load(folder: Path, features: GmmFeatures) -> SpeakerTransforms:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: a file is missing or unreadable, or the transforms are of other features.
        """
        path = folder / MATRICES_NAME
        if not SpeakerTransforms.are_in(folder):
            raise InputError(
                f"{path}: no such file; give a folder of steps/estimate_fmllr.py or "
                "steps/align_fmllr.py"
            )
        facts = _read_table(folder / TABLE_NAME)
        try:
            with safe_open(str(path), framework="np") as stored:
                fingerprint = (stored.metadata() or {}).get("fingerprint", "")
                matrices = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: not readable ({error}); estimate them again") from error
        if fingerprint != features.fingerprint:
            raise InputError(
                f"{path}: of other features than the model's; estimate them with this model, or "
                "one that has its LDA and MLLT"
            )
        if set(facts) != set(matrices):
            raise InputError(f"{path}: other speakers than {TABLE_NAME}; estimate them again")
        of_speaker = {name: SpeakerTransform(matrices[name], *facts[name]) for name in facts}
        return SpeakerTransforms(of_speaker, fingerprint, str(path))


def _read_table(path: Path) -> dict[str, tuple[float, float]]:
    """Frames and gain by speaker."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; estimate the transforms again")
    lines = path.read_text().splitlines()[1:]
    try:
        rows = [line.split("\t") for line in lines]
        return {speaker: (float(frames), float(gain)) for speaker, frames, gain, _ in rows}
    except ValueError as error:
        raise InputError(f"{path}: not readable ({error}); estimate them again") from error
