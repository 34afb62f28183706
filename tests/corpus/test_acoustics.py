"""Levels, ratios, rooms and noises, against direct formulas."""

import numpy as np
import pytest

from am.corpus import acoustics
from am.corpus.acoustics import SAMPLING_RATE


def speech_like(seconds: float = 2.0) -> np.ndarray:
    """A tone of power 0.02 in the middle half, silence around it."""
    time = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    tone = 0.2 * np.sin(2 * np.pi * 400 * time)
    inside = (time >= 0.25 * seconds) & (time < 0.75 * seconds)
    return (tone * inside).astype(np.float32)


def test_active_power_leaves_out_pauses() -> None:
    assert acoustics.active_power(speech_like()) == pytest.approx(0.02, rel=1e-3)


@pytest.mark.parametrize("level", [-34.0, -20.0])
def test_level(level: float) -> None:
    power = acoustics.active_power(acoustics.with_level(speech_like(), level))
    assert 10 * np.log10(power) == pytest.approx(level, abs=1e-3)


@pytest.mark.parametrize("snr", [0.0, 10.0, 25.0])
def test_snr(snr: float) -> None:
    generator = np.random.default_rng(1)
    speech = speech_like()
    noise = acoustics.coloured_noise(generator, len(speech))
    added = acoustics.add_noise(speech, noise, snr) - speech
    ratio = 0.02 / np.mean(added.astype(np.float64) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(snr, abs=0.01)


def test_resampling_keeps_a_tone() -> None:
    time = np.arange(22050) / 22050
    pcm = (16384 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16)
    resampled = acoustics.to_sampling_rate(pcm, 22050)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(SAMPLING_RATE) / SAMPLING_RATE)
    assert len(resampled) == SAMPLING_RATE
    np.testing.assert_allclose(resampled[500:-500], expected[500:-500], atol=2e-3)


def test_trim_keeps_the_sound_alone() -> None:
    trimmed = acoustics.trim(speech_like())
    assert len(trimmed) == pytest.approx(SAMPLING_RATE, abs=20)
    assert len(acoustics.trim(np.zeros(100, dtype=np.float32))) == 0


def test_a_room_starts_with_its_direct_sound_and_decays() -> None:
    generator = np.random.default_rng(3)
    for _ in range(5):
        response = acoustics.random_room(generator, (0.3, 0.6))
        assert np.argmax(np.abs(response)) == 0
        energy = response.astype(np.float64) ** 2
        assert energy[len(energy) // 2 :].sum() < 0.1 * energy.sum()


def test_reverberation_keeps_length_and_level() -> None:
    generator = np.random.default_rng(4)
    speech = speech_like()
    wet = acoustics.reverberate(speech, acoustics.random_room(generator, (0.3, 0.6)))
    assert wet.shape == speech.shape
    assert acoustics.active_power(wet) == pytest.approx(0.02, rel=1e-3)
    after = slice(int(1.5 * SAMPLING_RATE), int(1.6 * SAMPLING_RATE))
    assert np.abs(wet[after]).max() > 1e-3 > np.abs(speech[after]).max()


def test_noises_have_their_length_and_are_finite() -> None:
    generator = np.random.default_rng(5)
    tracks = generator.integers(-3000, 3000, (6, 4000)).astype(np.int16)
    for length in (999, 20000):
        for noise in (
            acoustics.coloured_noise(generator, length),
            acoustics.hum(generator, length),
            acoustics.beeps(generator, length),
            acoustics.babble(generator, length, tracks),
        ):
            assert noise.shape == (length,)
            assert np.isfinite(noise).all() and noise.std() > 0


def test_brown_noise_falls_by_6_db_an_octave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acoustics, "COLOUR_EXPONENTS", {"brown": 2.0})
    noise = acoustics.coloured_noise(np.random.default_rng(6), 1 << 17)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency = np.fft.rfftfreq(len(noise), 1 / SAMPLING_RATE)

    def octave(low: float) -> float:
        return float(power[(frequency >= low) & (frequency < low * 2)].mean())

    assert 10 * np.log10(octave(500) / octave(1000)) == pytest.approx(6.0, abs=0.5)
