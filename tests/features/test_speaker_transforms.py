"""Speaker transforms: what they do, their place on disk, and the front end that applies them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from am.errors import InputError
from am.features.gmm_features import GmmFeatures, SpeakerNormalisation
from am.features.gmm_front_end import GmmFrontEnd
from am.features.speaker_transforms import (
    MATRICES_NAME,
    TABLE_NAME,
    SpeakerTransform,
    SpeakerTransforms,
)

FEATURES = GmmFeatures("splice", 3, 0, False, np.eye(3, dtype=np.float32) * 2)
ADAPTED = dataclasses.replace(FEATURES, speaker_adapted=True)


def random_transforms(seed: int, speakers: str = "ab") -> SpeakerTransforms:
    generator = np.random.default_rng(seed)
    return SpeakerTransforms(
        {
            name: SpeakerTransform(generator.normal(size=(3, 4)).astype(np.float32), 700.0, 0.25)
            for name in speakers
        },
        FEATURES.fingerprint,
    )


def test_a_transform_is_affine() -> None:
    transforms = random_transforms(0)
    frames = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    matrix = transforms["b"].matrix
    expected = [matrix[:, :3] @ frame + matrix[:, 3] for frame in frames]
    found = transforms.apply("b", frames)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    determinant = abs(np.linalg.det(matrix[:, :3]))
    assert transforms["b"].log_determinant == pytest.approx(np.log(determinant), rel=1e-5)
    np.testing.assert_array_equal(SpeakerTransform.identity(3).apply(frames), frames)


def test_one_after_the_other() -> None:
    first, later = random_transforms(2), random_transforms(3)
    frames = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    composed = later.after(first)
    for name in "ab":
        expected = later.apply(name, first.apply(name, frames))
        np.testing.assert_allclose(composed.apply(name, frames), expected, rtol=1e-4, atol=1e-4)


def test_saved_and_loaded(tmp_path: Path) -> None:
    transforms = random_transforms(4)
    assert not SpeakerTransforms.are_in(tmp_path)
    transforms.save(tmp_path)
    assert SpeakerTransforms.are_in(tmp_path)
    again = SpeakerTransforms.load(tmp_path, ADAPTED)
    assert list(again.of_speaker) == ["a", "b"]
    assert again.gain_per_frame == 0.25
    for name in "ab":
        np.testing.assert_array_equal(again[name].matrix, transforms[name].matrix)
        assert again[name].frames == 700.0
    header, *rows = (tmp_path / TABLE_NAME).read_text().splitlines()
    assert header.split("\t") == ["speaker", "frames", "gain_per_frame", "log_determinant"]
    assert [row.split("\t")[:3] for row in rows] == [[n, "700.0000", "0.2500"] for n in "ab"]


def test_a_speaker_of_other_data_is_named(tmp_path: Path) -> None:
    random_transforms(5).save(tmp_path)
    with pytest.raises(InputError, match=rf"{MATRICES_NAME}: speaker c: no transform"):
        SpeakerTransforms.load(tmp_path, ADAPTED)["c"]


def test_broken_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{MATRICES_NAME}: no such file"):
        SpeakerTransforms.load(tmp_path, ADAPTED)
    random_transforms(6).save(tmp_path)
    other = dataclasses.replace(ADAPTED, transform=np.eye(3, dtype=np.float32))
    with pytest.raises(InputError, match="of other features"):
        SpeakerTransforms.load(tmp_path, other)
    table = (tmp_path / TABLE_NAME).read_text()
    (tmp_path / TABLE_NAME).write_text(table.replace("a\t", "z\t"))
    with pytest.raises(InputError, match="other speakers"):
        SpeakerTransforms.load(tmp_path, ADAPTED)
    (tmp_path / TABLE_NAME).write_text(table.replace("700", "many"))
    with pytest.raises(InputError, match=rf"{TABLE_NAME}: not readable"):
        SpeakerTransforms.load(tmp_path, ADAPTED)
    (tmp_path / TABLE_NAME).unlink()
    with pytest.raises(InputError, match=rf"{TABLE_NAME}: no such file"):
        SpeakerTransforms.load(tmp_path, ADAPTED)
    (tmp_path / TABLE_NAME).write_text(table)
    (tmp_path / MATRICES_NAME).write_bytes(b"no safetensors")
    with pytest.raises(InputError, match=rf"{MATRICES_NAME}: not readable"):
        SpeakerTransforms.load(tmp_path, ADAPTED)


def test_transforms_go_with_speaker_adapted_models_alone(tmp_path: Path) -> None:
    plain, adapted, stored = (tmp_path / name for name in ("plain", "adapted", "stored"))
    for folder, features in ((plain, FEATURES), (adapted, ADAPTED)):
        folder.mkdir()
        features.save(folder)
        assert GmmFeatures.load(folder).speaker_adapted == features.speaker_adapted
    stored.mkdir()
    transforms = random_transforms(7)
    transforms.save(stored)
    normalisation = SpeakerNormalisation()
    mfcc = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    normalisation.add("a", mfcc)
    with pytest.raises(InputError, match="adapted: speaker-adapted, and no speaker transforms"):
        GmmFrontEnd.open(adapted, tmp_path, None, normalisation)
    with pytest.raises(InputError, match="plain: not speaker-adapted"):
        GmmFrontEnd.open(plain, tmp_path, stored, normalisation)

    supervision = SimpleNamespace(speaker="a")
    cut = SimpleNamespace(id="cut", supervisions=[supervision], load_features=lambda: mfcc)
    expected = 2 * (mfcc - mfcc.mean(axis=0))
    front_end = GmmFrontEnd.open(plain, tmp_path, None, normalisation)
    np.testing.assert_allclose(front_end.model_input(cut), expected, atol=1e-5)
    front_end = GmmFrontEnd.open(adapted, tmp_path, stored, normalisation)
    found = front_end.model_input(cut)
    np.testing.assert_allclose(found, transforms.apply("a", expected), atol=1e-4)
