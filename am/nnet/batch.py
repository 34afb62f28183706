"""Some utterances with their labels: what a training takes at a time.

Shapes: B utterances, T frames at 10 ms, N = the sum of all T' (30 ms), k stored logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from am.features.batch_audio import BatchAudio


@dataclass(frozen=True)
class Batch:
    """Some utterances.

    Attributes:
        cut_ids: of each.
        features: (B, T, D) float32, raw, 0 past the end.
        lengths: (B,) int64, T of each.
        pdf_ids: (N,) int64 hard labels, or (N, k) int64 of soft ones, utterance after utterance.
        stored_logits: (N, k) float32 of soft labels; None with hard ones.
    """

    cut_ids: tuple[str, ...]
    features: Tensor
    lengths: Tensor
    pdf_ids: Tensor
    stored_logits: Tensor | None

    @property
    def num_frames(self) -> int:
        """N, frames at 30 ms."""
        return len(self.pdf_ids)

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(
            self.cut_ids,
            self.features.to(device, non_blocking=True),
            self.lengths.to(device, non_blocking=True),
            self.pdf_ids.to(device, non_blocking=True),
            None
            if self.stored_logits is None
            else self.stored_logits.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class AudioBatch:
    """A :class:`Batch` whose features are still to be computed, by :meth:`to`.

    Attributes:
        audio: of each utterance.
        cut_ids, pdf_ids, stored_logits: as of :class:`Batch`.
    """

    cut_ids: tuple[str, ...]
    audio: BatchAudio
    pdf_ids: Tensor
    stored_logits: Tensor | None

    @property
    def num_frames(self) -> int:
        """N, frames at 30 ms."""
        return len(self.pdf_ids)

    def to(self, device: torch.device) -> Batch:
        """With features, on a device, which computes them if their engine can."""
        features, lengths = self.audio.features(device)
        return Batch(self.cut_ids, features, lengths, self.pdf_ids, self.stored_logits).to(device)


LoadedBatch = Batch | AudioBatch
