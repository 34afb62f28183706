"""Rooms and noise on clean speech.

Shapes: every signal is (samples,) float32 at ``SAMPLING_RATE``, full scale 1.  Powers are mean
squares, levels and ratios in dB.
"""

from __future__ import annotations

import numpy as np
import pyroomacoustics
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import fftconvolve, resample_poly

SAMPLING_RATE = 16000
ACTIVITY_FRAME = SAMPLING_RATE // 50  # 20 ms
# Frames this far below the loudest one are pauses.
ACTIVITY_RANGE_DB = 30.0
# Silence that the synthesiser leaves around an utterance: below this part of its peak.
TRIM_LEVEL = 0.003
NUM_TALKERS = 5
# Image sources beyond this order would cost seconds a room, and are inaudible by then.
MAX_REFLECTIONS = 30
COLOUR_EXPONENTS = {"white": 0.0, "pink": 1.0, "brown": 2.0}


def to_sampling_rate(pcm: np.ndarray, sampling_rate: int) -> np.ndarray:
    """16-bit samples at another rate → float32 at ``SAMPLING_RATE``."""
    signal = pcm.astype(np.float32) / 32768.0
    divisor = int(np.gcd(SAMPLING_RATE, sampling_rate))
    resampled = resample_poly(signal, SAMPLING_RATE // divisor, sampling_rate // divisor)
    return resampled.astype(np.float32)


def trim(signal: np.ndarray) -> np.ndarray:
    """Cut the silence off both ends."""
    loud = np.flatnonzero(np.abs(signal) > TRIM_LEVEL * np.abs(signal).max(initial=0.0))
    return signal[loud[0] : loud[-1] + 1] if len(loud) else signal[:0]


def active_power(signal: np.ndarray) -> float:
    """Mean power of the 20 ms frames that hold speech, not pauses."""
    num_frames = max(1, len(signal) // ACTIVITY_FRAME)
    frames = signal[: num_frames * ACTIVITY_FRAME].reshape(num_frames, -1)
    powers = np.mean(frames.astype(np.float64) ** 2, axis=1)
    threshold = powers.max() * 10 ** (-ACTIVITY_RANGE_DB / 10)
    return float(powers[powers >= threshold].mean())


def with_level(signal: np.ndarray, level_db: float) -> np.ndarray:
    """Scale so that the active speech has the given level relative to full scale."""
    return signal * np.float32(np.sqrt(10 ** (level_db / 10) / active_power(signal)))


def add_noise(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise so that active speech power over mean noise power is ``snr_db``."""
    noise_power = float(np.mean(noise.astype(np.float64) ** 2))
    gain = np.sqrt(active_power(speech) / (noise_power * 10 ** (snr_db / 10)))
    return speech + np.float32(gain) * noise


def reverberate(speech: np.ndarray, impulse_response: np.ndarray) -> np.ndarray:
    """Speech in a room: same length, and the same level of active speech."""
    wet = fftconvolve(speech, impulse_response)[: len(speech)].astype(np.float32)
    return wet * np.float32(np.sqrt(active_power(speech) / active_power(wet)))


def random_room(
    generator: np.random.Generator, reverberation_seconds: tuple[float, ...]
) -> np.ndarray:
    """Impulse response of a shoe-box room by the image method (Allen and Berkley, 1979).

    Talker and microphone stand anywhere at least half a metre from the walls.

    Returns:
        (n,) float32; the direct sound is at the start.
    """
    size = generator.uniform((3.0, 2.5, 2.4), (8.0, 6.0, 3.4))
    seconds = generator.uniform(reverberation_seconds[0], reverberation_seconds[1])
    # Sabine's formula fails where even walls that take all sound echo longer than asked for.
    try:
        absorption, order = pyroomacoustics.inverse_sabine(seconds, size)
    except ValueError:
        absorption, order = 0.95, 3
    room = pyroomacoustics.ShoeBox(
        size,
        fs=SAMPLING_RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(order, MAX_REFLECTIONS),
    )
    room.add_source(generator.uniform(0.5, size - 0.5))
    room.add_microphone(generator.uniform(0.5, size - 0.5))
    room.compute_rir()
    response = np.asarray(room.rir[0][0], dtype=np.float32)
    return response[int(np.argmax(np.abs(response))) :]


def coloured_noise(generator: np.random.Generator, length: int) -> np.ndarray:
    """White, pink or brown noise: power over frequency falls with exponent 0, 1 or 2."""
    exponent = COLOUR_EXPONENTS[str(generator.choice(list(COLOUR_EXPONENTS)))]
    padded = next_fast_len(length, real=True)
    frequencies = np.fft.rfftfreq(padded, 1.0 / SAMPLING_RATE)
    # Below 20 Hz brown noise would be all of the power and none of the sound.
    shape = np.maximum(frequencies, 20.0) ** (-exponent / 2)
    shape[0] = 0.0
    white = rfft(generator.standard_normal(padded, dtype=np.float32))
    return irfft(white * shape.astype(np.float32), padded)[:length]


def hum(generator: np.random.Generator, length: int) -> np.ndarray:
    """Mains hum, 50 or 60 Hz with falling harmonics, over a little white noise."""
    mains = float(generator.choice([50.0, 60.0]))
    harmonics = np.arange(1, 16)
    amplitudes = generator.uniform(0.2, 1.0, len(harmonics)) / harmonics
    phases = generator.uniform(0, 2 * np.pi, len(harmonics))
    # A tenth of a second is a whole number of periods at either frequency.
    time = np.arange(SAMPLING_RATE // 10)[:, None] / SAMPLING_RATE
    tones = np.sin(2 * np.pi * mains * harmonics * time + phases) @ amplitudes
    return (np.resize(tones, length) + 0.05 * generator.standard_normal(length)).astype(np.float32)


def beeps(generator: np.random.Generator, length: int) -> np.ndarray:
    """Appliance beeps: tones that come and go, over a little white noise."""
    time = np.arange(length) / SAMPLING_RATE
    signal = 0.05 * generator.standard_normal(length)
    for _ in range(int(generator.integers(1, 4))):
        frequency, period = generator.uniform(300.0, 3500.0), generator.uniform(0.2, 1.5)
        sounding = (time + generator.uniform(0, period)) % period < 0.5 * period
        signal += generator.uniform(0.3, 1.0) * np.sin(2 * np.pi * frequency * time) * sounding
    return signal.astype(np.float32)


def babble(generator: np.random.Generator, length: int, tracks: np.ndarray) -> np.ndarray:
    """Several talkers at once.

    Args:
        tracks: (tracks, track samples) int16, each one talker going on and on.
    """
    mixture = np.zeros(length, dtype=np.float32)
    for track in generator.choice(len(tracks), min(NUM_TALKERS, len(tracks)), replace=False):
        start = int(generator.integers(tracks.shape[1]))
        around = np.arange(start, start + length) % tracks.shape[1]
        mixture += tracks[track, around] * np.float32(generator.uniform(0.5, 1.0))
    return mixture
