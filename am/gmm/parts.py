"""A pass over training data in parts, each the work of one of an executor's workers.

How the data are divided depends on the data alone, and the results are read in the order of the
parts, so that their sum does not depend on who made them.  A result is a file, whole or absent
(:mod:`am.shards`): where some parts fail, the same pass does those alone when it is called again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from am.executors import Executor
from am.outputs import unfinished_folder
from am.shards import make_shards

Item = TypeVar("Item")
Arrays = dict[str, np.ndarray]

# A part's result has the size of the model's statistics, whatever the size of the part.
MAX_PARTS = 128


def divide(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Neighbouring items together, in at most ``MAX_PARTS`` parts."""
    size = max(1, -(-len(items) // MAX_PARTS))
    return [items[first : first + size] for first in range(0, len(items), size)]


def map_parts(
    work: Callable[[Any, Item], Arrays],
    make_state: Callable[[], Any],
    parts: Sequence[Item],
    folder: Path,
    executor: Executor,
    device: torch.device,
    *,
    in_threads: bool = True,
) -> Iterator[Arrays]:
    """``work(state, part)`` for each of ``parts``, the results in their order.

    A worker computes with one thread.  A device other than the CPU has one process of this machine.

    Args:
        work: a module's function.
        make_state: called without arguments; picklable.
        parts: picklable.
        folder: named as the pass; holds what workers read, and the results until all are read.
        executor: what does the work.
        device: where the state's tensors live.
        in_threads: on this machine, by threads: passes are so many and so short that starting
            processes for each of them costs measurably more CPU time.

    Raises:
        InputError: parts failed, after the others were done; it names them.
    """
    paths = [folder / f"{folder.name}-{index:05d}.safetensors" for index in range(len(parts))]
    missing = [pair for pair in zip(paths, parts, strict=True) if not pair[0].is_file()]
    make_shards(
        _do_part,
        partial(_State.make, work, make_state),
        [(path.stem, (path, part)) for path, part in missing],
        len(missing),
        executor,
        folder,
        description=folder.name,
        share_state=device.type == "cpu",
        at_most=None if device.type == "cpu" else 1,
        in_threads=in_threads,
    )
    for path in paths:
        yield load_file(path)
    shutil.rmtree(folder)


@dataclass(frozen=True)
class _State:
    work: Callable[[Any, Any], Arrays]
    state: Any

    @classmethod
    def make(cls, work: Callable[[Any, Any], Arrays], make_state: Callable[[], Any]) -> _State:
        return cls(work, make_state())


def _do_part(state: _State, item: tuple[Path, Any]) -> None:
    path, part = item
    result = state.work(state.state, part)
    with unfinished_folder(path.parent) as aside:
        save_file(result, str(aside / path.name), None)
        (aside / path.name).replace(path)
