"""The benchmark of checkpoints runs and prints its tables."""

import runpy
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "checkpoints.py"


def test_two_tables(monkeypatch, capsys):
    options = ["--megabytes", "0.1", "--cuts", "60"]
    monkeypatch.setattr(sys, "argv", [str(BENCHMARK), *options])
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert rows["written"][0] == rows["read"][0] == "0.5"
    assert all(float(number) >= 0 for name in ("written", "read", "60") for number in rows[name])
