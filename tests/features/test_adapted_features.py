"""Speaker-adapted features of a data folder, against the steps done one by one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from lhotse import CutSet, MonoCut, SupervisionSegment

from am.errors import InputError
from am.features.adapted import adapted_kind, write_adapted_features
from am.features.extractors import LfbeSettings, MfccSettings
from am.features.feature_data import describe_features, open_feature_data, write_feature_settings
from am.features.gmm_features import GmmFeatures
from am.features.speaker_transforms import SpeakerTransform, SpeakerTransforms
from am.features.storage import Float16FileWriter
from am.processes import LocalProcesses
from tests.stored_features import store_features

NUM_CEPSTRA, DIM, CONTEXT = 3, 2, 1
GENERATOR = np.random.default_rng(0)
FEATURES = GmmFeatures(
    "splice",
    NUM_CEPSTRA,
    CONTEXT,
    False,
    GENERATOR.normal(size=(DIM, 3 * NUM_CEPSTRA)).astype(np.float32),
    speaker_adapted=True,
)
TRANSFORMS = SpeakerTransforms(
    {
        speaker: SpeakerTransform(GENERATOR.normal(size=(DIM, DIM + 1)).astype(np.float32))
        for speaker in "ab"
    },
    FEATURES.fingerprint,
)
MFCC = {
    (f"{speaker}-{index}", speaker): GENERATOR.normal(3, 1, (6 + index, NUM_CEPSTRA))
    for index in range(3)
    for speaker in "ab"
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """MFCC of two speakers."""
    folder = tmp_path / "mfcc"
    folder.mkdir()
    with (
        Float16FileWriter(folder / "features") as storage,
        CutSet.open_writer(folder / "cuts.jsonl.gz") as cuts,
    ):
        for (cut_id, speaker), mfcc in MFCC.items():
            duration = len(mfcc) / 100
            features = store_features(storage, cut_id, mfcc, "mfcc")
            supervision = SupervisionSegment(cut_id, cut_id, 0, duration, speaker=speaker)
            cuts.write(MonoCut(cut_id, 0, duration, 0, [supervision], features))
    write_feature_settings(folder, "mfcc", NUM_CEPSTRA, MfccSettings(num_cepstra=NUM_CEPSTRA))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The features of a GMM, its transforms beside them."""
    folder = tmp_path / "model"
    folder.mkdir()
    FEATURES.save(folder)
    TRANSFORMS.save(folder)
    return folder


def write(data: Path, model: Path, jobs: int = 1) -> Path:
    output = data.parent / "fmllr"
    aside = data.parent / "partial.fmllr"
    aside.mkdir()
    write_adapted_features(data, model, model, aside, output, LocalProcesses(jobs))
    return aside.rename(output)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_step_is_done_in_order(
    data: Path, model: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setattr("am.features.feature_parts.CUTS_A_PART", 2)
    cuts = list(open_feature_data(write(data, model, jobs)))
    assert [(cut.id, cut.supervisions[0].speaker) for cut in cuts] == list(MFCC)
    for cut, (speaker, mfcc) in zip(
        cuts, [(key[1], rows) for key, rows in MFCC.items()], strict=True
    ):
        mean = np.concatenate([rows for key, rows in MFCC.items() if key[1] == speaker]).mean(0)
        matrix = TRANSFORMS[speaker].matrix
        expected = []
        for frame in range(len(mfcc)):
            around = [min(max(frame + step, 0), len(mfcc) - 1) for step in (-1, 0, 1)]
            adapted = FEATURES.transform @ (mfcc[around] - mean).ravel()
            expected.append(matrix[:, :DIM] @ adapted + matrix[:, DIM])
        np.testing.assert_allclose(cut.load_features(), expected, rtol=2e-2, atol=2e-2)


def test_the_folder_says_what_they_are(data: Path, model: Path) -> None:
    description = describe_features(write(data, model))
    assert description.kind == adapted_kind(FEATURES)
    assert (description.dimension, description.frame_shift) == (DIM, 0.01)
    other = dataclasses.replace(FEATURES, transform=FEATURES.transform + 1)
    assert adapted_kind(other) != adapted_kind(FEATURES)


def test_cuts_that_cannot_be_used_are_listed(data: Path, model: Path) -> None:
    with (data / "features.f16").open("r+b") as stream:
        stream.write(np.full(NUM_CEPSTRA, np.nan, "<f2").tobytes())
    with pytest.raises(InputError, match=r"1 of 6 cuts .* a-0: features hold NaN or infinity"):
        write(data, model)


def test_other_features_or_speakers_are_named(data: Path, model: Path) -> None:
    strange = SpeakerTransforms({"a": TRANSFORMS["a"]}, FEATURES.fingerprint)
    strange.save(model)
    with pytest.raises(InputError, match="speaker b: no transform"):
        write(data, model)
    write_feature_settings(data, "lfbe", NUM_CEPSTRA, LfbeSettings())
    with pytest.raises(InputError, match=r"lfbe of 3 values .* takes mfcc of 3"):
        write_adapted_features(data, model, model, data.parent / "x", data.parent / "y")
