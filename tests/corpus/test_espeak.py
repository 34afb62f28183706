"""The synthesiser in its own process: the same request, the same bytes."""

from collections.abc import Iterator

import numpy as np
import pytest

from am.corpus.espeak import EspeakError, EspeakProcess
from am.corpus.lexicon import CONSONANTS, arpabet, make_lexicon
from am.corpus.voices import Voice


@pytest.fixture(scope="module")
def espeak() -> Iterator[EspeakProcess]:
    with EspeakProcess() as process:
        yield process


def voice(variant: str = "m1", accent: str = "en-us") -> Voice:
    return Voice("voice001", variant, accent, rate=170, pitch=50, pitch_range=50)


def test_speech_does_not_depend_on_what_was_spoken_before(espeak: EspeakProcess) -> None:
    # f2 is breathy: its noise comes from espeak-ng's random numbers.
    requests = [
        (voice(variant, accent), text)
        for variant in ("m1", "f2", "klatt2")
        for accent in ("en-us", "en-gb-scotland")
        for text in ("SET A TIMER", "PLAY SOME JAZZ PLEASE")
    ]
    forwards = [espeak.speak(*request)[0].tobytes() for request in requests]
    backwards = [espeak.speak(*request)[0].tobytes() for request in reversed(requests)]
    assert forwards == backwards[::-1]
    with EspeakProcess() as other:
        assert [other.speak(*request)[0].tobytes() for request in requests] == forwards
    assert len(set(forwards)) == len(requests)


def test_speech_sounds(espeak: EspeakProcess) -> None:
    samples, rate = espeak.speak(voice(), "turn on the kitchen lights")
    assert rate == 22050
    assert 1.0 < len(samples) / rate < 4.0
    assert np.abs(samples.astype(np.int32)).max() > 3000


def test_an_unknown_voice_is_named_and_the_process_goes_on(espeak: EspeakProcess) -> None:
    with pytest.raises(EspeakError, match="nobody"):
        espeak.speak(voice("nobody"), "hello")
    assert len(espeak.speak(voice(), "hello")[0]) > 0


def test_known_pronunciations(espeak: EspeakProcess) -> None:
    words = ["CAR", "FIVE", "TIMER", "TO", "YORK"]
    lexicon = make_lexicon(words, ["GO TO NEW YORK", "GO TO THE CAR"], espeak)
    said = {word: [" ".join(form) for form in forms] for word, forms in lexicon.items()}
    assert said["FIVE"] == ["F AY1 V"]
    assert said["TIMER"] == ["T AY1 M ER0", "T AY1 M AH0"]
    assert said["CAR"] == ["K AA1 R", "K AA1"]
    assert "T AH0" in said["TO"]  # only within sentences
    assert said["YORK"] == ["Y AO1 R K", "Y AO1 K"]


def test_arpabet_of_mnemonics() -> None:
    assert arpabet("'e@_r_@_n", "en-us") == ("EH1", "R", "AH0", "N")
    assert arpabet("b_,aI_;_'0_t#_I_k", "en-us") == ("B", "AY1", "AA1", "D", "IH0", "K")
    assert arpabet("'eI_n_dZ_@L", "en-us") == ("EY1", "N", "JH", "AH0", "L")
    with pytest.raises(ValueError, match="qq"):
        arpabet("b_qq", "en-us")
    assert "R" in CONSONANTS.values()
