"""SpecAugment's masks (Park et al., 2019) on low-frame-rate vectors, without time warping."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from am.features.low_frame_rate import STACKED_FRAMES


@dataclass(frozen=True)
class MaskingSettings:
    """How much of an utterance is hidden in training.

    Attributes:
        frequency_masks: bands of mel channels hidden in an utterance.
        max_channels: widest band.
        time_masks_a_second: stretches of time hidden, a second of speech.
        max_seconds: longest stretch.
    """

    frequency_masks: int = 0
    max_channels: int = 10
    time_masks_a_second: float = 0.0
    max_seconds: float = 0.3


def mask_vectors(
    vectors: Tensor, lengths: Tensor, settings: MaskingSettings, frame_shift: float
) -> Tensor:
    """Hide bands and stretches: they are set to 0, the mean of normalised features.

    Args:
        vectors: (B, T', 3 D) normalised and stacked.
        lengths: (B,) T' of each.
        settings: how much.
        frame_shift: of the vectors, in seconds.

    Returns:
        (B, T', 3 D), a new tensor unless nothing is hidden.
    """
    batch, num_vectors, width = vectors.shape
    channels = width // STACKED_FRAMES
    hidden_channels = _random_spans(
        batch, settings.frequency_masks, settings.max_channels, torch.full((batch,), channels)
    )
    seconds = float(lengths.max()) * frame_shift
    hidden_times = _random_spans(
        batch,
        round(settings.time_masks_a_second * seconds),
        round(settings.max_seconds / frame_shift),
        lengths.cpu(),
    )
    if hidden_channels is not None:
        kept = ~_inside(hidden_channels, channels).repeat(1, STACKED_FRAMES)
        vectors = vectors * kept[:, None].to(vectors)
    if hidden_times is not None:
        kept = ~_inside(hidden_times, num_vectors)
        vectors = vectors * kept[:, :, None].to(vectors)
    return vectors


def _random_spans(
    batch: int, count: int, max_width: int, sizes: Tensor
) -> tuple[Tensor, Tensor] | None:
    """First and past-the-last index of ``count`` random spans each, both (batch, count)."""
    if count == 0 or max_width == 0:
        return None
    widths = torch.rand(batch, count) * max_width
    first = torch.rand(batch, count) * (sizes[:, None] - widths).clamp(min=0)
    return first, first + widths


def _inside(spans: tuple[Tensor, Tensor], size: int) -> Tensor:
    """(batch, size) bool, whether an index lies in any span."""
    first, end = spans
    index = torch.arange(size)[None, None]
    return ((index >= first[:, :, None]) & (index < end[:, :, None])).any(1)
