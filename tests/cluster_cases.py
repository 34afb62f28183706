"""Work for the workers of a cluster, which import it from here, and faults they can be given.

A worker that loads this file (Dask's ``preload``) looks into ``$MEGAHOUR_TEST_FAULTS`` whenever it
has written half of a shard, of a part's statistics or of a cut's features:

==============  =========================================================
``NAME.kill``   the process is killed; the file is removed before, so once
``NAME.poison`` the process is killed, every time
``NAME.full``   the disk is full
==============  =========================================================
"""

from __future__ import annotations

import errno
import gzip
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import am.gmm.parts
import am.storage
from am.features.storage import Float16FileWriter

FAULTS_VARIABLE = "MEGAHOUR_TEST_FAULTS"


def dask_setup(worker: Any) -> None:
    """Called by Dask in each worker that loads this file."""
    for module in (am.storage, am.gmm.parts):
        module.save_file = _faulty_save_file(module.save_file)
    Float16FileWriter.write = _faulty_write(Float16FileWriter.write)


def _faulty_save_file(save_file: Callable[..., None]) -> Callable[..., None]:
    def save(tensors: Any, path: str, metadata: Any) -> None:
        save_file(tensors, path, metadata)
        written = Path(path)
        os.truncate(path, written.stat().st_size // 2)
        suffer(written.stem)
        save_file(tensors, path, metadata)

    return save


def _faulty_write(original: Callable[..., str]) -> Callable[..., str]:
    def write(writer: Float16FileWriter, key: str, value: np.ndarray) -> str:
        suffer(Path(writer.storage_path).stem)
        return original(writer, key, value)

    return write


def suffer(name: str) -> None:
    """What the faults folder has for ``name``."""
    fault = Path(os.environ[FAULTS_VARIABLE]) / name
    if fault.with_suffix(".kill").exists():
        fault.with_suffix(".kill").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.with_suffix(".poison").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.with_suffix(".full").exists():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def double(factor: int, chunk: list[int]) -> list[int]:
    """The state times each item."""
    return [factor * item for item in chunk]


def double_or_die(faults: Path, chunk: list[int]) -> list[int]:
    """Twice each item; a file ``chunk-FIRST.kill`` kills the worker once, ``.poison`` always."""
    os.environ[FAULTS_VARIABLE] = str(faults)
    suffer(f"chunk-{chunk[0]}")
    return double(2, chunk)


def double_after_killing_the_job(mark: Path, chunk: list[int]) -> list[int]:
    """Twice each item; the first call kills the batch job that it is in."""
    if not mark.exists():
        mark.touch()
        os.killpg(os.getpgid(0), signal.SIGKILL)
    return double(2, chunk)


def threads_and_folder(_: int, chunk: list[int]) -> tuple[int, str]:
    """Threads that torch computes with, and the folder of the work."""
    import torch

    return torch.get_num_threads(), str(Path.cwd())


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder but those that hold times; what gzip packed, unpacked."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "summary.json")
    return {
        str(path.relative_to(folder)): gzip.decompress(path.read_bytes())
        if path.suffix == ".gz"
        else path.read_bytes()
        for path in files
    }


def times(folder: Path, pattern: str) -> dict[str, int]:
    """When the files were written, in nanoseconds."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob(pattern)}
