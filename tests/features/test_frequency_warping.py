"""Warping reads a spectrum at stretched places, the same in all frames of an utterance."""

import numpy as np
import torch

from am.features.frequency_warping import warp_frequencies


def test_a_straight_spectrum_keeps_its_line_with_another_slope():
    torch.manual_seed(1)
    features = torch.arange(20.0).expand(8, 5, 20)
    warped = warp_frequencies(features, 0.2)
    factors = warped[:, 0, 10] / 10
    assert ((factors >= 0.8) & (factors <= 1.2)).all()
    assert factors.std() > 0.01
    expected = (factors[:, None, None] * features).clamp(max=19.0)
    torch.testing.assert_close(warped, expected)


def test_it_equals_numpy_interpolation():
    torch.manual_seed(2)
    features = torch.randn(3, 4, 16)
    torch.manual_seed(7)
    warped = warp_frequencies(features, 0.15)
    torch.manual_seed(7)
    factors = 1.0 + 0.15 * (2.0 * torch.rand(3, 1) - 1.0)
    for utterance, factor, result in zip(features, factors, warped, strict=True):
        for frame, row in zip(utterance, result, strict=True):
            expected = np.interp(float(factor) * np.arange(16), np.arange(16), frame.numpy())
            np.testing.assert_allclose(row.numpy(), expected, atol=1e-5)


def test_no_warp_leaves_the_features_alone():
    features = torch.randn(2, 3, 4)
    assert warp_frequencies(features, 0.0) is features
