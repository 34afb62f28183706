"""The workers of a cluster: of a running Dask scheduler, or jobs of a batch system (dask-jobqueue).

Scheduling, sending and retrying are Dask's.  Every worker sees the same file system; a piece of
work is done in the folder where the tool runs, so that relative paths mean the same.  An item whose
worker is killed goes to another one, as often as the scheduler's ``allowed-failures`` (3) says.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import pickle
import shlex
import shutil
import socket
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from am.config import load_settings
from am.errors import InputError
from am.executors import LOST_CONNECTION, Workers, WorkersLostError

log = logging.getLogger(__name__)

BATCH_SYSTEMS = {"slurm": "SLURMCluster", "sge": "SGECluster"}
CONNECT_SECONDS = 10
# States a worker keeps: two tools may share the workers.
MAX_STATES = 2


@dataclass(frozen=True)
class BatchSettings:
    """Jobs of a batch system (``conf/slurm.yaml``, ``conf/sge.yaml``).

    Attributes:
        jobs: how many are asked for.
        options: of each, as dask-jobqueue's ``SLURMCluster`` or ``SGECluster`` takes them.
    """

    jobs: int = 10
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"jobs must be at least 1, not {self.jobs}")


def dask_scheduler(address: str) -> DaskExecutor:
    """The workers of the scheduler at ``address``, such as ``tcp://HOST:8786``."""
    return DaskExecutor(f"dask:{address}", partial(_connect, address))


def batch_jobs(system: str, config: Path) -> DaskExecutor:
    """Jobs of a batch system, submitted at the first work and ended with the tool.

    Args:
        system: a key of :data:`BATCH_SYSTEMS`.
        config: a YAML file of :class:`BatchSettings`.

    Raises:
        InputError: the file is missing or malformed.
    """
    settings = load_settings(BatchSettings, config)
    return DaskExecutor(system, partial(_submit_jobs, system, config, settings))


class DaskExecutor:
    """See :class:`am.executors.Executor`; connects at the first work, and stays connected."""

    def __init__(self, name: str, connect: Callable[[str, ExitStack], Any]):
        """Make one that is not yet connected.

        Args:
            name: as the user gave it.
            connect: of ``name`` and a stack of what is to be closed; returns a Dask client.
        """
        self._name = name
        self._connect = connect
        self._closing = ExitStack()
        self._client: Any = None

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
        """See :meth:`am.executors.Executor.workers`; a worker computes with one thread.

        Raises:
            InputError: dask is not installed, or there is no connection.
        """
        if self._client is None:
            self._client = self._connect(self._name, self._closing)
        if not self._client.nthreads():
            log.info("%s: has no worker yet; waiting for the first", self._name)
        key = uuid.uuid4().hex
        try:
            yield _DaskWorkers(self._client, work, make_state, key)
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self._client.run(_forget_state, key, on_error="ignore")

    def close(self) -> None:
        """Close the connection; end the jobs, if they were submitted for it."""
        self._client = None
        self._closing.close()


def _connect(address: str, name: str, closing: ExitStack) -> Any:
    distributed = _imported("distributed", name)
    try:
        # A client that finds nobody needs a minute to be given up.
        asyncio.run(_try_connection(distributed, address))
    except (OSError, ValueError) as error:
        raise InputError(
            f"--executor {name}: no Dask scheduler answers there ({' '.join(str(error).split())}); "
            "start one ('dask scheduler') or mend the address"
        ) from error
    return closing.enter_context(distributed.Client(address, set_as_default=False))


async def _try_connection(distributed: Any, address: str) -> None:
    """Connect to a scheduler and hang up."""
    arguments = distributed.Security().get_connection_args("client")
    line = await distributed.comm.connect(address, timeout=CONNECT_SECONDS, **arguments)
    await line.close()


def _submit_jobs(
    system: str, config: Path, settings: BatchSettings, name: str, closing: ExitStack
) -> Any:
    distributed = _imported("distributed", name)
    cluster_class = getattr(_imported("dask_jobqueue", name), BATCH_SYSTEMS[system])
    command = cluster_class.job_cls.submit_command.split()[0]
    if shutil.which(command) is None:
        raise InputError(
            f"--executor {name}: this machine has no command {command}; run the tool where jobs "
            "are submitted"
        )
    toolkit = Path(__file__).parents[1]
    prologue = [
        f"cd {shlex.quote(str(Path.cwd()))}",
        f"export PYTHONPATH={shlex.quote(str(toolkit))}${{PYTHONPATH:+:$PYTHONPATH}}",
        "export OMP_NUM_THREADS=1",
    ]
    options = {"scheduler_options": {"dashboard_address": ":0"}, **settings.options}
    options["job_script_prologue"] = [*prologue, *(options.get("job_script_prologue") or [])]
    try:
        cluster = closing.enter_context(cluster_class(**options))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{config}: options: {' '.join(str(error).split())}") from error
    try:
        # Submitted here and now, so that a refused job is told; later ones are only logged.
        cluster.worker_spec.update(cluster.new_worker_spec())
        cluster.sync(cluster._correct_state)
    except (OSError, ValueError, RuntimeError) as error:
        for job in cluster.workers.values():
            # Dask refuses to close a job that was never submitted.
            job.status = distributed.Status.closed
        raise InputError(f"{config}: {' '.join(str(error).split())}") from error
    # Adapting, with one number for both bounds, replaces jobs that end before the work does.
    cluster.adapt(minimum_jobs=settings.jobs, maximum_jobs=settings.jobs)
    printed = options.get("log_directory") or "files that the batch system names"
    log.info("%s: %d jobs asked for; what they print is in %s", name, settings.jobs, printed)
    return closing.enter_context(distributed.Client(cluster, set_as_default=False))


def _imported(module: str, name: str) -> Any:
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"--executor {name}: needs {module}, which cannot be imported here ({error}); install "
            "it with: utils/make_environment.sh cluster"
        ) from error
    logging.getLogger("distributed").setLevel(logging.WARNING)
    return imported


class _DaskWorkers:
    def __init__(
        self,
        client: Any,
        work: Callable[[Any, Any], Any],
        make_state: Callable[[], Any],
        key: str,
    ):
        self._client = client
        self._executor = client.get_executor(pure=False)
        # With each item, for what is kept on workers is lost with them; unpickled in the folder.
        self._arguments = (work, pickle.dumps(make_state), key, str(Path.cwd()))

    def submit(self, item: Any) -> Future[Any]:
        with _connection():
            future: Future[Any] = self._executor.submit(_work_on_worker, *self._arguments, item)
            return future

    def count(self) -> int:
        with _connection():
            return len(self._client.nthreads())


@contextmanager
def _connection() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkersLostError(LOST_CONNECTION) from error


# What this process keeps, where it is a worker.
_states: OrderedDict[str, Any] = OrderedDict()


def _work_on_worker(
    work: Callable[[Any, Any], Any],
    pickled_make_state: bytes,
    key: str,
    folder: str,
    item: Any,
) -> Any:
    """``work(state, item)`` in ``folder``, with this process's state for ``key``."""
    from distributed import get_worker

    if get_worker().state.nthreads != 1:
        raise InputError(
            f"the Dask worker {get_worker().address} does several pieces of work at a time; start "
            "it with --nthreads 1, and as many workers as it had threads (--nworkers)"
        )
    try:
        os.chdir(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be opened on {socket.gethostname()} ({error.strerror}); run the "
            "tool in a folder that all workers see"
        ) from error
    # Of the thread that computes, not of the process.
    torch.set_num_threads(1)
    if key not in _states:
        _states[key] = pickle.loads(pickled_make_state)()
        while len(_states) > MAX_STATES:
            _states.popitem(last=False)
    return work(_states[key], item)


def _forget_state(key: str) -> None:
    _states.pop(key, None)
