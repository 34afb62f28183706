"""benchmarks/network.sh: what it says where it cannot run.  (What it measures needs root.)"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from am.errors import InputError
from am.parallel.process_group import ProcessGroup

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "network.sh"
PAPER_STUDENT = ROOT / "conf" / "paper" / "student.yaml"


def run(folder: Path, fakes: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """The script with some commands replaced."""
    for name, content in fakes.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{content}\n")
        path.chmod(0o755)
    place = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [SCRIPT, *options], env=os.environ | {"PATH": place}, capture_output=True, text=True
    )


def test_without_root_it_stops_with_one_line(tmp_path) -> None:
    done = run(tmp_path, {"id": "echo 1000", "ip": f"touch {tmp_path}/called"})
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "benchmarks/network.sh: network namespaces need root; run it with sudo"
    ]
    assert not (tmp_path / "called").exists()


def test_namespaces_are_removed_when_one_cannot_be_made(tmp_path) -> None:
    calls = tmp_path / "calls"
    ip = f'printf "%s\\n" "$*" >>{calls}; [ "$2" != add ] || [ "${{3%-1}}" = "$3" ] || exit 1'
    done = run(tmp_path, {"id": "echo 0", "tc": "exit 0", "ip": ip}, "--ranks", "1 2")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "cannot be made here" in done.stderr
    lines = [line.split() for line in calls.read_text().splitlines()]
    made = {words[2] for words in lines if words[:2] == ["netns", "add"]}
    removed = {words[2] for words in lines if words[:2] == ["netns", "del"]}
    assert len(made) == 3 and made == removed


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--ranks", "1 two"], "--ranks '1 two'"),
        (["--ranks", "0 1"], "--ranks '0 1'"),
        (["--no-such", "1"], "no such option: --no-such"),
        (["--rates"], "--rates needs a value"),
    ],
)
def test_bad_options_of_the_script(tmp_path, options, told) -> None:
    done = run(tmp_path, {"id": "echo 0", "tc": "exit 0", "ip": "exit 0"}, *options)
    assert done.returncode == 1
    assert told in done.stderr and len(done.stderr.splitlines()) == 1


def benchmark(name: str) -> ModuleType:
    """A file of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPT.with_name(f"{name}.py"))
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(**changed: str) -> list[str]:
    """Options as the script gives them."""
    options = {
        "namespace": "none",
        "command": "none",
        "ranks": "1 2",
        "rates": "1gbit",
        "methods": "ddp",
        "config": "conf/paper/student.yaml",
        "parameters": "0",
        "senones": "3183",
        "batch-seconds": "1",
        "updates": "1",
        "sync-interval": "1",
        "density": "0.1",
        "compute": "auto",
    }
    options |= changed
    return [word for name, value in options.items() for word in (f"--{name}", *value.split())]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"ranks": "2 4"}, "--ranks must have 1 and 2"),
        ({"methods": "gtc bmuf"}, "--methods must have ddp"),
        ({"rates": "1gbit fast"}, "--rates fast: give a number with gbit, mbit or kbit"),
        ({"rates": "0gbit"}, "--rates 0gbit"),
        ({"config": "no.yaml"}, "no.yaml: no such settings file"),
    ],
)
def test_bad_options_of_the_measurement(monkeypatch, changed, told) -> None:
    monkeypatch.setattr(sys, "argv", ["network.py", *arguments(**changed)])
    with pytest.raises(InputError) as caught:
        benchmark("network").main()
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_of_a_wanted_size() -> None:
    lstm, parameters = benchmark("network").lstm_of(PAPER_STUDENT, 5_000_000, 3183)
    cells = lstm.cells
    # Gates of 5 layers with two biases, and the output layer.
    first, later = 4 * cells * (192 + cells + 2), 4 * cells * (2 * cells + 2)
    assert parameters == first + 4 * later + 3183 * (cells + 1)
    assert parameters == pytest.approx(5_000_000, rel=0.01)
    assert benchmark("network").lstm_of(PAPER_STUDENT, 0, 3183)[1] == 24_301_935


@pytest.mark.parametrize("pause", [None, 0.0])
@pytest.mark.parametrize("method", ["compute", "ddp", "gtc", "bmuf"])
def test_a_rank_alone_does_its_job(method, pause) -> None:
    module = benchmark("network_rank")
    lstm = {"num_layers": 1, "cells": 4, "bidirectional": False, "output_delay": 2}
    job = module.Job(lstm, 10, 3.0, method, 1, 2, 0.1, pause)
    answer = module.measure(job, ProcessGroup())
    assert answer["seconds"] > 0 and answer["empty_exchange_seconds"] > 0
    assert answer["frames"] == 100
