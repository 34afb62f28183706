"""Model input of the GMMs against loops."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from am.errors import InputError
from am.features.gmm_features import (
    GmmFeatures,
    SpeakerNormalisation,
    check_mfcc_dim,
    delta_features,
    fault_of_features,
    speaker_of,
    splice,
    splice_indices,
)


def loop_deltas(frames: np.ndarray, order: int = 2, window: int = 2) -> np.ndarray:
    """Kaldi's DeltaFeatures::Process, frame by frame."""
    scales = [np.ones(1)]
    for _ in range(order):
        before = scales[-1]
        offset = (len(before) - 1) // 2
        after = np.zeros(len(before) + 2 * window)
        normaliser = 0.0
        for j in range(-window, window + 1):
            normaliser += j * j
            for k in range(-offset, offset + 1):
                after[j + k + offset + window] += j * before[k + offset]
        scales.append(after / normaliser)
    rows = []
    for t in range(len(frames)):
        row = []
        for weights in scales:
            reach = (len(weights) - 1) // 2
            total = np.zeros(frames.shape[1])
            for j in range(-reach, reach + 1):
                total += weights[j + reach] * frames[min(max(t + j, 0), len(frames) - 1)]
            row.append(total)
        rows.append(np.concatenate(row))
    return np.array(rows)


@pytest.mark.parametrize("num_frames", [1, 3, 20])
def test_deltas(num_frames: int) -> None:
    frames = np.random.default_rng(0).normal(0, 5, (num_frames, 13)).astype(np.float32)
    found = delta_features(13).model_input(frames)
    np.testing.assert_allclose(found, loop_deltas(frames), atol=1e-4)


def test_splice_repeats_the_edges() -> None:
    frames = np.arange(3.0)[:, None]
    assert splice(frames, 2).tolist() == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 2], [0, 1, 2, 2, 2]]


def test_splicing_never_crosses_utterances() -> None:
    lengths = np.array([3, 1, 4])
    rows = splice_indices(lengths, 3)
    frames = np.random.default_rng(1).normal(0, 1, (8, 2))
    parts = np.split(frames, np.cumsum(lengths)[:-1])
    expected = np.concatenate([splice(part, 3) for part in parts])
    assert np.array_equal(frames[rows].reshape(8, -1), expected)


def test_normalisation_is_per_speaker() -> None:
    generator = np.random.default_rng(2)
    speech = {name: generator.normal(mean, 3, (4, 50, 5)) for name, mean in [("a", 5), ("b", -9)]}
    cuts = [
        SimpleNamespace(
            id=f"{name}{i}",
            supervisions=[SimpleNamespace(speaker=name)],
            load_features=lambda frames=frames: frames,
        )
        for name, utterances in speech.items()
        for i, frames in enumerate(utterances)
    ]
    normalisation = SpeakerNormalisation.from_cuts(cuts)
    for name, utterances in speech.items():
        frames = utterances.reshape(-1, 5)
        centred = normalisation.apply(name, frames)
        np.testing.assert_allclose(centred, frames - frames.mean(axis=0), atol=1e-4)
        scaled = normalisation.apply(name, frames, normalise_variance=True)
        np.testing.assert_allclose(scaled.std(axis=0), 1.0, rtol=1e-4)
    with pytest.raises(InputError, match="speaker c"):
        normalisation.apply("c", speech["a"][0])


def test_a_constant_coefficient_survives_variance_normalisation() -> None:
    normalisation = SpeakerNormalisation()
    normalisation.add("a", np.ones((10, 2)))
    assert np.isfinite(normalisation.apply("a", np.ones((10, 2)), True)).all()


def test_frames_that_are_not_finite_do_not_count() -> None:
    frames = np.random.default_rng(6).normal(3, 1, (20, 4))
    normalisation = SpeakerNormalisation()
    normalisation.add("a", frames)
    normalisation.add("a", np.array([[0.0, np.nan, 0.0, 0.0], [0.0, 0.0, np.inf, 0.0]]))
    normalisation.add("b", np.full((5, 4), np.nan))
    np.testing.assert_allclose(normalisation.apply("a", frames), frames - frames.mean(0), atol=1e-6)
    assert np.isfinite(normalisation.apply("b", frames, normalise_variance=True)).all()


def test_normalisations_of_parts_merge_to_the_whole() -> None:
    parts = np.random.default_rng(7).normal(3, 2, (4, 20, 4))
    whole, merged = SpeakerNormalisation(), SpeakerNormalisation()
    for number, frames in enumerate(parts):
        whole.add(f"s{number % 2}", frames)
        part = SpeakerNormalisation()
        part.add(f"s{number % 2}", frames)
        merged.merge(part)
    for speaker in ("s0", "s1"):
        np.testing.assert_allclose(
            merged.apply(speaker, parts[0], True), whole.apply(speaker, parts[0], True), rtol=1e-6
        )


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        (np.zeros((3, 2)), None),
        (np.zeros((0, 2)), "features without a frame"),
        (np.array([[0.0, np.nan]]), "features hold NaN or infinity"),
        (np.array([[-np.inf, 0.0]]), "features hold NaN or infinity"),
    ],
)
def test_faults_of_features(frames: np.ndarray, fault: str | None) -> None:
    assert fault_of_features(frames) == fault
    assert delta_features(2).model_input(frames).shape == (len(frames), 6)


def test_a_cut_without_speaker_is_its_own() -> None:
    assert speaker_of(SimpleNamespace(id="u1", supervisions=[])) == "u1"
    nameless = SimpleNamespace(id="u2", supervisions=[SimpleNamespace(speaker=None)])
    assert speaker_of(nameless) == "u2"


def test_saved_and_loaded(tmp_path: Path) -> None:
    transform = np.random.default_rng(3).normal(0, 1, (4, 21)).astype(np.float32)
    features = GmmFeatures("splice", 3, 3, True, transform)
    features.save(tmp_path)
    again = GmmFeatures.load(tmp_path)
    assert (again.kind, again.mfcc_dim, again.context, again.dim) == ("splice", 3, 3, 4)
    assert again.normalise_variance
    frames = np.random.default_rng(4).normal(0, 1, (9, 3)).astype(np.float32)
    assert np.array_equal(again.model_input(frames), features.model_input(frames))
    (tmp_path / "transform.safetensors").unlink()
    with pytest.raises(InputError, match=r"transform\.safetensors"):
        GmmFeatures.load(tmp_path)


def test_composed_transform_is_applied_after() -> None:
    generator = np.random.default_rng(5)
    features = delta_features(3)
    matrix = generator.normal(0, 1, (9, 9))
    frames = generator.normal(0, 1, (12, 3)).astype(np.float32)
    found = features.compose(matrix).model_input(frames)
    np.testing.assert_allclose(found, features.model_input(frames) @ matrix.T, atol=1e-4)


def test_other_width_is_an_error() -> None:
    with pytest.raises(InputError, match="u1: MFCC of 20 coefficients"):
        check_mfcc_dim(delta_features(13), np.zeros((5, 20)), "u1")
