"""Training, soft labels and decoding from shards do what they do from folders."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from am.errors import InputError
from am.features.compute import compute_features
from am.features.extractors import LfbeSettings
from am.features.feature_data import open_feature_data
from am.nnet.audio_augmentation import AudioAugmentationSettings, AudioAugmenter
from am.nnet.cross_entropy import (
    CrossEntropySettings,
    SoftLabelledData,
    StudentSettings,
    train_cross_entropy,
    train_student,
)
from am.nnet.schedule import ScheduleSettings
from am.nnet.sources import FeaturesOf, labels_place
from am.sequence.training import SequenceSettings, train_sequence
from am.shar.read import SharData
from am.shar.shard_files import SharSettings
from am.shar.write import write_shar
from am.soft_labels.dump import DumpSettings, dump_soft_labels
from am.storage import RaggedStore
from tests.nnet.small_data import BATCHING, LSTM, TRAINER, SmallTask, kill_at_updates
from tests.shar.shar_cases import make_audio, make_soft_labels

SETTINGS = CrossEntropySettings(LSTM, TRAINER, BATCHING, epochs=8)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def task(tmp_path):
    return SmallTask(tmp_path)


def shar(task, data, *stores, shard_size=4):
    output = task.output(f"{data.name}_shar_{len(stores)}")
    write_shar(data, output, SharSettings(shard_size=shard_size), stores)
    return output


def accuracy(folder):
    return json.loads((folder / "summary.json").read_text())["dev_frame_accuracy"]


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "frames_per_second"} for line in lines]


def test_a_network_is_trained_from_shards(task):
    folders = {}
    labeled = shar(task, task.labeled, task.labels / "labeled")
    dev = shar(task, task.dev, task.labels / "dev")
    for name, data in (("folder", (task.labeled, task.dev)), ("shards", (labeled, dev))):
        folders[name] = task.output(name)
        train_cross_entropy(*data, *task.inputs()[2:], folders[name], SETTINGS, "cpu")
    assert accuracy(folders["shards"]) > 0.85
    for name in ("log_priors.safetensors", "front_end.safetensors"):
        ours, theirs = (load_file(folders[key] / name) for key in ("shards", "folder"))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert labels_place(labeled, task.labels) == labeled
    assert labels_place(task.labeled, task.labels) == task.labels


def test_an_interrupted_training_from_shards_goes_on_exactly(task, monkeypatch):
    labeled = shar(task, task.labeled, task.labels / "labeled")
    inputs = (labeled, *task.inputs()[1:])
    trainer = dataclasses.replace(TRAINER, checkpoint_updates=2)
    settings = dataclasses.replace(SETTINGS, trainer=trainer, epochs=3)
    straight, interrupted = task.output("straight"), task.output("interrupted")
    train_cross_entropy(*inputs, straight, settings, "cpu")
    kill_at_updates(monkeypatch, 3, 16)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_cross_entropy(*inputs, interrupted, settings, "cpu")
    train_cross_entropy(*inputs, interrupted, settings, "cpu")
    assert losses(interrupted) == losses(straight)


def test_a_student_learns_from_the_dump_of_shards(task):
    teacher = task.output("teacher")
    train_cross_entropy(*task.inputs(), teacher, SETTINGS, "cpu")
    dump_settings = DumpSettings(top_k=3, cuts_per_shard=7)
    of_folder, beside = task.output("soft_of_folder"), task.output("soft_of_shards")
    dump_soft_labels(task.unlabeled, teacher, of_folder, dump_settings, device="cpu")
    unlabeled = shar(task, task.unlabeled)
    dump_soft_labels(unlabeled, teacher, beside, dump_settings, device="cpu")
    expected, found = RaggedStore(of_folder), RaggedStore(beside)
    assert list(expected) == list(found)
    for cut_id in expected:
        # Other batches, so other rounding.
        np.testing.assert_allclose(
            np.sort(found[cut_id]["logits"]), np.sort(expected[cut_id]["logits"]), atol=0.1
        )
    inside = shar(task, task.unlabeled, beside)
    settings = StudentSettings(LSTM, ScheduleSettings(epochs=2, parts=2), TRAINER, BATCHING)
    students = []
    for name, labels in (("beside", (unlabeled, beside)), ("inside", (inside, inside))):
        students.append(task.output(name))
        given = SoftLabelledData(*labels)
        train_student(task.labeled, given, *task.inputs()[1:], students[-1], settings, "cpu")
        assert accuracy(students[-1]) > 0.85
        sources = [line["source"] for line in losses(students[-1])]
        assert sources == ["unlabeled-000", "labeled", "unlabeled-001", "labeled"] * 2
    assert losses(students[0]) == losses(students[1])


def test_bad_input_is_named(task):
    soft = make_soft_labels(task.folder / "soft", task.unlabeled, cuts_per_shard=7)
    plain = shar(task, task.unlabeled)
    settings = StudentSettings(LSTM, ScheduleSettings(parts=2), TRAINER, BATCHING)

    def student(unlabeled, labels, labeled=task.labeled, parts=2):
        changed = dataclasses.replace(settings, schedule=ScheduleSettings(parts=parts))
        train_student(
            labeled,
            SoftLabelledData(unlabeled, labels),
            *task.inputs()[1:],
            task.folder / "teacher",
            changed,
            "cpu",
        )

    task.output("teacher")
    with pytest.raises(InputError, match=r"shar.json: its shards hold no soft labels; make them"):
        student(plain, plain)
    with pytest.raises(InputError, match=r"shar.json: its shards hold no pdf-ids; make them"):
        student(plain, plain, labeled=plain)
    with pytest.raises(InputError, match="soft: labels of another tree"):
        student(plain, soft)
    with pytest.raises(InputError, match="labels of another tree"):
        inside = shar(task, task.unlabeled, soft)
        student(inside, inside)
    senones = RaggedStore(task.labels / "dev").description["tree_sha256"]
    soft = make_soft_labels(task.folder / "soft2", task.unlabeled, cuts_per_shard=7, tree=senones)
    with pytest.raises(InputError, match="soft2: not the labels of the shards of"):
        student(plain, soft)
    with pytest.raises(InputError, match="other shards than those of"):
        student(plain, inside)
    soft = make_soft_labels(task.folder / "soft3", task.unlabeled, cuts_per_shard=4, tree=senones)
    with pytest.raises(InputError, match="9 parts are too many for the shards of"):
        student(plain, soft, parts=9)


def test_sequence_training_refuses_shards(task):
    data = shar(task, task.labeled)
    nothing = task.folder / "nothing"
    settings = SequenceSettings()
    with pytest.raises(InputError, match=r"_shar_0: sequence training cannot read shards; give"):
        train_sequence(
            task.labeled, data, nothing, nothing, nothing, nothing, nothing, settings, "cpu"
        )


def test_features_of_some_shards_alone_make_the_front_end(task):
    data = shar(task, task.unlabeled)
    assert len(list(FeaturesOf([data], 1000))) == 30
    # 8 shards of 4 cuts; every third has about 10 of the 30 cuts.
    some = FeaturesOf([data, task.labeled], 18)
    assert len(list(some)) == len(list(some)) == 12 + 8


def test_augmented_audio_is_that_of_the_folder(tmp_path):
    audio = make_audio(tmp_path / "audio", 4)
    data, output = tmp_path / "lfbe", tmp_path / "shar"
    for folder in (data, output):
        folder.mkdir()
    compute_features(audio, data, data, "lfbe", LfbeSettings(num_mel_bins=20))
    write_shar(data, output, SharSettings(content="audio"))
    settings = AudioAugmentationSettings(speed_factors=(0.9, 1.1))
    from_folder, from_shards = (AudioAugmenter(folder, settings) for folder in (data, output))
    for cut, original in zip(SharData(output), open_feature_data(data), strict=True):
        ours, theirs = from_shards.audio(cut, 1), from_folder.audio(original, 1)
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
