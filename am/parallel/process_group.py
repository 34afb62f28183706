"""The processes of one training, as torchrun starts them; a process alone is a group of one.

Small numbers travel on the CPU (gloo), tensors of a GPU through NCCL.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from am.errors import InputError
from am.parallel.settings import TIMEOUT_MINUTES

Value = TypeVar("Value")

TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# The others wait this long while the main process checks the data of a whole corpus.
MAIN_FIRST_TIMEOUT = timedelta(hours=4)
# Machines of a job may start one after the other.
JOIN_TIMEOUT = timedelta(minutes=30)
FAILURES_KEY = "megahour/failures"
MAIN_FIRST_KEY = "megahour/main_first"
MAIN_NAME_KEY = "megahour/main_name"
CONFIRMATION_TIMEOUT = timedelta(seconds=1)


class ProcessGroup:
    """This process among all.

    Args:
        rank: which one it is, from 0, the main one.
        size: how many there are.
        local_rank: which one it is on its machine.
        store: what the processes tell each other failures through, and when one has finished.

    Attributes:
        bytes_sent: what this process has handed to the others so far, each value counted once.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, store: Any = None):
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.bytes_sent = 0
        self._store = store
        self._times_main_first = 0
        self._is_joined = dist.is_available() and dist.is_initialized()

    @property
    def is_main(self) -> bool:
        """Whether this process owns the output and the log."""
        return self.rank == 0

    @property
    def is_distributed(self) -> bool:
        """Whether torchrun started this process, perhaps as the only one."""
        return self._is_joined

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes: the same bits on all."""
        if not self._is_joined:
            return
        with _lost_processes():
            works = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
            self.bytes_sent += sum(_num_bytes(tensor) for tensor in tensors)
            for work in works:
                work.wait()

    def gather(self, tensor: Tensor) -> Tensor:
        """(N, …) of the N processes' tensors of one shape."""
        if not self._is_joined:
            return tensor[None]
        gathered = [torch.empty_like(tensor) for _ in range(self.size)]
        with _lost_processes():
            dist.all_gather(gathered, tensor)
        self.bytes_sent += _num_bytes(tensor)
        return torch.stack(gathered)

    def exchange(self, message: Tensor) -> list[Tensor]:
        """Every process's message, a row of numbers of one type but of any length."""
        lengths = self.gather(torch.tensor([len(message)])).flatten().tolist()
        messages = [
            message if rank == self.rank else message.new_empty(length)
            for rank, length in enumerate(lengths)
        ]
        if self._is_joined:
            with _lost_processes():
                works = [
                    dist.broadcast(each, src=rank, async_op=True)
                    for rank, each in enumerate(messages)
                    if len(each) > 0
                ]
                for work in works:
                    work.wait()
            self.bytes_sent += _num_bytes(message)
        return messages

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by the main process's."""
        if self._is_joined:
            with _lost_processes():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def from_main(self, value: Value) -> Value:
        """The main process's value; the others' own is not looked at."""
        values = [value]
        if self._is_joined:
            with _lost_processes():
                dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def wait(self) -> None:
        """Go on when every process has come here."""
        self.gather(torch.zeros(1))

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """What stands in it is done by the main process; when it has finished, by the others.

        It may take longer than an answer of another process.
        """
        self._times_main_first += 1
        key = f"{MAIN_FIRST_KEY}/{self._times_main_first}"
        if self._is_joined and not self.is_main:
            with _lost_processes():
                self._store.wait([key], MAIN_FIRST_TIMEOUT)
        yield
        if self._is_joined and self.is_main:
            with _lost_processes():
                self._store.set(key, "finished")

    def fails_first(self) -> bool:
        """Whether no other process has failed yet; the first one's message is the one to show."""
        if self._store is None:
            return True
        try:
            return bool(self._store.add(FAILURES_KEY, 1) == 1)
        except RuntimeError:  # the process that holds the store is gone
            return True

    def leave(self) -> None:
        """When all is done."""
        global _joined
        if self._is_joined:
            dist.destroy_process_group()
            self._is_joined = False
            _joined = None


# The group that this process has joined.
_joined: ProcessGroup | None = None


def started_by_torchrun() -> bool:
    """Whether this process is to be one of a group."""
    return all(name in os.environ for name in TORCHRUN_VARIABLES)


def join(timeout_minutes: float = TIMEOUT_MINUTES) -> ProcessGroup:
    """Join the group that torchrun's environment variables tell of; without them, be alone.

    Args:
        timeout_minutes: after which a process that does not answer counts as lost.

    Raises:
        InputError: the other processes cannot be reached.
    """
    global _joined
    if not started_by_torchrun():
        return ProcessGroup()
    timeout = timedelta(minutes=timeout_minutes)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=JOIN_TIMEOUT))
        store = _fresh_store(store, rank, size, JOIN_TIMEOUT)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise InputError(
            f"torchrun: the main process cannot be reached at {place}: {error}"
        ) from error
    _joined = ProcessGroup(rank, size, int(os.environ.get("LOCAL_RANK", "0")), store)
    return _joined


def _fresh_store(store: Any, rank: int, size: int, timeout: timedelta) -> Any:
    """A part of the store in which no earlier try of torchrun's has left anything.

    torchrun keeps its store when it starts the processes again, and gloo would look for the
    addresses of dead ones.  So the main process makes up a name, and each other process one of its
    own, by which the main process confirms that both are of the same try.
    """
    own_name = uuid.uuid4().hex
    if rank == 0:
        store.set(MAIN_NAME_KEY, own_name)
        for other in range(1, size):
            key = f"{own_name}/{other}"
            store.wait([key], timeout)
            store.set(f"{own_name}/{store.get(key).decode()}", "confirmed")
        return dist.PrefixStore(own_name, store)
    for _ in range(math.ceil(timeout / CONFIRMATION_TIMEOUT)):
        main_name = store.get(MAIN_NAME_KEY).decode()
        store.set(f"{main_name}/{rank}", own_name)
        with suppress(RuntimeError):  # the name was that of an earlier try
            store.wait([f"{main_name}/{own_name}"], CONFIRMATION_TIMEOUT)
            return dist.PrefixStore(main_name, store)
    raise RuntimeError("no answer")


def current_group() -> ProcessGroup:
    """The group that this process has joined, or it alone."""
    return _joined or ProcessGroup()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _num_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@contextmanager
def _lost_processes() -> Iterator[None]:
    """What torch says of a lost connection in a dozen ways, as one line."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise InputError(
            "another process of this training has ended, or has not answered within "
            "--timeout-minutes; look for its own message, also on the other machines; the same "
            f"command goes on from the last checkpoint ({_first_line(error)})"
        ) from error
