"""Blockwise model-update filtering (BMUF): models are averaged and the change is filtered.

K. Chen and Q. Huo, "Scalable training of deep learning machines by incremental block training with
intra-block parallel optimization and blockwise model-update filtering" (ICASSP 2016).  With W̄ the
mean of the processes' models after a block, R the model they started it from, W the global model:

1. Δ ← η Δ + gain × (W̄ − R)
2. W ← W + Δ
3. R ← W (classical) or W + η Δ (Nesterov), from which all start the next block

Shapes: n parameters of the model, as one vector.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class BlockMomentum:
    """The filter, the same on every process.

    Args:
        start: (n,) the model that all processes have.
        momentum: η.
        gain: of the mean change; the paper's is the block learning rate ζ.
        nesterov: whether the processes restart from the look-ahead.
    """

    def __init__(self, start: Tensor, momentum: float, gain: float, nesterov: bool):
        self._momentum = momentum
        self._gain = gain
        self._nesterov = nesterov
        self.reset(start)

    def reset(self, model: Tensor) -> Tensor:
        """Take (n,) a model as it is, without momentum; returns it."""
        self._model = model.clone()
        self._change = torch.zeros_like(model)
        return model

    def filter(self, mean: Tensor) -> Tensor:
        """(n,) the model to go on from, of (n,) the mean of the processes' models."""
        # Rounding must not tell η = 0, ζ = 1 from plain averaging, so W̄ is not taken apart.
        model = torch.lerp(self.restart(), mean, self._gain)
        if not self._nesterov and self._momentum > 0.0:
            model.add_(self._change, alpha=self._momentum)
        self._change = model - self._model
        self._model = model
        return self.restart()

    def restart(self) -> Tensor:
        """(n,) R, from which the block under way was started."""
        if not self._nesterov:
            return self._model
        return torch.add(self._model, self._change, alpha=self._momentum)

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {"model": self._model, "change": self._change}

    def restore(self, values: dict[str, Any]) -> None:
        """Put :meth:`state` back."""
        self._model.copy_(values["model"])
        self._change.copy_(values["change"])
