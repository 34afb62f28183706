"""Each process's part of a checkpoint: residuals, an optimiser of its own, random states.

``last.pt`` (:mod:`am.nnet.checkpoint`) is the main process's; beside it stands a file a process,
named by the place in the plan, so that a kill between two writes never mixes two checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from am.errors import InputError
from am.nnet.checkpoint import TrainingState
from am.parallel.process_group import ProcessGroup


@contextmanager
def saving_part(
    folder: Path, group: ProcessGroup, state: TrainingState, values: dict[str, Any]
) -> Iterator[None]:
    """Write this process's part; within the context the main process writes ``last.pt``.

    Args:
        folder: of the checkpoints.
        group: the processes.
        state: that the checkpoint is of.
        values: tensors, numbers and dictionaries of them.
    """
    path = _path(folder, group.rank, state)
    on_gpu = torch.cuda.is_initialized()
    random_states = {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if on_gpu else None,
    }
    aside = path.with_suffix(".tmp")
    torch.save({"values": values, "random_states": random_states}, aside)
    aside.replace(path)
    group.wait()
    yield
    group.wait()
    for older in folder.glob(f"{_prefix(group.rank)}*.pt"):
        if older != path:
            older.unlink()


def load_parts(
    folder: Path, group: ProcessGroup, state: TrainingState
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of the main process and those of this one, whose random states are restored.

    Raises:
        InputError: a part is missing or damaged.
    """
    common = _load(_path(folder, 0, state))
    own = common if group.is_main else _load(_path(folder, group.rank, state))
    torch.set_rng_state(own["random_states"]["cpu"])
    if own["random_states"]["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(own["random_states"]["cuda"])
    return common["values"], own["values"]


def _load(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds of error for a damaged file
        raise InputError(
            f"{path}: no readable part of the checkpoint; all machines must see this folder; or "
            "give --redo"
        ) from error
    return values


def _path(folder: Path, rank: int, state: TrainingState) -> Path:
    return folder / f"{_prefix(rank)}{state.pass_index:05d}-{state.batches_done:08d}.pt"


def _prefix(rank: int) -> str:
    return f"process-{rank:04d}-"
