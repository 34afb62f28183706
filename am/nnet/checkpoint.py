"""Checkpoints: everything that a training needs to go on as if it had never stopped."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from am.errors import InputError


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
        num_processes: that train together (:mod:`am.parallel`).
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
    num_processes: int = 1


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Write model, optimiser, state and random states to ``path``, aside and then renamed."""
    values = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "state": dataclasses.asdict(state),
        "cpu_random_state": torch.get_rng_state(),
        "cuda_random_states": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    aside = path.with_suffix(".tmp")
    torch.save(values, aside)
    aside.replace(path)


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> TrainingState:
    """Put everything back as :func:`save_checkpoint` found it, and return the state."""
    try:
        values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(values["model"])
        optimizer.load_state_dict(values["optimizer"])
    except Exception as error:  # torch raises a dozen kinds of error for a damaged file
        raise InputError(
            f"{path}: not a readable checkpoint of this model; delete the folder of the "
            "unfinished training, or give --redo"
        ) from error
    torch.set_rng_state(values["cpu_random_state"])
    if torch.cuda.is_available() and values["cuda_random_states"]:
        torch.cuda.set_rng_state_all(values["cuda_random_states"])
    return TrainingState(**values["state"])
