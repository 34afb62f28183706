"""A cluster of separate processes, for all tests that need one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from am.executors import Executor, executor_of
from tests import cluster_cases


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of faults (tests/cluster_cases.py)."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="session")
def address(faults: Path) -> Iterator[str]:
    """A scheduler with two workers, of which an item may have one killed."""
    import dask
    from distributed import LocalCluster

    environment = {"OMP_NUM_THREADS": "1", cluster_cases.FAULTS_VARIABLE: str(faults)}
    settings = {
        "temporary-directory": str(faults),
        "distributed.scheduler.allowed-failures": 1,
        # A LocalCluster would close a worker for good so long after it was killed and restarted.
        "distributed.deploy.lost-worker-timeout": "1h",
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
            env=environment,
            preload=[cluster_cases.__file__],
        ) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture
def workers(address: str, faults: Path) -> Iterator[Executor]:
    """The workers, with no faults."""
    for fault in faults.glob("*.*"):
        fault.unlink()
    executor = executor_of(f"dask:{address}")
    yield executor
    executor.close()
