"""Jobs of Slurm and SGE, whose commands here run their jobs on this machine."""

from __future__ import annotations

import os
import sys
from functools import partial
from itertools import chain
from pathlib import Path

import dask
import distributed  # noqa: F401 (fills the settings that a test changes)
import pytest
import torch

from am import clusters
from am.errors import InputError
from am.executors import executor_of
from am.processes import map_chunks
from tests import cluster_cases

ROOT = Path(clusters.__file__).parents[1]
CPU = torch.device("cpu")

SUBMIT = """#!/usr/bin/env bash
cp "$1" {jobs}/$$.sh
setsid bash {jobs}/$$.sh >{jobs}/$$.log 2>&1 &
echo $! >>{jobs}/submitted
echo "{answer}"
"""
CANCEL = """#!/usr/bin/env bash
echo $1 >>{jobs}/cancelled
kill -- -$1
"""


@pytest.mark.parametrize(
    ("system", "submit", "cancel", "answer", "jobs_killed"),
    [
        ("slurm", "sbatch", "scancel", "Submitted batch job $!", 1),
        ("sge", "qsub", "qdel", 'Your job $! (\\"dask-worker\\") has been submitted', 0),
    ],
    ids=["slurm", "sge"],
)
def test_jobs_of_a_batch_system(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    submit: str,
    cancel: str,
    answer: str,
    jobs_killed: int,
) -> None:
    """Commands that run their jobs on this machine; a job that dies is submitted again."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    for name, text in ((submit, SUBMIT), (cancel, CANCEL)):
        command = jobs / name
        command.write_text(text.format(jobs=jobs, answer=answer))
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(jobs), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "jobs.yaml"
    shipped = (ROOT / "conf" / f"{system}.yaml").read_text()
    config.write_text(shipped.replace("jobs: 10", "jobs: 1").replace("exp/", f"{tmp_path}/"))
    executor = executor_of(f"{system}:{config}")
    work, mark = cluster_cases.double_after_killing_the_job, tmp_path / "killed"
    if not jobs_killed:
        mark.touch()
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0s"}):
        chunks = map_chunks(work, partial(Path, mark), range(6), executor, chunk_size=2, device=CPU)
        assert list(chain.from_iterable(chunks)) == list(range(0, 12, 2))
    executor.close()
    submitted = (jobs / "submitted").read_text().split()
    assert len(submitted) == 1 + jobs_killed
    assert set((jobs / "cancelled").read_text().split()) == set(submitted)
    script = next(jobs.glob("*.sh")).read_text()
    assert f"cd {tmp_path}\n" in script and "--nthreads 1 " in script


def test_a_job_that_is_refused_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = tmp_path / "sbatch"
    refuse.write_text("#!/bin/sh\necho 'invalid partition specified' >&2\nexit 1\n")
    refuse.chmod(0o755)
    config = tmp_path / "slurm.yaml"
    config.write_text("options: {cores: 1, memory: 1GB}\n")
    executor = executor_of(f"slurm:{config}")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"slurm.yaml: .*invalid partition specified"):
        list(map_chunks(cluster_cases.double, int, [1], executor, chunk_size=1, device=CPU))
    executor.close()
    refuse.unlink()
    with pytest.raises(InputError, match="this machine has no command sbatch"):
        list(map_chunks(cluster_cases.double, int, [1], executor, chunk_size=1, device=CPU))
    refuse.write_text("")
    refuse.chmod(0o755)
    config.write_text("options: {cores: 1, memory: 1GB, horses: 4}\n")
    with pytest.raises(InputError, match=r"slurm.yaml: options: .*'horses'"):
        executor = executor_of(f"slurm:{config}")
        list(map_chunks(cluster_cases.double, int, [1], executor, chunk_size=1, device=CPU))
