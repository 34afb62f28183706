"""Soft labels in shards: right, resumable, and repaired alone."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from am import outputs
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.features.low_frame_rate import LowFrameRateFrontEnd, num_low_rate_frames
from am.nnet import load_network
from am.nnet.data import load_features
from am.nnet.lstm import AcousticModel, LstmSettings
from am.nnet.network import save_network
from am.processes import ONE_PROCESS, LocalProcesses
from am.soft_labels import dump as dump_module
from am.soft_labels.dump import (
    DumpSettings,
    damaged_shards,
    dump_soft_labels,
    reopen_damaged_store,
)
from am.storage import RaggedStore, check_store, shard_paths
from tests.nnet.small_data import CHANNELS, NUM_PDFS, make_features

SETTINGS = DumpSettings(top_k=4, cuts_per_shard=5, batch_seconds=2.0)


def make_teacher(folder, seed=7, tree="some tree", channels=CHANNELS):
    """An untrained bidirectional network."""
    torch.manual_seed(seed)
    front_end = LowFrameRateFrontEnd(
        torch.full((channels,), -7.0), torch.zeros(channels), torch.ones(channels), 100.0
    )
    model = AcousticModel(LstmSettings(2, 8, True), front_end.output_dim, NUM_PDFS)
    folder.mkdir()
    save_network(folder, model, front_end, torch.zeros(NUM_PDFS), tree)
    return folder


@pytest.fixture
def teacher(tmp_path):
    return make_teacher(tmp_path / "teacher")


@pytest.fixture
def unlabeled(tmp_path):
    make_features(tmp_path / "unlabeled", 12)
    return tmp_path / "unlabeled"


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_highest_log_posteriors_are_stored(tmp_path, teacher, unlabeled, jobs):
    output = tmp_path / "soft_labels"
    dump_soft_labels(unlabeled, teacher, output, SETTINGS, LocalProcesses(jobs), "cpu")
    store = RaggedStore(output)
    assert (store.kind, store.frame_shift) == ("soft labels", pytest.approx(0.03))
    assert store.description["tree_sha256"] == "some tree"
    check_store(output)
    cuts = list(open_feature_data(unlabeled))
    assert list(store) == [cut.id for cut in cuts]
    network = load_network(teacher)
    for cut in cuts:
        record = store[cut.id]
        assert record["pdf_ids"].dtype == np.uint16
        assert record["logits"].dtype == np.float32
        assert len(record["logits"]) == num_low_rate_frames(cut.num_frames)
        expected = network.log_posteriors(load_features(cut)).numpy()
        order = np.argsort(-expected, axis=1, kind="stable")[:, :4]
        stored = record["pdf_ids"].astype(np.int64)
        np.testing.assert_allclose(
            np.take_along_axis(expected, stored, 1), np.take_along_axis(expected, order, 1)
        )
        np.testing.assert_allclose(
            record["logits"], np.take_along_axis(expected, stored, 1), atol=0.05
        )


def test_all_logits_are_stored_by_pdf_id(tmp_path, teacher, unlabeled):
    output = tmp_path / "soft_labels"
    settings = dataclasses.replace(SETTINGS, top_k="all")
    dump_soft_labels(unlabeled, teacher, output, settings, ONE_PROCESS, "cpu")
    check_store(output)
    store, network = RaggedStore(output), load_network(teacher)
    for cut in open_feature_data(unlabeled):
        record, expected = store[cut.id], network.log_posteriors(load_features(cut)).numpy()
        np.testing.assert_array_equal(
            record["pdf_ids"], np.tile(np.arange(NUM_PDFS), (len(expected), 1))
        )
        np.testing.assert_allclose(record["logits"], expected, atol=0.05)


def test_temperature_and_step(tmp_path, teacher, unlabeled):
    output = tmp_path / "soft_labels"
    settings = dataclasses.replace(SETTINGS, temperature=2.0, logit_step=0.01)
    dump_soft_labels(unlabeled, teacher, output, settings, ONE_PROCESS, "cpu")
    store = RaggedStore(output)
    assert store.description["temperature"] == 2.0
    assert store.description["codec"]["logit_step"] == 0.01
    network = load_network(teacher)
    for cut in open_feature_data(unlabeled):
        # The softmax of halved logits is the square root of the posteriors, normalised.
        roots = np.sqrt(network.log_posteriors(load_features(cut)).exp().numpy())
        posteriors = roots / roots.sum(1, keepdims=True)
        record = store[cut.id]
        stored = record["pdf_ids"].astype(np.int64)
        expected = np.log(np.take_along_axis(posteriors, stored, 1))
        np.testing.assert_allclose(record["logits"], expected, atol=0.00501)


@pytest.mark.parametrize("jobs", [1, 2])
def test_several_teachers_are_their_averaged_logits(tmp_path, teacher, unlabeled, jobs):
    teachers = [teacher, *(make_teacher(tmp_path / f"teacher{n}", seed=n) for n in (8, 9))]
    output = tmp_path / "soft_labels"
    dump_soft_labels(
        unlabeled, teacher, output, SETTINGS, LocalProcesses(jobs), "cpu", teachers[1:]
    )
    store, networks = RaggedStore(output), [load_network(folder) for folder in teachers]
    assert len(set(store.description["other_models_sha256"])) == 2
    for cut in open_feature_data(unlabeled):
        features = torch.from_numpy(load_features(cut))
        logits = []
        for network in networks:
            vectors, lengths = network.front_end(features[None], torch.tensor([len(features)]))
            with torch.inference_mode():
                logits.append(network.model.frame_logits(vectors, lengths).double().numpy())
        mean = sum(logits) / len(logits)
        expected = mean - np.log(np.exp(mean).sum(1, keepdims=True))
        record = store[cut.id]
        stored = record["pdf_ids"].astype(np.int64)
        chosen = np.take_along_axis(expected, stored, 1)
        np.testing.assert_allclose(record["logits"], chosen, atol=0.05)
        np.testing.assert_allclose(chosen, -np.sort(-expected, axis=1)[:, :4], atol=1e-5)


def test_teachers_that_do_not_fit_each_other_are_named(tmp_path, teacher, unlabeled):
    other_tree = make_teacher(tmp_path / "other_tree", tree="another tree")
    wider = make_teacher(tmp_path / "wider", channels=CHANNELS + 1)
    for other, complaint in ((other_tree, "another tree than"), (wider, "the same features")):
        with pytest.raises(InputError, match=complaint):
            dump_soft_labels(
                unlabeled, teacher, tmp_path / "out", SETTINGS, ONE_PROCESS, "cpu", [other]
            )


def test_a_teacher_that_diverged_is_named(tmp_path, teacher, unlabeled):
    path = teacher / "model.safetensors"
    save_file({name: tensor * torch.nan for name, tensor in load_file(path).items()}, path)
    with pytest.raises(InputError, match=r"cut unlabeled-0-\d\d\d: .*not finite"):
        dump_soft_labels(unlabeled, teacher, tmp_path / "soft_labels", SETTINGS, ONE_PROCESS, "cpu")


def test_a_killed_dump_keeps_its_finished_shards(tmp_path, teacher, unlabeled, monkeypatch):
    output = tmp_path / "soft_labels"
    original = dump_module.write_shard
    written = []

    def killed_at_the_second(folder, index, records, codec):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(index)
        original(folder, index, records, codec)

    monkeypatch.setattr(dump_module, "write_shard", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        dump_soft_labels(unlabeled, teacher, output, SETTINGS, ONE_PROCESS, "cpu")
    assert written == [0]
    with pytest.raises(InputError, match="unfinished"):
        check_store(output)
    again = []

    def remember(folder, index, records, codec):
        again.append(index)
        original(folder, index, records, codec)

    monkeypatch.setattr(dump_module, "write_shard", remember)
    dump_soft_labels(unlabeled, teacher, output, SETTINGS, ONE_PROCESS, "cpu")
    assert again == [1, 2]
    check_store(output)


@pytest.mark.parametrize("damage", ["truncated", "altered", "deleted"])
def test_a_damaged_shard_is_named_and_made_again_alone(
    tmp_path, teacher, unlabeled, damage, caplog
):
    output = tmp_path / "soft_labels"
    partial = outputs.start_partial(output, "mark", is_folder=True)
    dump_soft_labels(unlabeled, teacher, partial, SETTINGS, ONE_PROCESS, "cpu")
    outputs.finish(output, "mark", {})
    original = [shard_paths(output, index)[0].read_bytes() for index in range(3)]
    path = shard_paths(output, 1)[0]
    if damage == "truncated":
        path.write_bytes(original[1][:-10])
    elif damage == "altered":
        path.write_bytes(original[1][:-1] + bytes([original[1][-1] ^ 1]))
    else:
        path.unlink()
    times = [shard_paths(output, index)[0].stat().st_mtime_ns for index in (0, 2)]
    assert len(damaged_shards(output)) == 1

    reopen_damaged_store(output)
    assert not output.exists()
    assert "shard-00001" in caplog.text
    partial = outputs.start_partial(output, "mark", is_folder=True)
    dump_soft_labels(unlabeled, teacher, partial, SETTINGS, ONE_PROCESS, "cpu")
    outputs.finish(output, "mark", {})
    assert [shard_paths(output, index)[0].read_bytes() for index in range(3)] == original
    assert [shard_paths(output, index)[0].stat().st_mtime_ns for index in (0, 2)] == times
    assert damaged_shards(output) == []


def test_a_whole_store_is_left_alone(tmp_path, teacher, unlabeled):
    output = tmp_path / "soft_labels"
    partial = outputs.start_partial(output, "mark", is_folder=True)
    dump_soft_labels(unlabeled, teacher, partial, SETTINGS, ONE_PROCESS, "cpu")
    outputs.finish(output, "mark", {})
    reopen_damaged_store(output)
    assert outputs.is_done(output, "mark")
    reopen_damaged_store(tmp_path / "nothing there")


def test_bad_input_is_named(tmp_path, teacher, unlabeled):
    output = tmp_path / "soft_labels"
    too_many = dataclasses.replace(SETTINGS, top_k=NUM_PDFS + 1)
    with pytest.raises(InputError, match=r"--top-k 7: .* has 6 senones"):
        dump_soft_labels(unlabeled, teacher, output, too_many, ONE_PROCESS, "cpu")
    for name, option in (("temperature", "--temperature"), ("logit_step", "--logit-step")):
        wrong = dataclasses.replace(SETTINGS, **{name: 0.0})
        with pytest.raises(InputError, match=f"{option} 0.0: must be above 0"):
            dump_soft_labels(unlabeled, teacher, output, wrong, ONE_PROCESS, "cpu")
    path = unlabeled / "features.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, "dimension": 64}))
    with pytest.raises(InputError, match=r"lfbe of 64 values every 0\.01 s, .* takes"):
        dump_soft_labels(unlabeled, teacher, output, SETTINGS, ONE_PROCESS, "cpu")
    path.write_text(json.dumps(description))
    (unlabeled / "features.f16").write_bytes(b"")
    with pytest.raises(InputError, match=r"cut unlabeled-0-\d\d\d: .* again$"):
        dump_soft_labels(unlabeled, teacher, output, SETTINGS, ONE_PROCESS, "cpu")
