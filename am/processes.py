"""Work on a stream of items in several processes, with little in memory at a time."""

from __future__ import annotations

import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

import torch

from am.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Chunks in flight a process: enough that none waits, few enough that memory stays small.
CHUNKS_AHEAD = 3

# What each worker process keeps from one chunk to the next.
_state: Any = None


def map_chunks(
    work: Callable[[Any, list[Item]], Result],
    make_state: Callable[[], Any],
    items: Iterable[Item],
    jobs: int,
    *,
    chunk_size: int,
    device: torch.device,
) -> Iterator[Result]:
    """``work(state, chunk)`` for each chunk of ``items``, the results in the items' order.

    On a CPU under Linux the state (graph, model) is made once and the processes share its
    memory; on a GPU each process makes its own, as CUDA demands.  Each process computes with one
    thread, unless there is only one process, which is this one.

    Args:
        work: a module's function.
        make_state: called without arguments; picklable.
        items: read as they are needed, a few chunks ahead.
        jobs: processes.
        chunk_size: items a call of ``work``.
        device: where the state's tensors live.

    Raises:
        InputError: a process was killed.
    """
    chunks = _chunks(items, chunk_size)
    if jobs == 1:
        state = make_state()
        for chunk in chunks:
            yield work(state, chunk)
        return
    global _state
    share = device.type == "cpu" and sys.platform == "linux"
    if share:
        _state = make_state()
    context = multiprocessing.get_context("fork" if share else "spawn")
    try:
        with ProcessPoolExecutor(jobs, context, _start_process) as executor:
            yield from _in_order(executor, work, make_state, chunks, jobs * CHUNKS_AHEAD)
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process was killed, perhaps for memory; run the tool again with fewer --jobs"
        ) from error
    finally:
        _state = None


def _in_order(
    executor: ProcessPoolExecutor,
    work: Callable[[Any, list[Item]], Result],
    make_state: Callable[[], Any],
    chunks: Iterator[list[Item]],
    ahead: int,
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    try:
        for chunk in chunks:
            waiting.append(executor.submit(_work_in_process, work, make_state, chunk))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _start_process() -> None:
    torch.set_num_threads(1)


def _work_in_process(
    work: Callable[[Any, list[Item]], Result], make_state: Callable[[], Any], chunk: list[Item]
) -> Result:
    global _state
    if _state is None:
        _state = make_state()
    return work(_state, chunk)


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
