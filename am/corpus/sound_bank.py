"""The rooms and babble that all utterances of a side draw from, made once and mapped from disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from am.corpus import acoustics
from am.corpus.espeak import EspeakProcess
from am.corpus.grammar import Grammar
from am.corpus.settings import NoiseSettings
from am.corpus.voices import Voice

SIDES = ("train", "dev", "test")
BABBLE_TRACKS = 16
BABBLE_SAMPLES = 12 * acoustics.SAMPLING_RATE
NOISE_KINDS = ("babble", "coloured", "hum", "tones")


@dataclass(frozen=True)
class SoundBank:
    """Rooms and noise of one side.

    Attributes:
        rooms: (rooms, samples) float32 impulse responses, zeros past their end.
        babble: (tracks, samples) int16, one talker each.
        kind_shares: (4,) probability of each of ``NOISE_KINDS``.
    """

    rooms: np.ndarray
    babble: np.ndarray
    kind_shares: np.ndarray

    def random_room(self, generator: np.random.Generator) -> np.ndarray:
        """One of the rooms' impulse responses."""
        return np.trim_zeros(self.rooms[generator.integers(len(self.rooms))], "b")

    def random_noise(self, generator: np.random.Generator, length: int) -> np.ndarray:
        """(length,) float32 noise of a random kind, at no particular level."""
        kind = NOISE_KINDS[int(generator.choice(len(NOISE_KINDS), p=self.kind_shares))]
        if kind == "babble":
            return acoustics.babble(generator, length, self.babble)
        if kind == "hum":
            return acoustics.hum(generator, length)
        if kind == "tones":
            return acoustics.beeps(generator, length)
        return acoustics.coloured_noise(generator, length)

    @staticmethod
    def load(folder: Path, side: str, settings: NoiseSettings) -> SoundBank:
        """Map what :func:`write_sound_bank` wrote."""
        weights = np.array([getattr(settings, kind) for kind in NOISE_KINDS])
        return SoundBank(
            rooms=np.load(folder / f"rooms-{side}.npy", mmap_mode="r"),
            babble=np.load(folder / f"babble-{side}.npy", mmap_mode="r"),
            kind_shares=weights / weights.sum(),
        )


def write_sound_bank(
    folder: Path,
    side: str,
    voices: Sequence[Voice],
    grammar: Grammar,
    settings: NoiseSettings,
    seed: int,
) -> None:
    """Make rooms and babble of one side; its babblers say what no other side says."""
    generator = np.random.default_rng([seed, SIDES.index(side), 1])
    responses = [
        acoustics.random_room(generator, settings.reverberation_seconds)
        for _ in range(settings.rooms)
    ]
    rooms = np.zeros((len(responses), max(map(len, responses))), dtype=np.float32)
    for row, response in zip(rooms, responses, strict=True):
        row[: len(response)] = response
    np.save(folder / f"rooms-{side}.npy", rooms)
    sentences = grammar.sentences(side, f"babble {side} {seed}")
    tracks = np.zeros((BABBLE_TRACKS, BABBLE_SAMPLES), dtype=np.int16)
    with EspeakProcess() as espeak:
        for index, track in enumerate(tracks):
            voice, filled = voices[index % len(voices)], 0
            while filled < BABBLE_SAMPLES:
                pcm, rate = espeak.speak(voice, next(sentences))
                speech = acoustics.trim(acoustics.to_sampling_rate(pcm, rate))
                speech = acoustics.with_level(speech, -30.0)[: BABBLE_SAMPLES - filled]
                track[filled : filled + len(speech)] = to_pcm(speech)
                filled += len(speech)
    np.save(folder / f"babble-{side}.npy", tracks)


def to_pcm(signal: np.ndarray) -> np.ndarray:
    """float32 of full scale 1 → int16, scaled down where it would clip."""
    peak = float(np.abs(signal).max(initial=0.0))
    gain = 32000.0 if peak <= 1.0 else 32000.0 / peak
    return np.round(signal * np.float32(gain)).astype(np.int16)
