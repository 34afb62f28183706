"""Work in several processes."""

import os
from functools import partial

import pytest
import torch

from am.errors import InputError
from am.processes import LocalProcesses, map_chunks

CPU = torch.device("cpu")


def _double(state: int, chunk: list[int]) -> list[int]:
    return [state * item for item in chunk]


def _break_down(state: int, chunk: list[int]) -> list[int]:
    os._exit(9)


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_order(jobs: int) -> None:
    chunks = map_chunks(
        _double, partial(int, 2), range(50), LocalProcesses(jobs), chunk_size=4, device=CPU
    )
    assert [item for chunk in chunks for item in chunk] == list(range(0, 100, 2))


def test_items_are_read_as_needed() -> None:
    taken = []
    items = (taken.append(i) or i for i in range(1000))  # type: ignore[func-returns-value]
    chunks = map_chunks(
        _double, partial(int, 2), items, LocalProcesses(2), chunk_size=1, device=CPU
    )
    next(chunks)
    assert len(taken) < 20
    chunks.close()  # type: ignore[attr-defined]


def test_killed_process_is_told() -> None:
    with pytest.raises(InputError, match="killed"):
        list(
            map_chunks(
                _break_down, partial(int, 2), range(4), LocalProcesses(2), chunk_size=1, device=CPU
            )
        )


def test_state_is_made_by_each_process_where_memory_cannot_be_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.platform", "elsewhere")
    chunks = map_chunks(
        _double, partial(int, 3), range(5), LocalProcesses(2), chunk_size=2, device=CPU
    )
    assert [item for chunk in chunks for item in chunk] == [0, 3, 6, 9, 12]


def _process_and_threads(state: int, chunk: list[int]) -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


@pytest.mark.parametrize("jobs", [1, 2])
def test_short_work_is_done_in_this_process_each_operation_by_one_thread(jobs: int) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = map_chunks(
            _process_and_threads,
            int,
            range(4),
            LocalProcesses(jobs),
            chunk_size=1,
            device=CPU,
            in_threads=True,
        )
        assert list(found) == [(os.getpid(), 1)] * 4
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
