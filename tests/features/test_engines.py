"""The engines compute the same features of speech, and the one that is asked for is used."""

import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from am.corpus.espeak import EspeakProcess
from am.corpus.voices import Voice
from am.errors import InputError
from am.features.engines import CPU, kaldifeat_problem, pick_engine
from am.features.extractors import ENERGY_FLOOR, LfbeSettings, MfccSettings, make_extractor

ROOT = Path(__file__).resolve().parents[2]
SPEECHOCEAN = Path(os.environ.get("MEGAHOUR_SPEECHOCEAN", ROOT / "../shared/data/speechocean762"))
RATE = 22050
CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
)
needs_kaldifeat = pytest.mark.skipif(
    kaldifeat_problem() is not None, reason=f"{kaldifeat_problem()}"
)


@pytest.fixture(scope="module")
def espeak_speech() -> list[np.ndarray]:
    """Utterances of several lengths, some shorter than a window, digital silence among them."""
    voice = Voice("voice001", "f2", "en-us", rate=170, pitch=50, pitch_range=50)
    with EspeakProcess() as espeak:
        spoken = [
            espeak.speak(voice, text)[0].astype(np.float32) / 32768.0
            for text in ("set a timer", "hello", "turn on the kitchen lights in ten minutes")
        ]
    cut = [spoken[1][2000 : 2000 + length] for length in (150, 330, 551, 552, 1103)]
    return [*spoken, *cut, np.zeros(4000, np.float32), np.concatenate(spoken * 4)]


def computed(kind, engine, waves, rate, device=CPU):
    settings = kind(sampling_rate=rate, engine=engine)
    return make_extractor(settings, device).extract_batch(waves, rate)


def lfbe_by_definition(wave):
    """(T, 64) float64: Kaldi's definition with its default options, step by step."""
    length, shift, fft = int(RATE * 0.025), int(RATE * 0.01), 1024
    num_frames = (len(wave) + shift // 2) // shift
    before = (length - shift) // 2
    after = (num_frames - 1) * shift + length - before - len(wave)
    padded = np.pad(wave.astype(np.float64), (before, after), "symmetric")
    frames = np.stack([padded[shift * t : shift * t + length] for t in range(num_frames)])
    frames -= frames.mean(1, keepdims=True)
    frames -= 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / (length - 1))) ** 0.85
    power = np.abs(np.fft.rfft(frames * window, fft))[:, :-1] ** 2

    def mel(hertz):
        return 1127 * np.log1p(hertz / 700)

    edges = np.linspace(mel(20.0), mel(RATE / 2 - 400.0), 66)
    found = mel(np.arange(fft // 2) * RATE / fft)[:, None]
    rising = (found - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - found) / (edges[2:] - edges[1:-1])
    energies = power @ np.minimum(rising, falling).clip(0.0)
    return np.log(np.maximum(energies, ENERGY_FLOOR))


def differences(kind, waves, rate, device):
    """Of every value, between the two engines."""
    expected = computed(kind, "kaldi_native_fbank", waves, rate)
    features = computed(kind, "kaldifeat", waves, rate, device)
    assert {matrix.device.type for matrix in features} == {device.type}
    assert [matrix.shape for matrix in features] == [matrix.shape for matrix in expected]
    return (torch.cat(features).cpu() - torch.cat(expected)).abs()


@pytest.mark.kaldifeat
@needs_kaldifeat
@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("kind", [LfbeSettings, MfccSettings])
def test_engines_agree_on_espeak_speech(kind, device, espeak_speech):
    assert differences(kind, espeak_speech, RATE, torch.device(device)).max() < 1e-3


@pytest.mark.kaldifeat
@needs_kaldifeat
@pytest.mark.skipif(not SPEECHOCEAN.is_dir(), reason="the corpus is not here")
@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("kind", [LfbeSettings, MfccSettings])
def test_engines_agree_on_recorded_speech(kind, device):
    paths = sorted(SPEECHOCEAN.glob("WAVE/*/*"))[::100]
    waves, rates = zip(*(soundfile.read(path, dtype="float32") for path in paths), strict=True)
    assert set(rates) == {16000}
    found = differences(kind, waves, 16000, torch.device(device))
    # Bands 85 dB below the loudest of their frame are at the end of single precision.
    assert (found > 1e-3).float().mean() < 1e-4
    assert found.max() < 2e-3


@pytest.mark.parametrize(
    "engine",
    [
        "kaldi_native_fbank",
        pytest.param("kaldifeat", marks=[pytest.mark.kaldifeat, needs_kaldifeat]),
    ],
)
def test_lfbe_are_those_of_the_definition_in_double_precision(engine, espeak_speech):
    wave = espeak_speech[2]
    (features,) = computed(LfbeSettings, engine, [wave], RATE)
    np.testing.assert_allclose(features, lfbe_by_definition(wave), rtol=0.0, atol=1e-3)


@pytest.mark.parametrize("engine", ["auto", "kaldi_native_fbank"])
def test_a_batch_is_its_utterances_one_by_one(engine, espeak_speech):
    extractor = make_extractor(LfbeSettings(sampling_rate=RATE, engine=engine))
    together = extractor.extract_batch(espeak_speech, RATE)
    for wave, features in zip(espeak_speech, together, strict=True):
        np.testing.assert_allclose(features, extractor.extract(wave, RATE), atol=1e-4)


@pytest.fixture
def kaldifeat_of_another_torch(tmp_path, monkeypatch):
    """A kaldifeat that fails as the real one does."""
    (tmp_path / "kaldifeat.py").write_text(
        "raise ImportError('kaldifeat was built using PyTorch 1.9\\nBut you use PyTorch 2.13')\n"
    )
    monkeypatch.delitem(sys.modules, "kaldifeat", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    kaldifeat_problem.cache_clear()
    yield
    kaldifeat_problem.cache_clear()


def test_kaldifeat_built_for_another_torch_is_an_error_of_one_line(kaldifeat_of_another_torch):
    with pytest.raises(InputError, match=r"PyTorch 1.9 But.*utils/install_kaldifeat.sh") as raised:
        computed(LfbeSettings, "kaldifeat", [np.zeros(800)], 16000)
    assert "\n" not in str(raised.value)


def test_auto_goes_on_without_a_broken_kaldifeat_and_says_so(kaldifeat_of_another_torch, caplog):
    with caplog.at_level(logging.WARNING):
        assert pick_engine("auto") == "kaldi_native_fbank"
    assert "PyTorch 1.9" in caplog.text


def test_kaldi_native_fbank_is_used_where_it_is_asked_for():
    assert pick_engine("kaldi_native_fbank") == "kaldi_native_fbank"


def test_an_engine_that_is_left_open_is_no_part_of_what_features_are():
    assert "engine" not in LfbeSettings().to_dict()
    assert MfccSettings(engine="kaldifeat").to_dict()["engine"] == "kaldifeat"
