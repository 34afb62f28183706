"""Where data-parallel work is done: processes of this machine, or the workers of a cluster.

The choice is made once, on the command line, and handed down as an :class:`Executor`; what is done
(:func:`am.processes.map_chunks`, :func:`am.shards.make_shards`) is the same for all of them.

====================  ==========================================================================
``local:N``           N processes of this machine (:class:`am.processes.LocalProcesses`)
``dask:ADDRESS``      the workers of a running Dask scheduler (:mod:`am.clusters`)
``slurm``, ``sge``    jobs of that batch system, as ``conf/slurm.yaml``, ``conf/sge.yaml`` say
``slurm:FILE.yaml``   the same, with settings of another file
====================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from am.errors import InputError

LOST_CONNECTION = (
    "the connection to the Dask scheduler was lost; look at what it printed, and run the same "
    "command again"
)


class Workers(Protocol):
    """Processes that are ready for one kind of work."""

    def submit(self, item: Any) -> Future[Any]:
        """Have one of them do ``work(state, item)``."""

    def count(self) -> int:
        """How many there are just now beside this process."""


class WorkersLostError(InputError):
    """All workers are gone, so that no item can be worked on any more."""


class Executor(Protocol):
    """Gives workers, as often as they are needed, until it is closed."""

    def workers(
        self,
        work: Callable[[Any, Any], Any],
        make_state: Callable[[], Any],
        *,
        share_state: bool,
        at_most: int | None = None,
        several_threads: bool = False,
        in_threads: bool = False,
    ) -> AbstractContextManager[Workers]:
        """Workers for ``work(state, item)``, each with one state from ``make_state()``.

        Args:
            work: a module's function.
            make_state: picklable; on another machine it reads what it needs from paths.
            share_state: processes of this machine may be forks that share one state; not where it
                holds CUDA tensors, or OpenMP was used.
            at_most: more processes of this machine are of no use: items there will be, if known,
                or 1 where they would share a GPU.
            several_threads: the work is large operations of torch, so that processes of this
                machine share its threads; otherwise each computes with one.
            in_threads: the work is short and mostly operations that let other threads run, so that
                it is done by threads in place of processes of this machine.

        Raises:
            InputError: there are none to be had.
            WorkersLostError: within the block, where there were some.
        """

    def close(self) -> None:
        """Give back what was reserved."""


class WorkerKilledError(InputError):
    """Several workers were killed, one after the other, while they had the same item.

    An item that waits behind the one that kills is counted as well, so this tells which one it was
    only where there was no other.
    """


def error_of(future: Future[Any]) -> BaseException | None:
    """How an item failed, told for users where it was no error of the work; None if it did not.

    Raises:
        BrokenProcessPool: the pool of processes that the future belongs to is broken.
        WorkersLostError: the connection to the cluster was lost.
    """
    if future.cancelled():
        raise WorkersLostError(LOST_CONNECTION)
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        raise error
    # Dask need not be installed.
    if error is not None and type(error).__name__ == "KilledWorker":
        _, worker, allowed_failures = error.args
        told = WorkerKilledError(
            f"its worker was killed {allowed_failures + 1} times, perhaps for memory, the last "
            f"time {worker.name} at {worker.address}; see what that worker printed"
        )
        told.__cause__ = error
        return told
    return error


def reason_of(error: BaseException) -> str:
    """An error in one line, with its type where that is not for users."""
    message = " ".join(str(error).split())
    if isinstance(error, InputError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def executor_of(text: str) -> Executor:
    """The executor that an option names; nothing is started before the first work.

    Raises:
        InputError: there is no such kind, or its settings cannot be read.
    """
    from am import clusters, processes  # they import this module

    kind, _, rest = text.partition(":")
    if kind == "local" and rest.isdecimal() and int(rest) > 0:
        return processes.LocalProcesses(int(rest))
    if kind == "dask" and "://" in rest:
        return clusters.dask_scheduler(rest)
    if kind in clusters.BATCH_SYSTEMS:
        return clusters.batch_jobs(kind, Path(rest or f"conf/{kind}.yaml"))
    raise InputError(
        f"'{text}': no such executor; give local:N, dask:tcp://HOST:PORT, slurm or sge "
        "(docs/clusters.md)"
    )
