"""The benchmark of the training loop runs and prints its table."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.nnet.small_data import SmallTask

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "training_loop.py"


def test_a_table_with_ratios(tmp_path, monkeypatch, capsys):
    task = SmallTask(tmp_path)
    config = tmp_path / "network.yaml"
    config.write_text("lstm: {num_layers: 2, cells: 4, bidirectional: true}\n")
    labels = task.labels / "labeled"
    command = [BENCHMARK, "--config", config, "--hard", task.labeled, labels, "--device", "cpu"]
    options = ["--batches", "3", "--warm-up", "1", "--set", "batching.batch_seconds=2"]
    monkeypatch.setattr(sys, "argv", [*map(str, command), *options])
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    row = capsys.readouterr().out.splitlines()[2].strip("| ").split(" | ")
    assert row[1] == "hard"
    assert all(float(value) > 0 for value in row[2:])


def test_without_arguments_it_tells_how_to_use_it(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(BENCHMARK)])
    with pytest.raises(SystemExit):
        runpy.run_path(str(BENCHMARK), run_name="__main__")
    assert "--hard DATA LABELS" in capsys.readouterr().out
