"""Training on the small task: it learns, goes on exactly, and says what is wrong with its input."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from am.errors import InputError
from am.features.masking import MaskingSettings
from am.nnet import load_network
from am.nnet.averaging import AveragingSettings
from am.nnet.cross_entropy import (
    CrossEntropySettings,
    SoftLabelledData,
    StudentSettings,
    log_priors_of,
    train_cross_entropy,
    train_student,
)
from am.nnet.data import LabelledCuts, load_features
from am.nnet.lstm import LstmSettings
from am.nnet.schedule import ScheduleSettings
from am.nnet.trainer import Trainer
from am.soft_labels.dump import DumpSettings, dump_soft_labels
from am.storage import RaggedStore, shard_paths, write_store_description
from tests.nnet.small_data import (
    BATCHING,
    LSTM,
    NUM_PDFS,
    TRAINER,
    SmallTask,
    checkpoints_of,
    kill_at_updates,
    make_labels,
    make_senones,
)

MASKS = MaskingSettings(1, 3, 1.0, 0.1)
SETTINGS = CrossEntropySettings(LSTM, TRAINER, BATCHING, epochs=4)
RANDOM = dataclasses.replace(
    SETTINGS,
    lstm=dataclasses.replace(LSTM, num_layers=2, dropout=0.3),
    trainer=dataclasses.replace(TRAINER, masking=MASKS, checkpoint_updates=2),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def task(tmp_path):
    return SmallTask(tmp_path)


def losses(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def without_speed(lines):
    return [{k: v for k, v in line.items() if k != "frames_per_second"} for line in lines]


def dump(task, teacher, name="soft_labels", top_k=3):
    soft_labels = task.output(name)
    dump_soft_labels(task.unlabeled, teacher, soft_labels, DumpSettings(top_k), device="cpu")
    return SoftLabelledData(task.unlabeled, soft_labels)


@pytest.mark.parametrize(
    "lstm", [LSTM, LstmSettings(1, 12, True)], ids=["streaming", "bidirectional"]
)
def test_the_task_is_learnt_and_the_network_comes_back_from_disk(task, lstm):
    output = task.output("network")
    settings = dataclasses.replace(SETTINGS, lstm=lstm, epochs=8)
    train_cross_entropy(*task.inputs(), output, settings, "cpu")
    summary = json.loads((output / "summary.json").read_text())
    assert summary["dev_frame_accuracy"] > 0.85
    network = load_network(output)
    dev_labels = RaggedStore(task.labels / "dev")
    cuts = LabelledCuts("dev", task.dev / "cuts.jsonl.gz", dev_labels, BATCHING)
    right, total = 0, 0
    for cut in cuts.cuts():
        log_posteriors = network.log_posteriors(load_features(cut))
        torch.testing.assert_close(
            log_posteriors.logsumexp(-1), torch.zeros(len(log_posteriors)), atol=1e-5, rtol=0
        )
        labels = torch.from_numpy(dev_labels[cut.id]["pdf_ids"])
        right += int((log_posteriors.argmax(-1) == labels).sum())
        total += len(labels)
    assert right / total == pytest.approx(summary["dev_frame_accuracy"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"chunk_seconds": 0.21},
        {"weight_noise": 0.02, "averaging": AveragingSettings(2, "best")},
        {"precision": "bfloat16", "fused_optimizer": True},
    ],
    ids=["plain", "chunks", "weight noise, averaging", "bfloat16, fused"],
)
def test_an_interrupted_training_goes_on_exactly(task, monkeypatch, changes):
    straight, interrupted = task.output("straight"), task.output("interrupted")
    settings = dataclasses.replace(RANDOM, trainer=dataclasses.replace(RANDOM.trainer, **changes))
    train_cross_entropy(*task.inputs(), straight, settings, "cpu")
    kill_at_updates(monkeypatch, 3, 16)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_cross_entropy(*task.inputs(), interrupted, settings, "cpu")
    assert len(checkpoints_of(interrupted)) == 2
    train_cross_entropy(*task.inputs(), interrupted, settings, "cpu")
    assert without_speed(losses(interrupted)) == without_speed(losses(straight))
    weights = [load_network(folder).model.state_dict() for folder in (straight, interrupted)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_seed_decides(task):
    runs = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        settings = dataclasses.replace(
            RANDOM, epochs=1, trainer=dataclasses.replace(RANDOM.trainer, seed=seed)
        )
        output = task.output(name)
        train_cross_entropy(*task.inputs(), output, settings, "cpu")
        runs[name] = losses(output)[0]["train_loss"]
    assert runs["a"] == runs["b"] != runs["c"]


def test_data_workers_change_nothing(task):
    outputs = []
    for workers in (0, 1):
        batching = dataclasses.replace(BATCHING, num_workers=workers)
        outputs.append(task.output(f"workers-{workers}"))
        settings = dataclasses.replace(RANDOM, epochs=1, batching=batching)
        train_cross_entropy(*task.inputs(), outputs[-1], settings, "cpu")
    assert without_speed(losses(outputs[0])) == without_speed(losses(outputs[1]))


def test_a_student_learns_from_soft_labels(task):
    teacher = task.output("teacher")
    train_cross_entropy(*task.inputs(), teacher, dataclasses.replace(SETTINGS, epochs=8), "cpu")
    unlabeled = dump(task, teacher)
    student = task.output("student")
    settings = StudentSettings(LSTM, ScheduleSettings(epochs=2, parts=2), TRAINER, BATCHING)
    train_student(task.labeled, unlabeled, *task.inputs()[1:], student, settings, "cpu")
    assert json.loads((student / "summary.json").read_text())["dev_frame_accuracy"] > 0.85
    sources = [line["source"] for line in losses(student)]
    assert sources == ["unlabeled-000", "labeled", "unlabeled-001", "labeled"] * 2
    assert not (student / "parts").exists()


def test_a_student_learns_from_hard_labels_of_unlabelled_data(task):
    labels = make_labels(task.folder / "pseudo_labels", task.unlabeled_truth, task.senones)
    student = task.output("student")
    settings = StudentSettings(LSTM, ScheduleSettings(epochs=2, parts=2), TRAINER, BATCHING)
    unlabeled = SoftLabelledData(task.unlabeled, labels)
    train_student(task.labeled, unlabeled, *task.inputs()[1:], student, settings, "cpu")
    assert json.loads((student / "summary.json").read_text())["dev_frame_accuracy"] > 0.85


def test_segregated_and_interleaved_training_see_the_same_data(task, monkeypatch):
    teacher = task.output("teacher")
    train_cross_entropy(*task.inputs(), teacher, dataclasses.replace(SETTINGS, epochs=1), "cpu")
    unlabeled = dump(task, teacher)
    original = Trainer.update
    seen = {}
    for schedule in ("interleaved", "segregated"):
        cuts = seen.setdefault(schedule, [])

        def remember(self, batch, one, cuts=cuts):
            cuts.extend(batch.cut_ids)
            original(self, batch, one)

        monkeypatch.setattr(Trainer, "update", remember)
        settings = StudentSettings(
            LSTM, ScheduleSettings(schedule, epochs=2, parts=3), TRAINER, BATCHING
        )
        output = task.output(schedule)
        train_student(task.labeled, unlabeled, *task.inputs()[1:], output, settings, "cpu")
    assert seen["interleaved"] != seen["segregated"]
    assert sorted(seen["interleaved"]) == sorted(seen["segregated"])
    assert all(seen["interleaved"].count(cut_id) == 2 for cut_id in task.unlabeled_truth)


def test_batches_without_a_finite_loss_are_skipped_then_named(task, monkeypatch, caplog):
    output = task.output("network")
    original = Trainer.loss
    calls = 0

    def poisoned(self, logits, batch):
        nonlocal calls
        calls += 1
        return original(self, logits, batch) * (float("nan") if calls > 2 else 1.0)

    monkeypatch.setattr(Trainer, "loss", poisoned)
    settings = dataclasses.replace(
        SETTINGS, trainer=dataclasses.replace(TRAINER, max_skipped_in_a_row=3)
    )
    with pytest.raises(InputError, match=r"3 batches in a row .* of cuts labeled-0-0"):
        train_cross_entropy(*task.inputs(), output, settings, "cpu")
    assert calls == 5
    assert sum("batch skipped: labeled-0-0" in line for line in caplog.messages) == 3


def test_one_bad_batch_changes_no_weight(task, monkeypatch):
    original = Trainer.update
    checked = []

    def poison_the_second(self, batch, one):
        if self.state.num_updates == 1 and not checked:
            before = {k: v.clone() for k, v in self.model.state_dict().items()}
            poisoned = dataclasses.replace(batch, features=batch.features * float("inf"))
            original(self, poisoned, one)
            after = self.model.state_dict()
            checked.append(all(torch.equal(before[k], after[k]) for k in before))
        original(self, batch, one)

    monkeypatch.setattr(Trainer, "update", poison_the_second)
    output = task.output("network")
    train_cross_entropy(*task.inputs(), output, dataclasses.replace(SETTINGS, epochs=1), "cpu")
    assert checked == [True]
    assert json.loads((output / "summary.json").read_text())["skipped_batches"] == 1


def test_a_gradient_that_is_not_finite_changes_no_weight_either(task, monkeypatch):
    original = Trainer.loss
    seen = []

    def with_an_infinite_slope(self, logits, batch):
        loss = original(self, logits, batch)
        if len(seen) == 1:
            loss = loss + (logits * 0.0).sum().sqrt()
            assert torch.isfinite(loss)
        seen.append({k: v.clone() for k, v in self.model.state_dict().items()})
        return loss

    monkeypatch.setattr(Trainer, "loss", with_an_infinite_slope)
    output = task.output("network")
    train_cross_entropy(*task.inputs(), output, dataclasses.replace(SETTINGS, epochs=1), "cpu")
    assert json.loads((output / "summary.json").read_text())["skipped_batches"] == 1
    same = [all(torch.equal(a[k], b[k]) for k in a) for a, b in itertools.pairwise(seen)]
    assert same == [False, True] + [False] * (len(seen) - 3)


def test_early_stopping_keeps_the_best_weights(task):
    output = task.output("network")
    trainer = dataclasses.replace(TRAINER, learning_rate=0.5, patience=2)
    settings = dataclasses.replace(SETTINGS, trainer=trainer, epochs=40)
    train_cross_entropy(*task.inputs(), output, settings, "cpu")
    dev_losses = [line["dev_loss"] for line in losses(output)]
    assert len(dev_losses) < 40
    best = json.loads((output / "summary.json").read_text())["dev_loss"]
    assert best == pytest.approx(min(dev_losses), rel=1e-5)


def test_priors_are_the_labels_frequencies(tmp_path):
    senones = make_senones(tmp_path / "senones")
    truth = {"a": np.repeat([0, 1, 1], 3), "b": np.repeat([3], 3)}
    store = RaggedStore(make_labels(tmp_path / "labels", truth, senones))
    priors = log_priors_of(store, NUM_PDFS, pseudo_count=0.5).exp()
    torch.testing.assert_close(priors * 7, torch.tensor([1.5, 2.5, 0.5, 1.5, 0.5, 0.5]))


def test_cuts_without_labels_are_listed(task):
    truth = {f"labeled-0-{index:03d}": None for index in range(24)}
    store = RaggedStore(task.labels / "labeled")
    kept = {cut_id: np.repeat(store[cut_id]["pdf_ids"], 3) for cut_id in list(truth)[2:]}
    # Repeating thrice gives the same labels back; only the first two cuts lose theirs.
    make_labels(task.labels / "labeled", kept, task.senones)
    output = task.output("network")
    train_cross_entropy(*task.inputs(), output, dataclasses.replace(SETTINGS, epochs=1), "cpu")
    listed = (output / "labeled_without_labels.txt").read_text().split()
    assert listed == ["labeled-0-000", "labeled-0-001"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "transition-ids"}, "holds transition-ids where pdf-ids are needed"),
        ({"frame_shift": 0.01}, "a label every 0.01 s"),
        ({"num_pdfs": 7}, "labels of 7 senones, but the senone folder has 6"),
        ({"tree_sha256": "other"}, "labels of another tree"),
        ({"fields": ["phones"]}, "must have the fields pdf_ids"),
    ],
)
def test_labels_that_do_not_fit_are_named(task, changes, reason):
    store = RaggedStore(task.labels / "labeled")
    truth = {cut_id: np.repeat(store[cut_id]["pdf_ids"], 3) for cut_id in store}
    make_labels(task.labels / "labeled", truth, task.senones, **changes)
    with pytest.raises(InputError, match=reason):
        train_cross_entropy(*task.inputs(), task.output("network"), SETTINGS, "cpu")


def test_a_cut_with_another_number_of_labels_is_named(task):
    store = RaggedStore(task.labels / "labeled")
    truth = {cut_id: np.repeat(store[cut_id]["pdf_ids"], 3) for cut_id in store}
    truth["labeled-0-007"] = truth["labeled-0-007"][3:]
    make_labels(task.labels / "labeled", truth, task.senones)
    with pytest.raises(InputError, match=r"cut labeled-0-007: .* labels, but"):
        train_cross_entropy(*task.inputs(), task.output("network"), SETTINGS, "cpu")


def test_a_label_outside_the_senones_is_named(task):
    store = RaggedStore(task.labels / "labeled")
    truth = {cut_id: np.repeat(store[cut_id]["pdf_ids"], 3) for cut_id in store}
    truth["labeled-0-003"][-3:] = NUM_PDFS
    make_labels(task.labels / "labeled", truth, task.senones)
    with pytest.raises(InputError, match="cut labeled-0-003: a label outside 0 … 5"):
        train_cross_entropy(*task.inputs(), task.output("network"), SETTINGS, "cpu")


def test_energies_are_changed_of_lfbe_alone(task):
    for folder in (task.labeled, task.dev):
        path = folder / "features.json"
        path.write_text(path.read_text().replace('"lfbe"', '"fmllr-01234567"'))
    warped = dataclasses.replace(TRAINER, max_frequency_warp=0.1)
    adapted = task.output("adapted")
    arguments = (*task.inputs(), adapted)
    with pytest.raises(InputError, match=r"labeled: holds fmllr-01234567; .* are for LFBE"):
        train_cross_entropy(*arguments, dataclasses.replace(SETTINGS, trainer=warped), "cpu")
    train_cross_entropy(*arguments, dataclasses.replace(SETTINGS, epochs=1), "cpu")
    assert load_network(adapted).front_end.features.kind == "fmllr-01234567"
    with pytest.raises(InputError, match=r"unlabeled: lfbe of .* takes fmllr-01234567 of"):
        dump(task, adapted)


def test_a_student_s_bad_inputs_are_named(task):
    teacher = task.output("teacher")
    train_cross_entropy(*task.inputs(), teacher, dataclasses.replace(SETTINGS, epochs=1), "cpu")
    unlabeled = dump(task, teacher)
    settings = StudentSettings(LSTM, ScheduleSettings(parts=31), TRAINER, BATCHING)
    arguments = (*task.inputs()[1:], task.output("student"), settings, "cpu")
    with pytest.raises(InputError, match="31 parts are too many"):
        train_student(task.labeled, unlabeled, *arguments)
    of_dev = SoftLabelledData(task.unlabeled, task.labels / "dev")
    with pytest.raises(InputError, match="labels for none of the 30 cuts"):
        train_student(task.labeled, of_dev, *arguments)
    older = task.output("older")
    description = RaggedStore(unlabeled.soft_labels).description
    del description["codec"]
    write_store_description(older, {**description, "num_shards": 0})
    with pytest.raises(InputError, match="older format; make them again"):
        train_student(task.labeled, SoftLabelledData(task.unlabeled, older), *arguments)
    path = shard_paths(unlabeled.soft_labels, 0)[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="checksum differs"):
        train_student(task.labeled, unlabeled, *arguments)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "log_priors.safetensors"])
def test_a_network_folder_with_a_hole_is_an_error(task, name):
    output = task.output("network")
    train_cross_entropy(*task.inputs(), output, dataclasses.replace(SETTINGS, epochs=1), "cpu")
    content = (output / name).read_bytes()
    if name.endswith("safetensors"):
        (output / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match=f"{name}: not readable"):
            load_network(output)
    (output / name).unlink()
    with pytest.raises(InputError, match=f"{name}: no such file"):
        load_network(output)


def test_an_unknown_device_is_an_error(task):
    with pytest.raises(InputError, match="--device abacus"):
        train_cross_entropy(*task.inputs(), task.output("network"), SETTINGS, "abacus")
