"""Averaging the weights of several passes, which often beats each of them.

Passes late in a training end at different points around one minimum; their mean lies closer to it
(Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018;
Povey et al. average Kaldi's last models as well).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from am.errors import InputError
from am.outputs import written_aside


@dataclass(frozen=True)
class AveragingSettings:
    """Which passes' weights are averaged.

    Attributes:
        passes: how many; 0 and 1 average nothing.
        choice: the ``last`` ones, or those of the ``best`` dev loss.
    """

    passes: int = 0
    choice: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        if self.passes < 0:
            raise InputError(f"averaging: passes must be at least 0, not {self.passes}")


class WeightAverage:
    """The weights on disk that are candidates for the average.

    The list of candidates belongs to the training's state, so that a training that goes on after
    an interruption has the same; only :meth:`tidy`, after the state is saved, deletes weights.

    Args:
        folder: of the checkpoints.
        settings: which passes.
        writes: whether it keeps and deletes weights; of several processes one does.
    """

    def __init__(self, folder: Path, settings: AveragingSettings, writes: bool = True):
        self._folder = folder
        self._settings = settings
        self._writes = writes

    def add(
        self, model: nn.Module, pass_index: int, dev_loss: float, candidates: Sequence[list[float]]
    ) -> list[list[float]]:
        """Keep the weights at the end of a pass, where they are among those to average.

        Args:
            model: as it is now.
            pass_index: from 0.
            dev_loss: of these weights.
            candidates: pass index and dev loss of each kept before.

        Returns:
            The candidates now.
        """
        if self._settings.passes < 2 or not math.isfinite(dev_loss):
            return list(candidates)
        ranked = [*candidates, [pass_index, dev_loss]]
        if self._settings.choice == "best":
            ranked.sort(key=lambda candidate: candidate[1])
            kept = ranked[: self._settings.passes]
        else:
            kept = ranked[-self._settings.passes :]
        if self._writes and [pass_index, dev_loss] in kept:
            save_weights(self._path(pass_index), model)
        return kept

    def tidy(self, candidates: Sequence[list[float]]) -> None:
        """Delete the weights of all other passes than those of the candidates."""
        if not self._writes:
            return
        wanted = {self._path(int(pass_index)) for pass_index, _ in candidates}
        for path in self._folder.glob("average-*.safetensors"):
            if path not in wanted:
                path.unlink()

    def mean(self, candidates: Sequence[list[float]]) -> dict[str, Tensor]:
        """The mean of the candidates' weights, name → tensor on the CPU."""
        return mean_of_weights([self._path(int(pass_index)) for pass_index, _ in candidates])

    def _path(self, pass_index: int) -> Path:
        return self._folder / f"average-{pass_index:05d}.safetensors"


def save_weights(path: Path, model: nn.Module) -> None:
    """Write a model's weights with their SHA-256."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    with written_aside(path) as aside:
        save_file(weights, str(aside), {"sha256": _sha256_of_weights(weights)})


def load_weights(path: Path) -> dict[str, Tensor]:
    """What :func:`save_weights` wrote, on the CPU.

    Raises:
        InputError: they are missing or damaged.
    """
    try:
        with safe_open(str(path), "pt") as file:
            sha256 = (file.metadata() or {}).get("sha256")
        weights = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: missing or damaged weights") from error
    if _sha256_of_weights(weights) != sha256:
        raise InputError(f"{path}: not the weights that were written (their SHA-256)")
    return weights


def mean_of_weights(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of each tensor over files of weights, summed in float64."""
    sums: dict[str, Tensor] = {}
    for path in paths:
        for name, tensor in load_weights(path).items():
            exact = tensor.to(torch.float64)
            sums[name] = sums[name] + exact if name in sums else exact
    return {name: (total / len(paths)).float() for name, total in sums.items()}


def _sha256_of_weights(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].numpy().data)
    return digest.hexdigest()
