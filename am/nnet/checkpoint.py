"""Checkpoints: everything that a training needs to go on as if it had never stopped.

A checkpoint is a folder, named after the pass of the plan and the batches done in it:

    training.pt         what all processes share: model, optimiser, state of the training
    process-RRRR.pt     what process R has of its own, such as its random states
    checkpoint.json     the SHA-256 of these files; how many processes there are

It is written aside and renamed when all of it is there.  torch notices no altered bytes, and after
a loss of power a file may be empty that was written long ago; hence the checksums.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from am.errors import InputError
from am.outputs import flush_to_disk, partial_path, sha256_of_file
from am.parallel.process_group import ProcessGroup

log = logging.getLogger(__name__)

TRAINING_NAME = "training.pt"
DESCRIPTION_NAME = "checkpoint.json"
NAME_PATTERN = "pass-*-batch-*"
# What reading a missing or damaged description ends with.
DAMAGES = (OSError, ValueError, KeyError, TypeError)


@dataclass
class TrainingState:
    """How far a training has come.

    Attributes:
        pass_index: the pass of the plan that is under way, from 0.
        batches_done: batches done in it.
        pass_frames, pass_loss: frames of it so far, and their summed loss.
        pass_vectors, pass_padding: vectors of its batches so far, and how many are padding.
        num_updates: updates of the model in all.
        frames_done: frames seen in all.
        best_dev_loss: lowest dev loss a frame so far.
        evaluations_since_best: how many evaluations were not better.
        newbob_scale: what the learning rate has been lowered to so far.
        skipped_batches, skipped_in_a_row: batches whose loss or gradient was not finite.
        candidates: pass index and dev loss of the weights to average (:mod:`am.nnet.averaging`).
        loss_scale: the state of float16's loss scale.
    """

    pass_index: int = 0
    batches_done: int = 0
    pass_frames: int = 0
    pass_loss: float = 0.0
    pass_vectors: int = 0
    pass_padding: int = 0
    num_updates: int = 0
    frames_done: int = 0
    best_dev_loss: float = math.inf
    evaluations_since_best: int = 0
    newbob_scale: float = 1.0
    skipped_batches: int = 0
    skipped_in_a_row: int = 0
    candidates: list[list[float]] = field(default_factory=list)
    loss_scale: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SavedTraining:
    """What a checkpoint holds for one process: tensors, numbers and dictionaries of them.

    Attributes:
        shared: what all processes have alike.
        own: what only this process has.
    """

    shared: dict[str, Any]
    own: dict[str, Any]


class CheckpointFolder:
    """The last checkpoints of a training; all its processes call each method together.

    Args:
        folder: where they lie; made by the main process.
        group: the processes.
        keep: how many of them stay.
    """

    def __init__(self, folder: Path, group: ProcessGroup, keep: int):
        self.folder = folder
        self._group = group
        self._keep = keep
        if group.is_main:
            folder.mkdir(exist_ok=True)
            for unfinished in folder.glob(partial_path(folder / NAME_PATTERN).name):
                shutil.rmtree(unfinished)
        group.wait()

    def save(self, state: TrainingState, saved: SavedTraining) -> None:
        """Write a checkpoint, of which the main process gives what is shared.

        Args:
            state: where in the training it stands.
            saved: its content.

        Raises:
            InputError: it cannot be written.
        """
        path = self.folder / f"pass-{state.pass_index:05d}-batch-{state.batches_done:08d}"
        aside = partial_path(path)
        with _writing(aside):
            aside.mkdir(exist_ok=True)
            own = aside / _part_name(self._group.rank)
            torch.save(saved.own, own)
            flush_to_disk(own)
            digest = bytearray.fromhex(sha256_of_file(own))
        digests = self._group.gather(torch.tensor(list(digest), dtype=torch.uint8))
        if self._group.is_main:
            sha256 = {
                _part_name(rank): bytes(row).hex() for rank, row in enumerate(digests.tolist())
            }
            with _writing(aside):
                _complete(aside, state, saved.shared, sha256)
                if path.is_dir():  # one that was damaged
                    shutil.rmtree(path)
                aside.rename(path)
            self._drop_others(path)
        self._group.wait()

    def load(self) -> SavedTraining | None:
        """The last checkpoint that is whole for every process; None before the first.

        Raises:
            InputError: none is whole, or they are of another number of processes.
        """
        names = self._group.from_main([path.name for path in self._paths()])
        for name in reversed(names):
            path = self.folder / name
            saved = None
            try:
                saved = self._read(path)
            except _DamageError as damage:
                log.warning("%s", damage)
            is_whole = self._group.gather(torch.tensor([int(saved is not None)])).flatten()
            if is_whole.all():
                return saved
            log.warning(
                "%s: not whole for process %s; the checkpoint before it is taken",
                path,
                ", ".join(str(rank) for rank, whole in enumerate(is_whole) if not whole),
            )
        if names:
            raise InputError(
                f"{self.folder}: no checkpoint is whole, of {' '.join(names)}; let all machines "
                "see this folder, or delete it to train from the start"
            )
        return None

    def candidates(self) -> list[list[float]]:
        """What the checkpoints' states have as ``candidates``, one after the other."""
        found = []
        for path in self._paths():
            # A damaged one is never gone on from, so it needs no weights.
            with suppress(*DAMAGES):
                found += json.loads((path / DESCRIPTION_NAME).read_text())["candidates"]
        return found

    def _read(self, path: Path) -> SavedTraining:
        """This process's content of a checkpoint; a :class:`_DamageError` names what is damaged."""
        with _reading(path / DESCRIPTION_NAME):
            description = json.loads((path / DESCRIPTION_NAME).read_text())
            sha256, num_processes = dict(description["sha256"]), description["num_processes"]
        if num_processes != self._group.size:
            raise InputError(
                f"{self.folder}: a training of {num_processes} processes, now there are "
                f"{self._group.size}; go on with as many, or delete this folder to train from the "
                "start"
            )
        shared, own = (
            _checked(path / name, sha256.get(name))
            for name in (TRAINING_NAME, _part_name(self._group.rank))
        )
        return SavedTraining(shared, own)

    def _paths(self) -> list[Path]:
        """The checkpoints, the last one last."""
        return sorted(self.folder.glob(NAME_PATTERN))

    def _drop_others(self, last: Path) -> None:
        """Delete all but ``last`` and those before it that are kept; later ones are damaged."""
        up_to_last = [path for path in self._paths() if path.name <= last.name]
        for path in set(self._paths()) - set(up_to_last[-self._keep :]):
            shutil.rmtree(path)


class _DamageError(Exception):
    """A file of a checkpoint is not what was written; the message names it."""


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch's writer raises the latter for a full disk
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{place}: the checkpoint cannot be written: {reason}; make room, then start the same "
            "command again"
        ) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGES as error:
        raise _DamageError(f"{path}: missing or damaged ({error})") from error


def _complete(
    folder: Path, state: TrainingState, shared: dict[str, Any], sha256: dict[str, str]
) -> None:
    """Add what the main process has to write when all parts are there."""
    torch.save(shared, folder / TRAINING_NAME)
    flush_to_disk(folder / TRAINING_NAME)
    description = {
        "num_processes": len(sha256),
        "updates": state.num_updates,
        "candidates": state.candidates,
        "sha256": {TRAINING_NAME: sha256_of_file(folder / TRAINING_NAME), **sha256},
    }
    (folder / DESCRIPTION_NAME).write_text(json.dumps(description, indent=1))
    flush_to_disk(folder / DESCRIPTION_NAME)


def _checked(path: Path, sha256: str | None) -> dict[str, Any]:
    with _reading(path):
        if sha256_of_file(path) != sha256:
            raise _DamageError(f"{path}: not what was written for this checkpoint (its SHA-256)")
    try:
        values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds of error for a file it cannot read
        raise _DamageError(f"{path}: torch cannot read it ({error!r})") from error
    return values


def _part_name(rank: int) -> str:
    return f"process-{rank:04d}.pt"


def random_states(device: torch.device) -> dict[str, Any]:
    """Of this process: of the CPU, and of ``device`` where that is a GPU."""
    on_gpu = device.type == "cuda"
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if on_gpu else None,
    }


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put :func:`random_states` back."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
