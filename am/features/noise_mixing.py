"""Noise added to LFBE in training: in the energy domain, where sounds that mix add up.

Powers of independent signals add in expectation, so the log energies of speech plus noise are
``log(exp(speech) + gain * exp(noise))``; lhotse's ``FeatureMixer`` mixes the same way.  The noise
of an utterance is babble, the sum of other utterances of its batch, or steady noise with a random
slope of its spectrum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from am.errors import InputError

# A steady noise's log energies rise or fall by at most this much over the channels.
MAX_SPECTRAL_SLOPE = 4.0
# Frames within this distance (natural log) of the loudest one count as speech, about 26 dB.
ACTIVITY_RANGE = 6.0


@dataclass(frozen=True)
class NoiseMixingSettings:
    """How often and how loud.

    Attributes:
        probability: share of utterances that get noise.
        babble_share: of these, the share whose noise is other utterances.
        talkers: utterances that make a babble.
        lowest_snr_db, highest_snr_db: signal-to-noise ratios, drawn evenly.
    """

    probability: float = 0.0
    babble_share: float = 0.5
    talkers: int = 4
    lowest_snr_db: float = 0.0
    highest_snr_db: float = 25.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.probability <= 1.0 and 0.0 <= self.babble_share <= 1.0):
            raise InputError("noise_mixing: probability and babble_share must be in 0 … 1")
        if self.lowest_snr_db > self.highest_snr_db or self.talkers < 1:
            raise InputError(
                "noise_mixing: lowest_snr_db must not exceed highest_snr_db, talkers ≥ 1"
            )


def mix_noise(features: Tensor, lengths: Tensor, settings: NoiseMixingSettings) -> Tensor:
    """Add noise to some utterances of a padded batch.

    Args:
        features: (B, T, D) natural-log mel energies.
        lengths: (B,) frames of each.
        settings: how often and how loud.

    Returns:
        (B, T, D), a new tensor unless nothing is added; drawn with torch's global generator.
    """
    if settings.probability == 0.0:
        return features
    batch = len(features)
    device = features.device
    draws = torch.rand(4, batch).to(device)
    is_babble = (draws[1] < settings.babble_share) & (batch > 1)
    steady = _steady_noise(features, draws[2])
    noise = torch.where(is_babble[:, None, None], _babble(features, lengths, settings), steady)
    spread = settings.highest_snr_db - settings.lowest_snr_db
    snr = (settings.lowest_snr_db + spread * draws[3]) * math.log(10) / 10
    gain = _active_level(features, lengths) - _active_level(noise, lengths) - snr
    mixed = torch.logaddexp(features, noise + gain[:, None, None])
    return torch.where((draws[0] < settings.probability)[:, None, None], mixed, features)


def _babble(features: Tensor, lengths: Tensor, settings: NoiseMixingSettings) -> Tensor:
    """(B, T, D) sums of the next utterances of the batch, each from a random frame, repeated."""
    batch, num_frames, dim = features.shape
    frames = torch.arange(num_frames, device=features.device)
    talkers = []
    for shift in range(1, min(settings.talkers, batch - 1) + 1):
        other, other_lengths = features.roll(-shift, 0), lengths.roll(-shift, 0)
        start = (torch.rand(batch).to(features.device) * other_lengths).long()
        index = (frames + start[:, None]) % other_lengths[:, None]
        talkers.append(other.gather(1, index[:, :, None].expand(-1, -1, dim)))
    return torch.stack(talkers).logsumexp(0) if talkers else features


def _steady_noise(features: Tensor, slopes: Tensor) -> Tensor:
    """(B, T, D) log energies that are linear in the channel and vary a little in time."""
    channels = torch.linspace(-0.5, 0.5, features.shape[2], device=features.device)
    tilt = (2 * slopes - 1)[:, None, None] * MAX_SPECTRAL_SLOPE * channels
    return tilt + 0.3 * torch.randn(features.shape).to(features)


def _active_level(features: Tensor, lengths: Tensor) -> Tensor:
    """(B,) natural log of the mean energy of the frames that are not pauses."""
    energy = features.logsumexp(2)
    inside = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
    energy = energy.masked_fill(~inside, -math.inf)
    active = energy >= energy.amax(1, keepdim=True) - ACTIVITY_RANGE
    return energy.masked_fill(~active, -math.inf).logsumexp(1) - active.sum(1).log()
