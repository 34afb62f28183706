"""LFBE and MFCC against lhotse's own torch layers, which are an independent port of Kaldi."""

import numpy as np
import pytest
from lhotse.features.kaldi.layers import Wav2LogFilterBank, Wav2MFCC
from lhotse.utils import compute_num_frames

from am.features.extractors import (
    LfbeExtractor,
    LfbeSettings,
    MfccExtractor,
    MfccSettings,
)

RATE = 16000


@pytest.fixture
def samples() -> np.ndarray:
    """0.7 s and a few samples of a chirp in noise."""
    generator = np.random.default_rng(1)
    time = np.arange(11237) / RATE
    chirp = 0.3 * np.sin(2 * np.pi * (200 + 1500 * time) * time)
    return (chirp + 0.05 * generator.standard_normal(len(time))).astype(np.float32)


def reference(layer_class, samples, **options):
    layer = layer_class(sampling_rate=RATE, dither=0.0, snip_edges=False, **options)
    import torch

    return layer(torch.from_numpy(samples)[None])[0].numpy()


def test_lfbe_equals_an_independent_implementation(samples):
    expected = reference(
        Wav2LogFilterBank, samples, num_filters=64, low_freq=20.0, high_freq=-400.0
    )
    computed = LfbeExtractor().extract(samples, RATE)
    assert computed.shape == (70, 64)
    np.testing.assert_allclose(computed, expected, atol=2e-3)


def test_the_frequency_range_is_a_setting(samples):
    settings = LfbeSettings(num_mel_bins=40, low_frequency=100.0, high_frequency=4000.0)
    expected = reference(
        Wav2LogFilterBank, samples, num_filters=40, low_freq=100.0, high_freq=4000.0
    )
    np.testing.assert_allclose(LfbeExtractor(settings).extract(samples, RATE), expected, atol=2e-3)


def test_mfcc_equals_an_independent_implementation(samples):
    expected = reference(
        Wav2MFCC,
        samples,
        num_filters=23,
        num_ceps=13,
        low_freq=20.0,
        high_freq=0.0,
        cepstral_lifter=22,
        use_energy=False,
    )
    computed = MfccExtractor().extract(samples, RATE)
    assert computed.shape == (70, 13)
    np.testing.assert_allclose(computed, expected, atol=2e-3)


@pytest.mark.parametrize("num_samples", [160, 239, 240, 400, 1600, 16079, 16080, 16081])
def test_frames_are_the_rounded_duration(num_samples):
    frames = len(LfbeExtractor().extract(np.zeros(num_samples, np.float32), RATE))
    assert frames == compute_num_frames(num_samples / RATE, 0.01, RATE)


def test_digital_silence_lies_at_the_energy_floor():
    features = LfbeExtractor().extract(np.zeros(1600, np.float32), RATE)
    np.testing.assert_allclose(features, np.log(np.finfo(np.float32).eps), rtol=1e-5)


@pytest.mark.parametrize(
    ("samples", "rate", "reason"),
    [
        (np.zeros(800, np.float32), 8000, "8000 Hz"),
        (np.zeros((2, 800), np.float32), RATE, "2 channels"),
        (np.full(800, np.nan, np.float32), RATE, "not finite"),
    ],
)
def test_unusable_audio_is_an_error(samples, rate, reason):
    with pytest.raises(ValueError, match=reason):
        LfbeExtractor().extract(samples, rate)


def test_settings_differ_by_kind():
    assert MfccSettings().num_mel_bins == 23
    assert MfccExtractor().feature_dim(RATE) == 13
    assert LfbeExtractor().feature_dim(RATE) == 64
