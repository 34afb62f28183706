"""The whole training in two processes, which share the data: the same decisions, exact resuming."""

import dataclasses
import json
import os
import signal

import pytest
import torch

from am.features.masking import MaskingSettings
from am.nnet import load_network
from am.nnet.averaging import AveragingSettings
from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from am.nnet.data import BatchingSettings
from am.nnet.trainer import Trainer
from am.parallel.settings import BmufSettings, GtcSettings, ParallelSettings
from am.storage import RaggedStore
from tests.nnet.small_data import LSTM, TRAINER, SmallTask, checkpoints_of
from tests.parallel.processes import run_processes

GTC = ParallelSettings("gtc", gtc=GtcSettings(density=0.05, dense_updates=2))
BMUF = ParallelSettings("bmuf", bmuf=BmufSettings(2, warm_up_blocks=1))
NESTEROV = ParallelSettings("bmuf", bmuf=BmufSettings(2, nesterov=True, optimizer_state="averaged"))
NUM_CUTS = 13  # in 7 batches, so that of 4 rounds the last has none for one process
METHODS = [ParallelSettings(), GTC, BMUF, NESTEROV]
NAMES = ["ddp", "gtc", "bmuf", "bmuf, nesterov"]
# Dropout and masks draw random numbers, of which each process has its own.
SETTINGS = CrossEntropySettings(
    dataclasses.replace(LSTM, num_layers=2, dropout=0.3),
    dataclasses.replace(
        TRAINER, masking=MaskingSettings(1, 3, 1.0, 0.1), checkpoint_updates=1, patience=1
    ),
    BatchingSettings(batch_seconds=1.4, num_buckets=2),
    epochs=2,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def task(tmp_path):
    return SmallTask(tmp_path, num_labeled=NUM_CUTS)


def train(group, task, output, settings):
    train_cross_entropy(*task.inputs(), output, settings, "cpu")


def lines_of(output):
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    for line in lines:
        for name in ("frames_per_second", "padding", "megabytes_sent"):
            line.pop(name, None)
    return lines


def weights_of(output):
    return load_network(output).model.state_dict()


def same_weights(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def train_and_watch(group, task, output, settings):
    """Cut ids of each batch; how often the processes' models were compared, all equal or not."""
    seen, is_equal = [], []
    update, save = Trainer.update, Trainer._save_checkpoint

    def watched_update(self, batch, one):
        seen.append((self.state.pass_index, None if batch is None else batch.cut_ids))
        update(self, batch, one)

    def watched_save(self):
        weights = torch.cat([p.detach().flatten() for p in self.model.parameters()])
        is_equal.append(len(self._worker.group.gather(weights).unique(dim=0)) == 1)
        save(self)

    Trainer.update, Trainer._save_checkpoint = watched_update, watched_save
    try:
        train(group, task, output, settings)
    finally:
        Trainer.update, Trainer._save_checkpoint = update, save
    return seen, is_equal


CHANGES = [
    {"chunk_seconds": 0.21},
    {},
    {"weight_noise": 0.01},
    {"averaging": AveragingSettings(2)},
]


@pytest.mark.parametrize(
    ("parallel", "changes"), list(zip(METHODS, CHANGES, strict=True)), ids=NAMES
)
def test_data_are_shared_and_models_equal_after_every_exchange(task, parallel, changes):
    output = task.output("network")
    trainer = dataclasses.replace(SETTINGS.trainer, **changes)
    settings = dataclasses.replace(SETTINGS, trainer=trainer, parallel=parallel)
    results = run_processes(task.folder, 2, train_and_watch, task, output, settings)
    rounds = [len(seen) for seen, _ in results]
    assert rounds[0] == rounds[1]
    for pass_index in range(2):
        cut_ids = [
            cut_id
            for seen, _ in results
            for index, ids in seen
            if index == pass_index and ids is not None
            for cut_id in ids
        ]
        assert sorted(cut_ids) == [f"labeled-0-{index:03d}" for index in range(NUM_CUTS)]
    assert any(ids is None for seen, _ in results for _, ids in seen)  # the shares are uneven
    for _, is_equal in results:
        assert len(is_equal) >= 4
        assert all(is_equal)
    assert json.loads((output / "summary.json").read_text())["frames"] == 2 * task_frames(task)
    checkpoints = checkpoints_of(output)
    assert len(checkpoints) == 2
    for checkpoint in checkpoints:
        names = ["checkpoint.json", "process-0000.pt", "process-0001.pt", "training.pt"]
        assert sorted(path.name for path in checkpoint.iterdir()) == names


def task_frames(task):
    store = RaggedStore(task.labels / "labeled")
    return sum(store.num_frames(cut_id) for cut_id in store)


def test_a_divided_batch_is_as_long_as_one_of_half_the_seconds(task):
    def batches_of(num_processes, name, batching):
        settings = dataclasses.replace(SETTINGS, batching=batching)
        arguments = (train_and_watch, task, task.output(name), settings)
        results = run_processes(task.folder, num_processes, *arguments)
        return sorted(tuple(ids) for seen, _ in results for _, ids in seen if ids is not None)

    divided = dataclasses.replace(SETTINGS.batching, divided=True)
    half = dataclasses.replace(SETTINGS.batching, batch_seconds=0.7)
    assert batches_of(2, "divided", divided) == batches_of(1, "half", half)
    assert batches_of(1, "alone", divided) == batches_of(1, "plain", SETTINGS.batching)


def killed(group, task, output, settings, ranks):
    """These processes are killed in the second pass, between the exchanges of the last block."""
    update = Trainer.update
    count = 0

    def killed_update(self, batch, one):
        nonlocal count
        count += 1
        if count == 8 and group.rank in ranks:
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, batch, one)

    Trainer.update = killed_update
    train(group, task, output, settings)


@pytest.mark.parametrize(
    ("parallel", "ranks"),
    list(zip(METHODS, [(1,), (0, 1), (0,), (0, 1)], strict=True)),
    ids=NAMES,
)
def test_a_killed_training_goes_on_exactly(task, parallel, ranks):
    straight, interrupted = task.output("straight"), task.output("interrupted")
    trainer = dataclasses.replace(SETTINGS.trainer, checkpoint_updates=0)
    if parallel.method != "bmuf":
        parallel = dataclasses.replace(parallel, checkpoint_updates=3)
    settings = dataclasses.replace(SETTINGS, trainer=trainer, parallel=parallel)
    run_processes(task.folder, 2, train, task, straight, settings)
    with pytest.raises(Exception, match=r"another process of this training|terminated|signal"):
        run_processes(task.folder, 2, killed, task, interrupted, settings, ranks)
    exchanged = 2 if parallel.method == "bmuf" else 3
    assert checkpoints_of(interrupted)[-1].name == f"pass-00001-batch-{exchanged:08d}"
    if parallel.method == "ddp":
        with pytest.raises(Exception, match="a training of 2 processes, now there are 1"):
            run_processes(task.folder, 1, train, task, interrupted, settings)
    run_processes(task.folder, 2, train, task, interrupted, settings)
    assert lines_of(interrupted) == lines_of(straight)
    assert same_weights(weights_of(interrupted), weights_of(straight))


def test_one_process_with_bmuf_is_plain_training_to_the_bit(task):
    plain, blocks = task.output("plain"), task.output("blocks")
    train_cross_entropy(*task.inputs(), plain, SETTINGS, "cpu")
    settings = dataclasses.replace(SETTINGS, parallel=BMUF)
    run_processes(task.folder, 1, train, task, blocks, settings)
    assert lines_of(blocks) == lines_of(plain)
    assert same_weights(weights_of(blocks), weights_of(plain))


def train_on_other_data(group, tasks, output):
    train(group, tasks[group.rank], output, SETTINGS)


def test_other_data_on_another_machine_are_noticed(task):
    other = SmallTask(task.folder / "other", num_labeled=NUM_CUTS + 1)
    arguments = (train_on_other_data, [task, other], task.output("network"))
    with pytest.raises(Exception, match="the processes read different data"):
        run_processes(task.folder, 2, *arguments)
