"""A few processes of this machine as a group (gloo), each running the same function of a test."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from am.parallel.process_group import ProcessGroup, join
from am.parallel.settings import TIMEOUT_MINUTES


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def run_processes(
    folder: Path,
    num_processes: int,
    function: Callable[..., Any],
    *arguments: Any,
    timeout_minutes: float = TIMEOUT_MINUTES,
) -> list[Any]:
    """The results, tensors or plain values, of ``function(group, *arguments)`` on each process.

    An exception of one of them is raised here.
    """
    # A forked process need not import torch again, but cannot use a GPU.
    method = "spawn" if torch.cuda.is_available() else "fork"
    torch.multiprocessing.start_processes(
        _run,
        (num_processes, free_port(), folder, function, arguments, timeout_minutes),
        num_processes,
        True,
        start_method=method,
    )
    return [torch.load(_result_path(folder, rank)) for rank in range(num_processes)]


def _run(
    rank: int,
    num_processes: int,
    port: int,
    folder: Path,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    timeout_minutes: float,
) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(num_processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    group: ProcessGroup = join(timeout_minutes)
    torch.save(function(group, *arguments), _result_path(folder, rank))
    group.leave()


def _result_path(folder: Path, rank: int) -> Path:
    return folder / f"result-{rank}.pt"
