"""The benchmark of gradient threshold compression runs and prints its table."""

import runpy
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gradient_compression.py"


def test_a_row_for_each_setting(monkeypatch, capsys):
    sizes = "--workers 2 --updates 4 --dense-updates 1 --layers 1 --cells 8 --senones 5 --frames 9"
    settings = "--density 0.01 --threshold 0.001 --device cpu"
    monkeypatch.setattr(sys, "argv", [str(BENCHMARK), *sizes.split(), *settings.split()])
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[0] for row in rows] == ["density 0.01", "threshold 0.001"]
    assert all(float(value) > 0 for row in rows for value in row[1:3])
    assert float(rows[0][3]) == pytest.approx(100, rel=0.3)
    assert all(float(row[4]) == pytest.approx(1.0, rel=0.2) for row in rows)
