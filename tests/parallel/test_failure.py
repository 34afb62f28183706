"""Processes that are killed, checkpoints that are damaged, machines that are lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch

import commandline
from am.config import load_settings
from am.errors import InputError
from am.nnet import load_network
from am.nnet.checkpoint import CheckpointFolder, SavedTraining, TrainingState
from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from tests.nnet.small_data import SmallTask, checkpoints_of
from tests.parallel import killed_training
from tests.parallel.processes import run_processes

ROOT = Path(commandline.__file__).parent
CONFIG = """
lstm: {num_layers: 1, cells: 8, bidirectional: false, dropout: 0.2}
trainer: {learning_rate: 0.02, warm_up_updates: 1}
batching: {batch_seconds: 1.4, num_buckets: 2}
front_end: {max_cuts: 1}
epochs: 2
parallel: {method: bmuf, bmuf: {sync_interval: 2}}
"""
# Of torchrun's first try process 1, of its second all, both in the middle of a block.
KILLS = {"0": {"1": 2}, "1": {"0": 4, "1": 4}}
LONG = timedelta(minutes=5)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_torchrun_starts_killed_processes_again_and_they_go_on(tmp_path: Path) -> None:
    task = SmallTask(tmp_path, num_labeled=13)
    config, killed, straight = tmp_path / "network.yaml", tmp_path / "killed", task.output("whole")
    config.write_text(CONFIG)
    command = [
        *[sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
        *["--max-restarts", "2", killed_training.__file__, json.dumps(KILLS)],
        *[ROOT / "steps" / "train_ce.py", "--device", "cpu", "--config", config],
        *[*task.inputs(), killed],
    ]
    result = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    log = (killed / "log.txt").read_text()
    assert log.count("command: ") == 3
    assert log.count("going on after ") == 1  # the first was killed in its first block
    assert "going on after 2 updates" in log
    settings = load_settings(CrossEntropySettings, config)
    run_processes(tmp_path, 2, train, task, straight, settings)
    weights = [load_network(output).model.state_dict() for output in (straight, killed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def train(group, task, output, settings):
    train_cross_entropy(*task.inputs(), output, settings, "cpu")


def save_three_times(group, path):
    folder = CheckpointFolder(path, group, 3)
    for number in range(3):
        values = {"number": torch.tensor([number]), "rank": group.rank}
        folder.save(TrainingState(0, number), SavedTraining(values, values))


def load_number(group, path):
    saved = CheckpointFolder(path, group, 3).load()
    assert saved.own["rank"] == group.rank
    assert saved.shared["rank"] == 0
    return int(saved.shared["number"]), int(saved.own["number"])


def test_all_processes_take_the_last_checkpoint_that_is_whole_for_all(tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    run_processes(tmp_path, 2, save_three_times, place)
    assert run_processes(tmp_path, 2, load_number, place) == [(2, 2), (2, 2)]
    first, middle, last = checkpoints_of(tmp_path)
    (last / "process-0001.pt").unlink()
    assert run_processes(tmp_path, 2, load_number, place) == [(1, 1), (1, 1)]
    (middle / "process-0001.pt").write_bytes((first / "process-0001.pt").read_bytes())
    assert run_processes(tmp_path, 2, load_number, place) == [(0, 0), (0, 0)]
    (first / "process-0000.pt").write_bytes(b"")
    with pytest.raises(Exception, match=r"no checkpoint is whole, of pass-00000-batch-00000000 "):
        run_processes(tmp_path, 2, load_number, place)


def does_not_answer(group):
    """Process 1 is there and keeps its connections, but does not answer."""
    if group.is_main:
        with pytest.raises(InputError, match=r"within --timeout-minutes; .*the last checkpoint"):
            group.wait()
        group._store.set("main process gave up", "yes")
    else:
        group._store.wait(["main process gave up"], LONG)


def waits_for_the_main_process(group):
    """What the main process does before the others may take longer than an answer."""
    with group.main_first():
        if group.is_main:
            with pytest.raises(RuntimeError):
                group._store.wait(["never"], timedelta(seconds=1.5))
    group.wait()


@pytest.mark.parametrize("function", [does_not_answer, waits_for_the_main_process])
def test_a_process_that_does_not_answer_is_given_up(tmp_path: Path, function) -> None:
    run_processes(tmp_path, 2, function, timeout_minutes=1 / 60)
