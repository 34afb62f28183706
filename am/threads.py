"""One thread a core, each computing alone.

Splitting every small operation among the cores makes them wait for each other at its end, and on a
machine with other work those waits dominate.  Here each thread has a batch of its own; torch and
numpy let the others run while they compute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], device: torch.device
) -> Iterator[Result]:
    """``function`` of each item, in order, on as many threads as torch was given.

    At most two items a thread are under way or waiting to be taken.  Tensors on a CUDA device
    have one thread.  While this runs, single operations of torch are not split among threads.
    """
    workers = torch.get_num_threads() if device.type == "cpu" else 1
    if workers == 1:
        yield from map(function, items)
        return
    pending: deque[Future[Result]] = deque()
    with unsplit_operations(), ThreadPoolExecutor(workers) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def unsplit_operations() -> Iterator[None]:
    """Within it, torch computes each operation on one thread: right for many small ones."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
