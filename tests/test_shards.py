"""Shards made by processes of this machine: failures are named, the others are made."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import pytest

from am.errors import InputError
from am.executors import WorkersLostError
from am.outputs import UNFINISHED_PREFIX, unfinished_folder
from am.processes import ONE_PROCESS, LocalProcesses
from am.shards import MAX_NAMED, make_shards


def write(output: Path, number: int) -> None:
    """A shard; 3 finds the disk full, 4 is bad input, 5 kills its process, 6 interrupts."""
    if number == 3:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if number == 4:
        raise InputError("cut x: too\nlong; shorten it")
    if number == 5:
        os._exit(9)
    if number == 6:
        raise KeyboardInterrupt
    with unfinished_folder(output) as aside:
        (aside / "made").write_text(str(number))
        (aside / "made").replace(output / str(number))


def make(output: Path, numbers: list[int], processes: int = 1) -> None:
    shards = [(f"shard-{number}", number) for number in numbers]
    executor = LocalProcesses(processes)
    make_shards(
        write, partial(Path, output), shards, len(shards), executor, output, description="x"
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_the_others_are_made_and_the_failed_are_named(tmp_path: Path, processes: int) -> None:
    (tmp_path / f"{UNFINISHED_PREFIX}of a killed run").mkdir()
    with pytest.raises(InputError) as told:
        make(tmp_path, [0, 3, 1, 4, 2], processes)
    assert f"2 of 5 shards failed, logs in {tmp_path}/logs: " in str(told.value)
    assert "shard-3 (OSError: [Errno 28] No space left on device)" in str(told.value)
    assert "shard-4 (cut x: too long; shorten it)" in str(told.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "logs"]
    log = (tmp_path / "logs/shard-3.log").read_text()
    assert "in write" in log and "Errno 28" in log
    make(tmp_path, [7, 8], processes)
    assert not (tmp_path / "logs").exists()


def test_of_many_failures_some_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="and 3 more; the others") as told:
        make(tmp_path, [4] * (MAX_NAMED + 3))
    assert str(told.value).count("cut x") == MAX_NAMED


def test_a_log_that_cannot_be_written_is_printed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").touch()
    with pytest.raises(InputError, match="1 of 1 shards failed"):
        make(tmp_path, [3])
    assert "No space left on device" in caplog.text and "in write" in caplog.text


def test_a_killed_process_and_an_interrupt_end_it(tmp_path: Path) -> None:
    with pytest.raises(WorkersLostError, match=r"killed, perhaps for memory; .* fewer --jobs"):
        make(tmp_path, [5, 0], 2)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, [0, 6, 1])
    assert not (tmp_path / "1").exists()


def test_nothing_to_do_starts_nothing(tmp_path: Path) -> None:
    make_shards(write, _never, [], 0, ONE_PROCESS, tmp_path, description="x")


def _never() -> None:
    raise AssertionError
