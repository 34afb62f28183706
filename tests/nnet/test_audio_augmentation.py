"""Features from changed audio: right frames, right labels, right noise, the same when repeated."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, MonoCut, Recording

from am.corpus.acoustics import active_power
from am.errors import InputError
from am.features.batch_audio import BatchAudio
from am.features.compute import compute_features
from am.features.extractors import LfbeSettings, make_extractor
from am.features.feature_data import open_feature_data
from am.nnet.audio_augmentation import (
    AudioAugmentationSettings,
    AudioAugmenter,
    audio_augmenter,
    labels_at_speed,
)
from am.nnet.batch import AudioBatch
from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from am.nnet.data import BatchingSettings, LabelledCuts, load_features
from am.storage import RaggedStore
from tests.nnet.small_data import (
    LSTM,
    NUM_PDFS,
    TRAINER,
    kill_at_updates,
    make_labels,
    make_senones,
)

RATE = 16000
TONES = 250.0 * 2.0 ** np.arange(NUM_PDFS)[:5]
ALL = AudioAugmentationSettings((0.9, 1.0, 1.1), room_probability=0.5, rooms=2)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def make_tones(folder, num_cuts, seed):
    """Feature data with audio: tones of 0.2 s or more; cut id → (T,) which tone a frame has."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    truth = {}
    with CutSet.open_writer(folder / "cuts.jsonl.gz") as writer:
        for index in range(num_cuts):
            cut_id = f"{folder.name}-{index:03d}"
            # No tone twice in a row, so that a boundary can be found.
            steps = generator.integers(1, 5, size=4)
            tones = np.cumsum(steps) % 5
            frames = np.repeat(tones, generator.integers(20, 40, size=4))
            time = np.arange(len(frames) * RATE // 100) / RATE
            tone = TONES[np.repeat(frames, RATE // 100)]
            noise = 0.002 * generator.normal(size=len(time))
            path = folder / f"{cut_id}.wav"
            soundfile.write(path, 0.3 * np.sin(2 * np.pi * tone * time) + noise, RATE)
            recording = Recording.from_file(path, recording_id=cut_id)
            writer.write(MonoCut(cut_id, 0, recording.duration, 0, recording=recording))
            truth[cut_id] = frames
    output = folder.parent / f"{folder.name}_lfbe"
    output.mkdir()
    compute_features(folder, output, output, "lfbe", LfbeSettings(num_mel_bins=24))
    return output, truth


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    data, truth = make_tones(folder / "labeled", 8, 1)
    senones = make_senones(folder / "senones")
    make_labels(folder / "labels" / "labeled", truth, senones)
    dev, dev_truth = make_tones(folder / "dev", 3, 2)
    make_labels(folder / "labels" / "dev", dev_truth, senones)
    return folder, data, dev, senones


def first_cut(data):
    return next(iter(open_feature_data(data)))


def test_unchanged_audio_gives_the_stored_features(tones):
    _, data, _, _ = tones
    augmenter = AudioAugmenter(data, AudioAugmentationSettings(speed_factors=(1.0,)))
    for cut in open_feature_data(data):
        samples, index = augmenter.audio(cut, seed=3)
        features = make_extractor(augmenter.features).extract(samples, RATE)
        np.testing.assert_allclose(features, load_features(cut), rtol=1e-3, atol=1e-3)
        assert index.tolist() == list(range(-(-cut.num_frames // 3)))


@pytest.mark.parametrize("factor", [0.8, 1.1, 1.5])
def test_labels_follow_the_speed(tones, factor):
    folder, data, _, _ = tones
    labels = RaggedStore(folder / "labels" / "labeled")
    augmenter = AudioAugmenter(data, AudioAugmentationSettings(speed_factors=(factor,)))
    wrong, total = 0, 0
    for cut in open_feature_data(data):
        samples, index = augmenter.audio(cut, seed=3)
        features = make_extractor(augmenter.features).extract(samples, RATE)
        assert len(features) == pytest.approx(cut.num_frames / factor, abs=2)
        assert len(index) == -(-len(features) // 3)
        found = labels[cut.id]["pdf_ids"][index]
        # The loudest channel of a new frame tells the tone, and so what its label should be.
        middle = np.minimum(3 * np.arange(len(index)) + 1, len(features) - 1)
        peak = features[middle].argmax(1)
        mel = 1127 * np.log1p(TONES * factor / 700)
        low, high = 1127 * np.log1p(np.array([20.0, RATE / 2 - 400]) / 700)
        expected = (mel - low) / (high - low) * 25 - 1
        heard = np.abs(peak[:, None] - expected).argmin(1)
        wrong += (heard != found).sum()
        total += len(found)
    # A frame whose window holds two tones may go either way: at most one a boundary.
    assert wrong <= 8 * 3
    assert total > 8 * 15


def test_labels_at_speed_by_hand():
    assert labels_at_speed(9, 9, 1.0).tolist() == [0, 1, 2]
    # Twice as fast: middles 1, 4 were frames 2 and 8, nearest to middles 1 and 7.
    assert labels_at_speed(9, 5, 2.0).tolist() == [0, 2]
    # Half as fast: middles 1, 4, 7, … were 0.5, 2, 3.5, 5, 6.5, 8.
    assert labels_at_speed(9, 18, 0.5).tolist() == [0, 0, 1, 1, 2, 2]


def test_noise_has_the_asked_level(tones):
    _, data, dev, _ = tones
    settings = AudioAugmentationSettings(
        noise_probability=1.0, noises=dev, lowest_snr_db=7.0, highest_snr_db=7.0
    )
    augmenter = AudioAugmenter(data, settings)
    cut = first_cut(data)
    clean = cut.load_audio()[0]
    noisy, factor = augmenter.augmented(cut, seed=5)
    assert factor == 1.0
    noise_power = np.mean((noisy - clean).astype(np.float64) ** 2)
    assert 10 * np.log10(active_power(clean) / noise_power) == pytest.approx(7.0, abs=0.1)


def test_rooms_keep_length_and_level_and_ring_on(tones):
    _, data, _, _ = tones
    settings = AudioAugmentationSettings(room_probability=1.0, rooms=2)
    cut = first_cut(data)
    clean = cut.load_audio()[0]
    wet, _ = AudioAugmenter(data, settings).augmented(cut, seed=5)
    assert len(wet) == len(clean)
    assert active_power(wet) == pytest.approx(active_power(clean), rel=1e-3)
    assert np.corrcoef(wet, clean)[0, 1] < 0.999


def test_a_cut_depends_on_the_pass_and_itself_alone(tones):
    folder, data, _, _ = tones
    store = RaggedStore(folder / "labels" / "labeled")
    manifest = data / "cuts.jsonl.gz"
    found = []
    for seconds, workers in ((2.0, 0), (6.0, 1)):
        cuts = LabelledCuts(
            "labeled",
            manifest,
            store,
            BatchingSettings(seconds, 2, workers),
            AudioAugmenter(data, ALL),
        )
        found.append(
            {
                cut_id: batch.features[row, : batch.lengths[row]]
                for batch in cuts.batches(seed=1)
                for row, cut_id in enumerate(batch.cut_ids)
            }
        )
    assert found[0].keys() == found[1].keys() == set(store)
    assert all(torch.equal(found[0][cut_id], found[1][cut_id]) for cut_id in store)
    augmenter = AudioAugmenter(data, ALL)
    lengths = {len(augmenter.audio(first_cut(data), seed)[0]) for seed in range(12)}
    assert len(lengths) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_features_that_wait_for_the_gpu_are_the_same(tones, monkeypatch, workers):
    folder, data, _, _ = tones
    store = RaggedStore(folder / "labels" / "labeled")
    cuts = LabelledCuts(
        "labeled",
        data / "cuts.jsonl.gz",
        store,
        BatchingSettings(4.0, 2, workers),
        AudioAugmenter(data, ALL),
    )
    at_once = list(cuts.batches(seed=1))
    monkeypatch.setattr(BatchAudio, "waits_for_gpu", True)
    for now, waiting in zip(at_once, cuts.batches(seed=1), strict=True):
        assert isinstance(waiting, AudioBatch)
        assert waiting.num_frames == now.num_frames
        later = waiting.to(torch.device("cpu"))
        assert later.cut_ids == now.cut_ids
        for name in ("features", "lengths", "pdf_ids"):
            torch.testing.assert_close(getattr(later, name), getattr(now, name))


def test_training_on_changed_audio_goes_on_exactly(tones, tmp_path, monkeypatch):
    folder, data, dev, senones = tones
    inputs = data, dev, senones, folder / "labels"
    trainer = dataclasses.replace(TRAINER, checkpoint_updates=1)
    settings = CrossEntropySettings(LSTM, trainer, BatchingSettings(2.0, 2), epochs=2, audio=ALL)
    outputs = [tmp_path / name for name in ("straight", "interrupted")]
    for output in outputs:
        output.mkdir()
    train_cross_entropy(*inputs, outputs[0], settings, "cpu")
    kill_at_updates(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        train_cross_entropy(*inputs, outputs[1], settings, "cpu")
    train_cross_entropy(*inputs, outputs[1], settings, "cpu")
    losses = []
    for output in outputs:
        lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        losses.append([(line["train_loss"], line["dev_loss"]) for line in lines])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"speed_factors": (0.1,)}, "speed_factors"),
        ({"room_probability": 2.0}, "room_probability"),
        ({"rooms": 0}, "rooms"),
        ({"reverberation_seconds": (0.5, 0.2)}, "reverberation_seconds"),
        ({"lowest_snr_db": 30.0}, "lowest_snr_db"),
        ({"noise_probability": 0.5}, "noises"),
    ],
)
def test_impossible_settings_are_errors(changes, reason):
    with pytest.raises(InputError, match=reason):
        AudioAugmentationSettings(**changes)


def test_inputs_that_do_not_fit_are_named(tones, tmp_path):
    _, data, _, _ = tones
    assert audio_augmenter(data, AudioAugmentationSettings()) is None
    noisy = AudioAugmentationSettings(noise_probability=0.5, noises=tmp_path)
    with pytest.raises(InputError, match=r"cuts.jsonl.gz: no such file; give audio.noises"):
        AudioAugmenter(data, noisy)
    for name, changes, settings, reason in (
        ("rate", {"sampling_rate": 8000}, ALL, "rooms are made at 16000 Hz"),
        ("foreign", {"sampling_rate": None}, ALL, "does not tell how the features were computed"),
    ):
        with pytest.raises(InputError, match=reason):
            AudioAugmenter(described_as(tmp_path / name, data, changes), settings)
    slower = described_as(tmp_path / "shift", data, {"frame_shift": 0.02})
    augmenter = AudioAugmenter(slower, AudioAugmentationSettings(speed_factors=(1.0,)))
    cut = first_cut(data)
    with pytest.raises(InputError, match=f"cut {cut.id}: its audio gives"):
        augmenter.audio(cut, 0)
    with pytest.raises(InputError, match=f"cut {cut.id}: has no recording"):
        augmenter.audio(dataclasses.replace(cut, recording=None), 0)


def described_as(folder, data, changes):
    """A folder with the description of another's features, changed; None leaves a value out."""
    values = {**json.loads((data / "features.json").read_text()), **changes}
    folder.mkdir()
    told = {name: value for name, value in values.items() if value is not None}
    (folder / "features.json").write_text(json.dumps(told))
    return folder
