"""Vocal tract length perturbation (Jaitly and Hinton, 2013) on LFBE in training.

A longer or shorter vocal tract moves the formants; here the mel channels of an utterance are
stretched or squeezed by one random factor, so that few voices sound like many.
"""

from __future__ import annotations

import torch
from torch import Tensor


def warp_frequencies(features: Tensor, max_warp: float) -> Tensor:
    """Stretch the channel axis of each utterance by a factor from ``1 ± max_warp``.

    Args:
        features: (B, T, D) log mel energies.
        max_warp: 0 leaves the features alone.

    Returns:
        (B, T, D): channel ``c`` holds what stood at ``factor * c``, interpolated linearly, the last
        channel beyond the upper end; drawn with torch's global generator.
    """
    if max_warp == 0.0:
        return features
    batch, num_frames, channels = features.shape
    factors = 1.0 + max_warp * (2.0 * torch.rand(batch, 1).to(features.device) - 1.0)
    source = (factors * torch.arange(channels, device=features.device)).clamp(max=channels - 1)
    lower = source.long().clamp(max=channels - 2)
    share = (source - lower)[:, None]

    def at(index: Tensor) -> Tensor:
        return features.gather(2, index[:, None].expand(-1, num_frames, -1))

    return torch.lerp(at(lower), at(lower + 1), share.expand(-1, num_frames, -1))
