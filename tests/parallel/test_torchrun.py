"""steps/train_ce.py as torchrun starts it: one output, one log, and of failures one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lhotse import CutSet

import commandline
from tests.nnet.small_data import SmallTask

ROOT = Path(commandline.__file__).parent
CONFIG = """
lstm: {num_layers: 1, cells: 8, bidirectional: false}
trainer: {learning_rate: 0.02, warm_up_updates: 1}
batching: {batch_seconds: 1.4, num_buckets: 2}
front_end: {max_cuts: 1}
epochs: 2
"""


class Bench:
    """A small task and the command that trains on it in two processes."""

    def __init__(self, folder: Path):
        self.task = SmallTask(folder, num_labeled=13)
        self.output = folder / "exp" / "network"
        self.config = folder / "network.yaml"
        self.config.write_text(CONFIG)

    def train(self, *options: str) -> subprocess.CompletedProcess[str]:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        tool = [ROOT / "steps" / "train_ce.py", "--device", "cpu", "--config", self.config]
        command = [sys.executable, *torchrun, *tool, *options, *self.task.inputs(), self.output]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, env=environment
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def lines_of_tool(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("train_ce.py: ")]


def test_one_process_owns_output_and_log(bench: Bench) -> None:
    result = bench.train("--parallel", "bmuf", "--set", "parallel.bmuf.sync_interval=2")
    assert result.returncode == 0, result.stderr
    done = json.loads((bench.output / "done.json").read_text())
    assert done["settings"]["parallel"]["method"] == "bmuf"
    log = (bench.output / "log.txt").read_text()
    for line in ("2 processes", "pass 2 of 2", "sent ", "done in"):
        assert log.count(line) >= 1
        assert result.stderr.count(line) == log.count(line)
    assert [path.name for path in bench.output.parent.iterdir()] == ["network"]
    again = bench.train("--parallel", "bmuf", "--set", "parallel.bmuf.sync_interval=2")
    assert again.returncode == 0
    assert again.stderr.count("is up to date") == 1


def test_wrong_settings_are_one_line(bench: Bench) -> None:
    result = bench.train("--parallel", "tcp")
    assert result.returncode != 0
    (line,) = lines_of_tool(result)
    assert "parallel: method must be one of ddp, gtc, bmuf, not 'tcp'" in line


def test_the_failure_of_one_process_ends_all_with_its_line(bench: Bench) -> None:
    manifest = bench.task.labeled / "cuts.jsonl.gz"
    cuts = list(CutSet.from_jsonl_lazy(manifest))
    cuts[-1].features.storage_key = "0,7"
    CutSet.from_cuts(cuts).to_file(manifest)
    result = bench.train("--parallel", "gtc")
    assert result.returncode != 0
    (line,) = lines_of_tool(result)
    assert f"cut {cuts[-1].id}: " in line
    assert "Traceback" not in result.stderr.split("ChildFailedError")[0].split(line)[0]
    assert not bench.output.exists()
