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
    draws = torch.rand(4, batch)
    # Drawn for all utterances, used for a few: so a result does not depend on who else is noisy.
    variation = torch.randn(features.shape, device=features.device)
    starts = torch.rand(min(settings.talkers, batch - 1), batch)
    is_noisy = draws[0] < settings.probability
    is_babble = (draws[1] < settings.babble_share) & (batch > 1)
    spread = settings.highest_snr_db - settings.lowest_snr_db
    snr = (settings.lowest_snr_db + spread * draws[3]) * math.log(10) / 10
    mixed = features
    for is_babble_now in (True, False):
        rows = (is_noisy & (is_babble == is_babble_now)).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        here = rows.to(features.device)
        if is_babble_now:
            noise = _babble(features, lengths, here, starts[:, rows].to(features.device))
        else:
            noise = _steady_noise(variation[here], draws[2, rows].to(features.device))
        loud = _add(features[here], noise, lengths[here], snr[rows].to(features.device))
        mixed = mixed.index_copy(0, here, loud)
    return mixed


def _add(speech: Tensor, noise: Tensor, lengths: Tensor, snr: Tensor) -> Tensor:
    """(b, T, D) speech plus noise scaled to (b,) signal-to-noise ratios in nepers of energy."""
    gain = _active_level(speech, lengths) - _active_level(noise, lengths) - snr
    return torch.logaddexp(speech, noise + gain[:, None, None])


def _babble(features: Tensor, lengths: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
    """(b, T, D) sums of the next utterances of the batch, each from its start, repeated.

    ``rows``: (b,) whose babble; ``starts``: (talkers, b) where each begins, 0 … 1 of its length.
    """
    batch, num_frames, _ = features.shape
    frames = torch.arange(num_frames, device=features.device)
    talkers = []
    for talker, start in enumerate(starts):
        other = (rows + talker + 1) % batch
        other_lengths = lengths[other]
        first = (start * other_lengths).long()
        index = (frames + first[:, None]) % other_lengths[:, None]
        talkers.append(features[other[:, None], index])
    return torch.stack(talkers).logsumexp(0)


def _steady_noise(variation: Tensor, slopes: Tensor) -> Tensor:
    """(b, T, D) log energies that are linear in the channel and vary a little in time.

    ``variation``: (b, T, D) standard normal; ``slopes``: (b,) 0 … 1.
    """
    channels = torch.linspace(-0.5, 0.5, variation.shape[2], device=variation.device)
    tilt = (2 * slopes - 1)[:, None, None] * MAX_SPECTRAL_SLOPE * channels
    return tilt + 0.3 * variation


def _active_level(features: Tensor, lengths: Tensor) -> Tensor:
    """(B,) natural log of the mean energy of the frames that are not pauses."""
    energy = features.logsumexp(2)
    inside = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
    energy = energy.masked_fill(~inside, -math.inf)
    active = energy >= energy.amax(1, keepdim=True) - ACTIVITY_RANGE
    return energy.masked_fill(~active, -math.inf).logsumexp(1) - active.sum(1).log()
