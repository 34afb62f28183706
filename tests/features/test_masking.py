"""SpecAugment's masks hide whole channels and whole stretches, and nothing else."""

import torch

from am.features.masking import MaskingSettings, mask_vectors


def test_masks_are_bands_and_stretches_of_limited_size():
    torch.manual_seed(4)
    vectors = torch.ones(50, 40, 3 * 16)
    lengths = torch.full((50,), 40)
    settings = MaskingSettings(
        frequency_masks=1, max_channels=5, time_masks_a_second=1.0, max_seconds=0.15
    )
    frames = mask_vectors(vectors, lengths, settings, 0.03).reshape(50, 40, 3, 16)
    hidden_times = (frames == 0).all(-1).all(-1)
    hidden_channels = (frames == 0).all(1).all(1)
    assert 0 < hidden_times.sum(1).max() <= 6
    assert 0 < hidden_channels.sum(1).max() <= 6
    kept = frames[~hidden_times[:, :, None, None].expand_as(frames)]
    assert set(frames.unique().tolist()) == {0.0, 1.0}
    expected_zeros = (~hidden_times).sum(1) * 3 * hidden_channels.sum(1)
    assert (kept == 0).sum() == expected_zeros.sum()


def test_no_masks_leave_the_vectors_alone():
    vectors = torch.randn(2, 5, 12)
    assert mask_vectors(vectors, torch.tensor([5, 3]), MaskingSettings(), 0.03) is vectors
