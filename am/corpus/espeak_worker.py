"""espeak-ng in a process of its own: JSON requests in, phonemes or PCM out.

espeak-ng is licensed under the GPL, so nothing else of the toolkit loads it: this script, which
uses the standard library alone, is started as ``python espeak_worker.py LIBRARY DATA`` and spoken
to through pipes.  :mod:`am.corpus.espeak` is its client.

A request is a line of JSON; the answer is a line of JSON, followed for speech by raw samples::

    {"voice": "en-us+m1", "rate": 170, "pitch": 50, "pitch_range": 50, "text": "hello there"}
    -> {"sampling_rate": 22050, "bytes": 41234} and so many bytes, 16-bit mono

    {"voice": "en-us", "phonemes": ["hello there", "bye"]}
    -> {"phonemes": ["h_@_l_'oU_ D_'e@", "b_'aI"]}

    {"anything": "else"} -> {"error": "what was wrong"}

espeak-ng carries state (oscillator phases, flutter, voice settings) from one utterance to the
next, and neither setting the voice again nor initialising again clears it.  Each utterance is
therefore spoken by a fork of the freshly initialised process: the same request gives the same
bytes, whatever was spoken before.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

AUDIO_OUTPUT_SYNCHRONOUS = 2
CHARS_UTF8 = 1
# speak_lib.h, espeak_PARAMETER.
RATE, PITCH, RANGE = 1, 3, 4
PHONEME_SEPARATOR = ord("_") << 8

SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Espeak:
    """The library, initialised; voices are named ``accent+variant``."""

    def __init__(self, library: str, data: str):
        self._library = _load(library)
        self._data = data
        self._pcm: list[bytes] = []
        # ctypes keeps no reference to a callback; the library would call freed memory.
        self._callback = SynthCallback(self._receive)
        self.sampling_rate = self._library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), 0
        )
        if self.sampling_rate <= 0:
            raise RuntimeError(f"espeak-ng does not start with its data in {data}")
        # Initialisation seeds the noise of breathy voices with the clock.
        self._library.espeak_ng_SetRandSeed(1)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, request: dict[str, Any]) -> bytes:
        """16-bit samples of one utterance."""
        self._set_voice(request["voice"])
        for parameter, name in ((RATE, "rate"), (PITCH, "pitch"), (RANGE, "pitch_range")):
            if self._library.espeak_SetParameter(parameter, request[name], 0):
                raise RuntimeError(f"{name} cannot be {request[name]}")
        text = request["text"].encode() + b"\0"
        self._pcm.clear()
        if self._library.espeak_Synth(text, len(text), 0, 1, 0, CHARS_UTF8, None, None):
            raise RuntimeError(f"'{request['text']}' cannot be spoken")
        return b"".join(self._pcm)

    def phonemes(self, voice: str, texts: list[str]) -> list[str]:
        """espeak-ng's phoneme mnemonics of each text, ``_`` between phonemes."""
        self._set_voice(voice)
        return [self._phonemes_of(text) for text in texts]

    def _phonemes_of(self, text: str) -> str:
        clauses = []
        encoded = ctypes.c_char_p(text.encode())
        position = ctypes.cast(encoded, ctypes.c_void_p)
        while position.value:
            clause = self._library.espeak_TextToPhonemes(
                ctypes.byref(position), CHARS_UTF8, PHONEME_SEPARATOR
            )
            clauses.append(clause.decode())
        return " ".join(clauses)

    def _set_voice(self, voice: str) -> None:
        variant = voice.partition("+")[2]
        # espeak-ng itself takes an unknown variant for none at all.
        if not Path(self._data, "voices", "!v", variant).exists():
            raise RuntimeError(f"no voice variant is named '{variant}'")
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise RuntimeError(f"no voice is named '{voice}'")

    def _receive(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._pcm.append(ctypes.string_at(samples, 2 * count))
        return 0


def _load(path: str) -> Any:
    library = ctypes.CDLL(path)
    text, number = ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "espeak_Initialize": (number, [number, number, text, number]),
        "espeak_ng_SetRandSeed": (number, [ctypes.c_long]),
        "espeak_SetSynthCallback": (None, [SynthCallback]),
        "espeak_SetVoiceByName": (number, [text]),
        "espeak_SetParameter": (number, [number, number, number]),
        "espeak_Synth": (
            number,
            [text, ctypes.c_size_t, ctypes.c_uint, number, ctypes.c_uint, ctypes.c_uint]
            + [ctypes.c_void_p] * 2,
        ),
        "espeak_TextToPhonemes": (text, [ctypes.POINTER(ctypes.c_void_p), number, number]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _answer(espeak: Espeak, line: bytes) -> bytes:
    try:
        request = json.loads(line)
        if "phonemes" in request:
            return _line({"phonemes": espeak.phonemes(request["voice"], request["phonemes"])})
        pcm = espeak.speak(request)
        return _line({"sampling_rate": espeak.sampling_rate, "bytes": len(pcm)}) + pcm
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        return _line({"error": f"{type(error).__name__}: {error}"})


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _write(answer: bytes) -> None:
    view = memoryview(answer)
    while view:
        view = view[os.write(sys.stdout.fileno(), view) :]


def main() -> None:
    """Serve requests until stdin ends."""
    espeak = Espeak(sys.argv[1], sys.argv[2])
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            _write(_answer(espeak, line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status != 0:
            _write(_line({"error": f"espeak-ng crashed (wait status {status})"}))


if __name__ == "__main__":
    main()
