"""Students and sequence training in two processes: the same loop, other labels and losses."""

import json

import pytest
import torch

from am.decoding.lattices import LatticeSettings
from am.nnet import load_network
from am.nnet.cross_entropy import SoftLabelledData, StudentSettings, train_student
from am.nnet.data import BatchingSettings
from am.nnet.schedule import ScheduleSettings
from am.nnet.trainer_settings import TrainerSettings
from am.parallel.settings import GtcSettings, ParallelSettings
from am.sequence.denominator import DenominatorSettings, make_denominator_lattices
from am.sequence.training import SequenceSettings, train_sequence
from tests.nnet.small_data import LSTM, TRAINER, SmallTask, checkpoints_of, make_labels
from tests.parallel.processes import run_processes
from tests.sequence.small_task import make_small_task

GTC = ParallelSettings("gtc", gtc=GtcSettings(density=0.05, dense_updates=2))
BATCHING = BatchingSettings(batch_seconds=1.4, num_buckets=2)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def student(group, task, unlabeled, output, settings):
    train_student(task.labeled, unlabeled, *task.inputs()[1:], output, settings, "cpu")


def test_a_student_s_parts_are_made_once_and_shared(tmp_path):
    task = SmallTask(tmp_path, num_labeled=7, num_unlabeled=13)
    labels = make_labels(tmp_path / "pseudo_labels", task.unlabeled_truth, task.senones)
    output = task.output("student")
    settings = StudentSettings(
        LSTM, ScheduleSettings(epochs=1, parts=2), TRAINER, BATCHING, parallel=GTC
    )
    unlabeled = SoftLabelledData(task.unlabeled, labels)
    run_processes(tmp_path, 2, student, task, unlabeled, output, settings)
    summary = json.loads((output / "summary.json").read_text())
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [line["source"] for line in lines] == [
        "unlabeled-000",
        "labeled",
        "unlabeled-001",
        "labeled",
    ]
    truths = [-(-len(frames) // 3) for frames in task.unlabeled_truth.values()]
    labeled = summary["labeled_hours"] * 3600 / 0.03
    assert summary["frames"] == round(2 * labeled) + sum(truths)
    assert not (output / "parts").exists()


def sequence(group, task, lattices, output, settings):
    train_sequence(
        task.labeled, task.dev, task.senones, task.labels, task.model, lattices, output, settings,
        "cpu",
    )  # fmt: skip


def test_smbr_in_two_processes(tmp_path):
    task = make_small_task(tmp_path, num_labeled=9)
    lattices, output = tmp_path / "lattices", tmp_path / "smbr"
    lattices.mkdir()
    output.mkdir()
    making = DenominatorSettings(1.0, LatticeSettings(12.0, 10.0), cuts_per_shard=5)
    make_denominator_lattices(task.graph, task.labeled, task.model, lattices, making)
    settings = SequenceSettings(
        epochs=2, trainer=TrainerSettings(warm_up_updates=1), batching=BATCHING, parallel=GTC
    )
    run_processes(tmp_path, 2, sequence, task, lattices, output, settings)
    last = torch.load(checkpoints_of(output)[-1] / "training.pt")["model"]
    kept = load_network(output).model.state_dict()
    assert all(torch.equal(kept[name], last[name]) for name in kept)
    assert json.loads((output / "summary.json").read_text())["updates"] > 4
