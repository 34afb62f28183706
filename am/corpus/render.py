"""From a sentence and a voice to audio files, in parallel, the same whatever the jobs."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile

from am.corpus import acoustics
from am.corpus.espeak import EspeakProcess
from am.corpus.settings import NoiseSettings
from am.corpus.sound_bank import SIDES, SoundBank, to_pcm
from am.corpus.voices import Voice

UTTERANCES_AT_ONCE = 16
SPEECH_LEVEL_DB = (-34.0, -20.0)
SILENCE_SECONDS = (0.15, 0.5)
# No recording is free of noise, and exact zeros have no logarithm.
CLEAN_SNR_DB = (35.0, 50.0)


@dataclass(frozen=True)
class Rendering:
    """One audio file of an utterance: where, and at which ratio; None is clean speech."""

    path: Path
    condition: str
    snr_db: float | None


@dataclass(frozen=True)
class Utterance:
    """What is said, by whom, and the files it becomes.

    Attributes:
        side: ``train``, ``dev`` or ``test``: whose rooms and babble are used.
        noise_seed: of everything random in its renderings.
    """

    utterance_id: str
    voice: Voice
    text: str
    side: str
    noise_seed: tuple[int, ...]
    renderings: tuple[Rendering, ...]


class Renderer:
    """Speaks and renders utterances; holds an espeak-ng process."""

    def __init__(self, bank_folder: Path, settings: NoiseSettings):
        self._espeak = EspeakProcess()
        self._banks = {side: SoundBank.load(bank_folder, side, settings) for side in SIDES}

    def render(self, utterance: Utterance) -> float:
        """Write the utterance's files and return their duration in seconds."""
        pcm, rate = self._espeak.speak(utterance.voice, utterance.text)
        generator = np.random.default_rng(utterance.noise_seed)
        speech = acoustics.trim(acoustics.to_sampling_rate(pcm, rate))
        speech = acoustics.with_level(speech, generator.uniform(*SPEECH_LEVEL_DB))
        before, after = (
            int(generator.uniform(*SILENCE_SECONDS) * acoustics.SAMPLING_RATE) for _ in range(2)
        )
        speech = np.pad(speech, (before, after))
        for rendering in utterance.renderings:
            signal = self._with_surroundings(speech, rendering, utterance.side, generator)
            rendering.path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(rendering.path, to_pcm(signal), acoustics.SAMPLING_RATE)
        return len(speech) / acoustics.SAMPLING_RATE

    def _with_surroundings(
        self, speech: np.ndarray, rendering: Rendering, side: str, generator: np.random.Generator
    ) -> np.ndarray:
        if rendering.snr_db is None:
            noise = acoustics.coloured_noise(generator, len(speech))
            return acoustics.add_noise(speech, noise, generator.uniform(*CLEAN_SNR_DB))
        bank = self._banks[side]
        wet = acoustics.reverberate(speech, bank.random_room(generator))
        return acoustics.add_noise(wet, bank.random_noise(generator, len(speech)), rendering.snr_db)


_renderer: Renderer | None = None


def _start_process(bank_folder: Path, settings: NoiseSettings) -> None:
    global _renderer
    _renderer = Renderer(bank_folder, settings)


def _render_chunk(utterances: Sequence[Utterance]) -> list[float]:
    assert _renderer is not None
    return [_renderer.render(utterance) for utterance in utterances]


class RenderPool:
    """Processes that render; use as a context manager."""

    def __init__(self, bank_folder: Path, settings: NoiseSettings, jobs: int):
        self._jobs = jobs
        self._pool = ProcessPoolExecutor(
            jobs,
            # A fork would inherit the parent's threads and log handles.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(bank_folder, settings),
        )

    def __enter__(self) -> RenderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def render_until(
        self, utterances: Iterable[Utterance], seconds: float
    ) -> Iterator[tuple[Utterance, float]]:
        """Render utterances in order until they last ``seconds``.

        Work runs a few chunks ahead of what is needed; the files of utterances past the end are
        removed, so that the outcome does not depend on how many processes there are.

        Yields:
            each utterance and its duration in seconds; the last one crosses ``seconds``.
        """
        iterator = iter(utterances)
        pending: deque[tuple[list[Utterance], Future[list[float]]]] = deque()
        total = 0.0
        while total < seconds:
            while len(pending) < 2 * self._jobs and (
                chunk := list(islice(iterator, UTTERANCES_AT_ONCE))
            ):
                pending.append((chunk, self._pool.submit(_render_chunk, chunk)))
            if not pending:
                return
            chunk, future = pending.popleft()
            for utterance, duration in zip(chunk, future.result(), strict=True):
                if total < seconds:
                    total += duration
                    yield utterance, duration
                else:
                    _remove(utterance)
        for chunk, future in pending:
            if not future.cancel():
                future.result()
                for utterance in chunk:
                    _remove(utterance)


def _remove(utterance: Utterance) -> None:
    for rendering in utterance.renderings:
        rendering.path.unlink()
        with suppress(OSError):  # not empty
            rendering.path.parent.rmdir()
