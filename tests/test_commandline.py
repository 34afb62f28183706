"""What every tool does with its command line, run as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import commandline
from am.errors import InputError

ROOT = Path(commandline.__file__).parent
SCRIPT = """
import argparse
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from am.errors import InputError
from commandline import Tool

@dataclass(frozen=True)
class Settings:
    times: int = 1

tool = Tool("Copy a text.", ["SOURCE: a text"], ["OUTPUT/copy.txt: the same"], "repeat.py a b")
tool.add_config()
tool.add_jobs()
tool.add_device()
tool.add_argument("source", type=Path)
tool.add_argument("output", type=Path)

def main(options):
    settings = tool.settings(Settings, options)

    def make(partial):
        text = options.source.read_text()
        if text.startswith("bad"):
            (partial / "half.txt").write_text(text)
            raise InputError(f"{options.source}: line 1:\\n 'bad'; write good")
        if text.startswith("crash"):
            raise RuntimeError("a fault")
        logging.getLogger("am.copy").info("copied %d", len(text))
        (partial / "copy.txt").write_text(text * settings.times)

    tool.build(options.output, [options.source], asdict(settings), make)

if __name__ == "__main__":
    tool.run(main)
"""


class Bench:
    """A folder with the tool and its source."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.source = folder / "source.txt"
        self.output = folder / "exp" / "output"
        self.source.write_text("good")
        (folder / "repeat.py").write_text(SCRIPT)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(self.folder / "repeat.py"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )

    def copy(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(*options, str(self.source), str(self.output), **environment)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_without_arguments_it_prints_how_to_use_it(bench: Bench) -> None:
    result = bench.run()
    assert result.returncode == 1
    for line in ("reads:", "SOURCE: a text", "writes:", "OUTPUT/copy.txt: the same", "example:"):
        assert line in result.stdout
    assert "repeat.py a b" in result.stdout


def test_a_run_logs_its_command_versions_status_and_time(bench: Bench) -> None:
    result = bench.copy()
    assert result.returncode == 0, result.stderr
    assert (bench.output / "copy.txt").read_text() == "good"
    first, *_, last = result.stderr.splitlines()
    assert f"repeat.py {bench.source} {bench.output}" in first
    assert "repeat.py: exit 0 after" in last
    kept = (bench.output / "log.txt").read_text()
    for part in ("command:", "python 3.", "torch ", "copied 4", "done in"):
        assert part in kept
    marker = json.loads((bench.output / "done.json").read_text())
    assert marker["settings"] == {"times": 1}
    assert "repeat.py" in marker["command"]


def test_work_is_skipped_only_if_nothing_changed(bench: Bench) -> None:
    bench.copy()
    assert "is up to date" in bench.copy().stderr
    assert "is up to date" not in bench.copy("--redo").stderr
    assert "is up to date" not in bench.copy(MEGAHOUR_REDO="true").stderr
    assert "is up to date" not in bench.copy("--set", "times=2").stderr
    assert (bench.output / "copy.txt").read_text() == "goodgood"
    bench.source.write_text("new")
    assert "is up to date" not in bench.copy("--set", "times=2").stderr
    assert (bench.output / "copy.txt").read_text() == "newnew"


def test_an_input_error_is_one_line_and_leaves_the_old_output(bench: Bench) -> None:
    bench.copy()
    bench.source.write_text("bad")
    result = bench.copy()
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert f"repeat.py: {bench.source}: line 1: 'bad'; write good\n" in result.stderr
    assert "repeat.py: exit 1 after" in result.stderr.splitlines()[-1]
    assert sorted(path.name for path in bench.output.iterdir()) == [
        "copy.txt",
        "done.json",
        "log.txt",
    ]
    assert "failed after" in (bench.output.parent / "partial.output" / "log.txt").read_text()


def test_a_fault_of_the_tool_has_a_traceback_and_still_a_status(bench: Bench) -> None:
    bench.source.write_text("crash")
    result = bench.copy()
    assert result.returncode == 1
    assert "RuntimeError: a fault" in result.stderr
    assert "repeat.py: exit 1 after" in result.stderr.splitlines()[-1]
    assert not bench.output.exists()


@pytest.mark.parametrize(
    ("options", "status", "named"),
    [
        (["--set", "time=2"], 1, "unknown setting 'time'"),
        (["--set", "times=two"], 1, "times must be of type int"),
        (["--config", "none.yaml"], 1, "none.yaml: no such settings file"),
        (["--jobs", "0"], 2, "must be a whole number, at least 1, not '0'"),
        (["--jobs", "many"], 2, "must be a whole number, at least 1, not 'many'"),
        (["--colour", "red"], 2, "without arguments for its usage"),
    ],
)
def test_wrong_options(bench: Bench, options: list[str], status: int, named: str) -> None:
    result = bench.copy(*options)
    assert result.returncode == status
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert not bench.output.parent.exists()


def test_a_missing_input_stops_before_any_work(bench: Bench) -> None:
    bench.source.unlink()
    result = bench.copy()
    assert result.returncode == 1
    assert f"{bench.source}: no such file or folder" in result.stderr
    assert not bench.output.parent.exists()


def test_build_of_a_single_file(tmp_path: Path) -> None:
    tool = commandline.Tool("Write.", [], [], "write.py out")
    output = tmp_path / "lm.txt"

    def write(text: str) -> None:
        tool.build(
            output, [], {"text": text}, lambda partial: partial.write_text(text), is_folder=False
        )

    write("first")
    write("second")
    assert output.read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lm.txt.done.json", "lm.txt"]

    def fail(partial: Path) -> None:
        partial.write_text("half")
        raise InputError("stop")

    with pytest.raises(InputError):
        tool.build(output, [], {"text": "third"}, fail, is_folder=False)
    assert output.read_text() == "second"
