"""How many threads an operation of torch is split among.

Splitting every small operation among the cores makes them wait for each other at its end, and on a
machine with other work those waits dominate: work of small operations goes to a process or a thread
a core (:mod:`am.processes`), each of which computes alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def unsplit_operations() -> Iterator[None]:
    """Within it, torch computes each operation on one thread: right for many small ones."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
