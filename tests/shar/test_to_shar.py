"""What is written into shards: lhotse and the reader get back the source."""

import gzip
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lhotse import CutSet

from am.errors import InputError
from am.features.compute import compute_features
from am.features.extractors import LfbeSettings, make_extractor
from am.features.feature_data import open_feature_data
from am.features.low_frame_rate import num_low_rate_frames
from am.nnet.data import load_features
from am.processes import LocalProcesses
from am.shar.index import length_limit
from am.shar.labels import CODED, LabelsInShards
from am.shar.read import SharData
from am.shar.shard_files import SharSettings
from am.shar.write import write_shar
from am.storage import RaggedStore, shard_paths
from tests.nnet.small_data import SmallTask, make_features
from tests.shar.shar_cases import make_audio, make_soft_labels

SETTINGS = SharSettings(shard_size=4)


@pytest.fixture
def task(tmp_path):
    return SmallTask(tmp_path, num_labeled=10, num_unlabeled=9)


def new_folder(path):
    path.mkdir()
    return path


def test_lhotse_reads_features_and_plain_soft_labels(tmp_path, task):
    store = RaggedStore(make_soft_labels(tmp_path / "soft", task.unlabeled, leave_out=1))
    output = new_folder(tmp_path / "out")
    settings = SharSettings(shard_size=4, soft_label_form="plain")
    write_shar(task.unlabeled, output, settings, [store.folder])
    originals = {cut.id: cut for cut in open_feature_data(task.unlabeled)}
    read = []
    for cut in CutSet.from_shar(in_dir=output / "shar"):
        read.append(cut.id)
        expected = store[cut.id]
        pdf_ids, logits = cut.load_soft_label_pdf_ids(), cut.load_soft_label_logits()
        assert (pdf_ids.dtype, logits.dtype) == (np.uint16, np.float32)
        np.testing.assert_array_equal(pdf_ids, expected["pdf_ids"])
        np.testing.assert_array_equal(logits, expected["logits"])
        np.testing.assert_array_equal(cut.load_features(), load_features(originals[cut.id]))
        assert cut.label_frame_shift == 0.03
        assert cut.duration == originals[cut.id].duration
    assert read == list(store)
    left_out = (output / "without_labels.txt").read_text().split()
    assert left_out == [next(reversed(originals))]


@pytest.mark.parametrize("form", ["coded", "plain"])
def test_reading_back_equals_the_source(tmp_path, task, form):
    soft = RaggedStore(make_soft_labels(tmp_path / "soft", task.labeled))
    hard = RaggedStore(task.labels / "labeled")
    output = new_folder(tmp_path / "out")
    settings = SharSettings(shard_size=4, soft_label_form=form)
    facts = write_shar(task.labeled, output, settings, [soft.folder, hard.folder])
    data = SharData(output)
    assert (CODED in data.facts.fields) == (form == "coded")
    originals = list(open_feature_data(task.labeled))
    read = list(data)
    assert [cut.id for cut in read] == [cut.id for cut in originals]
    for kind, store in (("pdf-ids", hard), ("soft labels", soft)):
        labels = LabelsInShards(data, kind).of(0, read)
        assert set(labels) == set(store)
        for cut_id in labels:
            assert labels[cut_id].keys() == store[cut_id].keys()
            for name, array in store[cut_id].items():
                np.testing.assert_array_equal(labels[cut_id][name], array)
                assert labels[cut_id][name].dtype == array.dtype
    for cut, original in zip(read, originals, strict=True):
        np.testing.assert_array_equal(load_features(cut), load_features(original))
    frames = np.concatenate([hard[cut.id]["pdf_ids"] for cut in originals])
    assert facts.pdf_counts == tuple(np.bincount(frames, minlength=6))


def test_the_index_tells_what_is_there(tmp_path, task):
    output = new_folder(tmp_path / "out")
    write_shar(task.labeled, output, SETTINGS)
    shards = SharData(output).shards
    originals = list(open_feature_data(task.labeled))
    assert [shard.num_cuts for shard in shards] == [4, 4, 2]
    for start, shard in zip((0, 4, 8), shards, strict=True):
        cuts = originals[start : start + 4]
        lengths = [cut.num_frames for cut in cuts]
        assert shard.num_frames == sum(map(num_low_rate_frames, lengths))
        assert shard.seconds == pytest.approx(sum(cut.duration for cut in cuts))
        counted = sorted(limit for limit, count in shard.lengths for _ in range(count))
        assert counted == sorted(map(length_limit, lengths))
        for field, sha256 in shard.sha256.items():
            path = output / "shar" / shard.file_name(field)
            content = path.read_bytes()
            content = gzip.decompress(content) if field == "cuts" else content
            assert hashlib.sha256(content).hexdigest() == sha256
    values = json.loads((output / "shar.json").read_text())
    assert values["num_cuts"] == 10
    assert values["num_frames"] == sum(num_low_rate_frames(cut.num_frames) for cut in originals)
    assert values["hours"] == pytest.approx(sum(c.duration for c in originals) / 3600, abs=1e-4)


@given(st.integers(1, 10**6))
def test_a_length_limit_is_little_more_than_the_length(num_frames):
    limit = length_limit(num_frames)
    assert num_frames <= limit <= max(8, 1.08 * num_frames + 1)
    assert length_limit(limit) == limit


@pytest.mark.parametrize("audio_format", ["flac", "wav", "opus"])
def test_audio_and_the_features_computed_from_it(tmp_path, audio_format):
    audio = make_audio(tmp_path / "audio", 4)
    extractor = LfbeSettings(num_mel_bins=20)
    output = new_folder(tmp_path / "out")
    settings = SharSettings(shard_size=3, content="audio", audio_format=audio_format)
    write_shar(audio, output, settings, extractor=extractor, executor=LocalProcesses(2))
    originals = list(CutSet.from_jsonl_lazy(audio / "cuts.jsonl.gz"))
    lhotse_cuts = CutSet.from_shar(in_dir=output / "shar")
    for cut, by_lhotse, original in zip(SharData(output), lhotse_cuts, originals, strict=True):
        samples = original.load_audio()
        assert by_lhotse.id == cut.id == original.id
        assert by_lhotse.supervisions[0].text == "A B"
        stored = by_lhotse.load_audio()
        np.testing.assert_array_equal(cut.load_audio(), stored)
        assert stored.shape == samples.shape
        if audio_format == "opus":
            assert np.corrcoef(stored[0], samples[0])[0, 1] > 0.5
        else:
            np.testing.assert_allclose(stored, samples, atol=0 if audio_format == "flac" else 4e-5)
        features = load_features(cut)
        assert features.shape == (cut.num_frames, 20)
        np.testing.assert_array_equal(features, make_extractor(extractor).extract(stored, 16000))


def test_features_from_stored_audio_equal_the_stored_features(tmp_path):
    audio = make_audio(tmp_path / "cuts", 6)
    features = new_folder(tmp_path / "lfbe")
    compute_features(audio, features, features, "lfbe", LfbeSettings(num_mel_bins=20))
    folders = []
    for content in ("both", "audio"):
        folders.append(new_folder(tmp_path / content))
        write_shar(features, folders[-1], SharSettings(shard_size=4, content=content))
    for one, other in zip(*map(SharData, folders), strict=True):
        assert one.features.storage_type != other.features.storage_type
        # Stored in half precision.
        np.testing.assert_allclose(load_features(one), load_features(other), rtol=1e-3, atol=1e-3)


def test_a_killed_run_goes_on(tmp_path, task, monkeypatch):
    output = new_folder(tmp_path / "out")
    write_shar(task.unlabeled, output, SETTINGS)
    first = list(SharData(output).shards)
    (output / "shar.json").unlink()
    loaded = []

    def counting_load(cut):
        loaded.append(cut.id)
        if len(loaded) == 6:
            raise KeyboardInterrupt
        return load_features(cut)

    monkeypatch.setattr("am.shar.shard_files.load_features", counting_load)
    with pytest.raises(KeyboardInterrupt):
        write_shar(task.unlabeled, output, SETTINGS)
    write_shar(task.unlabeled, output, SETTINGS)
    ids = [cut.id for cut in open_feature_data(task.unlabeled)]
    # The first shard was finished, the second was not.
    assert loaded == ids[:6] + ids[4:]
    assert not (output / "entries").exists()
    for one, other in zip(first, SharData(output).shards, strict=True):
        assert one.sha256["features"] == other.sha256["features"]


def test_bad_input_is_named(tmp_path, task):
    def write(name, data=task.unlabeled, stores=(), settings=SETTINGS, **options):
        write_shar(data, new_folder(tmp_path / name), settings, stores, **options)

    soft = make_soft_labels(tmp_path / "soft", task.unlabeled)
    with pytest.raises(InputError, match=r"labeled: none of its 10 cuts has labels"):
        write("out1", task.labeled, [soft])
    with pytest.raises(InputError, match="a second store of soft labels"):
        write("out2", stores=[soft, soft])
    with pytest.raises(InputError, match="has no recording; give cuts with audio"):
        write("out3", settings=SharSettings(content="both"))
    audio = make_audio(tmp_path / "audio", 4)
    with pytest.raises(InputError, match=r"audio: has no features; run steps/make_"):
        write("out4", audio)
    make_features(tmp_path / "unlabeled2" / "unlabeled", 9, seed=2, equally_long=True)
    with pytest.raises(InputError, match=r"soft: cut unlabeled-2-000: \d+ labels, but its 60 "):
        write("out5", tmp_path / "unlabeled2" / "unlabeled", [soft])
    path = shard_paths(soft, 0)[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="checksum differs"):
        write("out6", stores=[soft])


def test_unreadable_cuts_are_listed_or_stop(tmp_path):
    audio = make_audio(tmp_path / "audio", 6)
    (audio / "1.flac").write_bytes(b"no audio")
    settings = SharSettings(shard_size=2, content="audio")
    with pytest.raises(InputError, match=r"2 of 6 cuts are unreadable.*the first is audio-1-0.0: "):
        write_shar(audio, new_folder(tmp_path / "out"), settings, extractor=LfbeSettings())
    write_shar(audio, tmp_path / "out", settings, extractor=LfbeSettings(), max_rejected_share=0.5)
    rejected = (tmp_path / "out" / "rejected.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in rejected] == ["audio-1-0.0", "audio-1-0.5"]
    assert [shard.number for shard in SharData(tmp_path / "out").shards] == [0, 2]
    assert len(list(SharData(tmp_path / "out"))) == len(
        list(CutSet.from_shar(in_dir=tmp_path / "out" / "shar"))
    )
