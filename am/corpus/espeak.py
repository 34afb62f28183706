"""The client of :mod:`am.corpus.espeak_worker`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import espeakng_loader
import numpy as np

from am.corpus.voices import Voice

WORKER = Path(__file__).with_name("espeak_worker.py")


class EspeakError(RuntimeError):
    """espeak-ng refused a request or ended."""


class EspeakProcess:
    """A running espeak-ng; use as a context manager, or :meth:`close` it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [
                # -I and -S start Python bare: each utterance forks it, so its size is paid for.
                *(sys.executable, "-I", "-S", str(WORKER)),
                espeakng_loader.get_library_path(),
                espeakng_loader.get_data_path(),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def speak(self, voice: Voice, text: str) -> tuple[np.ndarray, int]:
        """Synthesise ``text``.

        Returns:
            samples: (n,) int16, and their sampling rate in Hz.  The same voice and text give
            the same samples, whatever was spoken before.

        Raises:
            EspeakError: the voice does not exist, or espeak-ng failed.
        """
        answer = self._ask(
            {
                "voice": voice.espeak_name,
                "rate": voice.rate,
                "pitch": voice.pitch,
                "pitch_range": voice.pitch_range,
                "text": text.lower(),
            }
        )
        assert self._process.stdout is not None
        pcm = self._process.stdout.read(answer["bytes"])
        return np.frombuffer(pcm, dtype=np.int16), answer["sampling_rate"]

    def phonemes(self, accent: str, texts: Sequence[str]) -> list[str]:
        """espeak-ng's mnemonics of each text: ``_`` between phonemes, a space between words."""
        lowered = [text.lower() for text in texts]
        phonemes: list[str] = self._ask({"voice": accent, "phonemes": lowered})["phonemes"]
        return phonemes

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> EspeakProcess:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise EspeakError("espeak-ng ended; its message stands above") from error
        line = self._process.stdout.readline()
        if not line:
            raise EspeakError("espeak-ng ended; its message stands above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EspeakError(f"{request}: {answer['error']}")
        return answer
