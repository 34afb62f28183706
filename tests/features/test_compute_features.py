"""Features of a whole data folder."""

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording

from am.errors import InputError
from am.features.compute import compute_features
from am.features.extractors import LfbeExtractor, LfbeSettings, MfccSettings
from am.features.feature_data import describe_features, open_feature_data
from am.processes import LocalProcesses

RATE = 16000


def make_data(folder, durations, broken=()):
    """A data folder with one noise recording a cut; ``broken`` ones have no audio file."""
    generator = np.random.default_rng(3)
    folder.mkdir()
    with CutSet.open_writer(folder / "cuts.jsonl.gz") as writer:
        for index, duration in enumerate(durations):
            path = folder / f"{index}.wav"
            soundfile.write(path, generator.normal(size=int(duration * RATE)) * 0.1, RATE)
            recording = Recording.from_file(path, recording_id=f"cut-{index}")
            if index in broken:
                path.unlink()
            writer.write(
                MonoCut(f"cut-{index}", 0, recording.duration, channel=0, recording=recording)
            )
    return folder


@pytest.mark.parametrize("jobs", [1, 2])
def test_cuts_get_their_features_in_their_order(tmp_path, monkeypatch, jobs):
    monkeypatch.setattr("am.features.feature_parts.CUTS_A_PART", 2)
    data = make_data(tmp_path / "data", [0.5, 0.31, 0.77, 0.2, 1.0])
    (tmp_path / "partial.lfbe").mkdir()
    compute_features(
        data,
        tmp_path / "partial.lfbe",
        tmp_path / "lfbe",
        "lfbe",
        LfbeSettings(),
        LocalProcesses(jobs),
    )
    (tmp_path / "partial.lfbe").rename(tmp_path / "lfbe")
    cuts = list(open_feature_data(tmp_path / "lfbe"))
    assert [cut.id for cut in cuts] == [f"cut-{index}" for index in range(5)]
    for cut in cuts:
        expected = LfbeExtractor().extract(cut.load_audio(), RATE)
        np.testing.assert_allclose(cut.load_features(), expected, rtol=1e-3)
    description = describe_features(tmp_path / "lfbe")
    assert (description.kind, description.dimension) == ("lfbe", 64)
    assert not (tmp_path / "lfbe" / "parts").exists()


def test_an_unfinished_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("am.features.feature_parts.CUTS_A_PART", 1)
    data = make_data(tmp_path / "data", [0.2, 0.2, 0.2])
    output = tmp_path / "mfcc"
    output.mkdir()
    computed = []
    from am.features import feature_parts

    original = feature_parts._make_part

    def stop_at_the_third(state, part):
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(part.cuts.name)
        original(state, part)

    monkeypatch.setattr(feature_parts, "_make_part", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        compute_features(data, output, output, "mfcc", MfccSettings())
    computed.clear()
    compute_features(data, output, output, "mfcc", MfccSettings())
    assert computed == ["cuts.00000002.jsonl.gz"]
    assert len(list(open_feature_data(output))) == 3


def test_bad_audio_is_listed_and_too_much_of_it_stops(tmp_path):
    data = make_data(tmp_path / "data", [0.2] * 4, broken=[2])
    output = tmp_path / "lfbe"
    output.mkdir()
    with pytest.raises(InputError, match="1 of 4 cuts have no features, more than 5%"):
        compute_features(data, output, output, "lfbe", LfbeSettings())
    output = tmp_path / "tolerant"
    output.mkdir()
    compute_features(data, output, output, "lfbe", LfbeSettings(), max_rejected_share=0.3)
    assert len(list(open_feature_data(output))) == 3
    cut_id, reason = (output / "rejected.tsv").read_text().strip().split("\t")
    assert cut_id == "cut-2"
    assert "2.wav" in reason
    assert "MonoCut" not in reason


def test_bad_input_is_named(tmp_path):
    output = tmp_path / "lfbe"
    output.mkdir()
    with pytest.raises(InputError, match=r"none/cuts.jsonl.gz: no such file"):
        compute_features(tmp_path / "none", output, output, "lfbe", LfbeSettings())
    data = make_data(tmp_path / "data", [0.2])
    with pytest.raises(InputError, match="no storage 'papyrus'"):
        compute_features(data, output, output, "lfbe", LfbeSettings(storage_type="papyrus"))
    with pytest.raises(InputError, match="cut cut-0 has no features"):
        open_feature_data(data)
    with pytest.raises(InputError, match="no such file"):
        describe_features(data)
