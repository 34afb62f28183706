"""Work on a stream of items in several processes, with little in memory at a time."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import torch

from am.executors import Executor, WorkerKilledError, Workers, WorkersLostError, error_of, reason_of
from am.threads import unsplit_operations

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

# Chunks in flight a process: enough that none waits, few enough that memory stays small.
CHUNKS_AHEAD = 3


def map_chunks(
    work: Callable[[Any, list[Item]], Result],
    make_state: Callable[[], Any],
    items: Iterable[Item],
    executor: Executor,
    *,
    chunk_size: int,
    device: torch.device,
    at_most: int | None = None,
    in_threads: bool = False,
) -> Iterator[Result]:
    """``work(state, chunk)`` for each chunk of ``items``, the results in the items' order.

    Args:
        work: a module's function.
        make_state: called without arguments; picklable.
        items: cuts, or their ids; read as they are needed, a few chunks ahead.
        executor: what does the work.
        chunk_size: items a call of ``work``.
        device: where the state's tensors live.
        at_most, in_threads: see :meth:`am.executors.Executor.workers`.

    Raises:
        InputError: the process that worked on a chunk was killed, on a cluster several times; the
            log names the chunk's cuts.
    """
    share_state = device.type == "cpu"
    with executor.workers(
        work, make_state, share_state=share_state, at_most=at_most, in_threads=in_threads
    ) as workers:
        waiting: deque[tuple[list[Item], Future[Result]]] = deque()
        try:
            for chunk in chunks(items, chunk_size):
                waiting.append((chunk, workers.submit(chunk)))
                if len(waiting) >= max(1, CHUNKS_AHEAD * workers.count()):
                    yield _next_result(workers, waiting)
            while waiting:
                yield _next_result(workers, waiting)
        finally:
            for _, future in waiting:
                future.cancel()


def _next_result(workers: Workers, waiting: deque[tuple[list[Item], Future[Result]]]) -> Result:
    chunk, future = waiting.popleft()
    error = error_of(future)
    if isinstance(error, WorkerKilledError) and waiting:
        # Once more, alone, to be sure that it is this one.
        wait([other for _, other in waiting])
        future = workers.submit(chunk)
        error = error_of(future)
    if error is None:
        return future.result()
    ids = ", ".join(str(getattr(item, "id", item)) for item in chunk)
    log.error("failed with these cuts: %s: %s", ids, reason_of(error))
    raise error


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Neighbouring items together, read as they are needed."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


@dataclass(frozen=True)
class LocalProcesses:
    """Processes of this machine; one alone is this very process.

    Where it may, under Linux, the state (graph, model) is made once and the processes share its
    memory; otherwise each process makes its own.
    """

    processes: int = 1

    @contextmanager
    def workers(
        self,
        work: Callable[[Any, Any], Any],
        make_state: Callable[[], Any],
        *,
        share_state: bool,
        at_most: int | None = None,
        several_threads: bool = False,
        in_threads: bool = False,
    ) -> Iterator[Workers]:
        """See :meth:`am.executors.Executor.workers`.

        Raises:
            WorkersLostError: a process was killed; which item did it is not known.
        """
        processes = self.processes if at_most is None else min(self.processes, at_most)
        if processes <= 1:
            with nullcontext() if several_threads else unsplit_operations():
                yield _ThisProcess(work, make_state())
            return
        if in_threads:
            state = make_state()
            with unsplit_operations(), ThreadPoolExecutor(processes) as thread_pool:
                yield _LocalWorkers(thread_pool, partial(work, state), processes)
            return
        fork = share_state and sys.platform == "linux"
        threads = max(1, torch.get_num_threads() // processes) if several_threads else 1
        context = multiprocessing.get_context("fork" if fork else "spawn")
        arguments = (work, make_state, threads)
        if fork:
            shared = make_state()
            arguments = (work, lambda: shared, threads)
        try:
            with ProcessPoolExecutor(processes, context, _start_process, arguments) as pool:
                yield _LocalWorkers(pool, _work_in_process, processes)
        except BrokenProcessPool as error:
            raise WorkersLostError(
                "a worker process was killed, perhaps for memory; run the tool again with fewer "
                "--jobs"
            ) from error

    def close(self) -> None:
        """Nothing is kept."""


ONE_PROCESS = LocalProcesses(1)


class _ThisProcess:
    def __init__(self, work: Callable[[Any, Any], Any], state: Any):
        self._work = work
        self._state = state

    def submit(self, item: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(self._work(self._state, item))
        except Exception as error:
            future.set_exception(error)
        return future

    def count(self) -> int:
        return 0


class _LocalWorkers:
    def __init__(self, pool: Pool, work: Callable[[Any], Any], number: int):
        self._pool = pool
        self._work = work
        self._number = number

    def submit(self, item: Any) -> Future[Any]:
        return self._pool.submit(self._work, item)

    def count(self) -> int:
        return self._number


@dataclass
class _Process:
    """What a worker process keeps from one item to the next; the state is made for the first."""

    work: Callable[[Any, Any], Any]
    make_state: Callable[[], Any]
    state: Any = None


_process: _Process | None = None


def _start_process(
    work: Callable[[Any, Any], Any], make_state: Callable[[], Any], threads: int
) -> None:
    global _process
    _process = _Process(work, make_state)
    torch.set_num_threads(threads)


def _work_in_process(item: Any) -> Any:
    assert _process is not None
    if _process.state is None:
        _process.state = _process.make_state()
    return _process.work(_process.state, item)
