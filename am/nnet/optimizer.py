"""The optimiser's step: which one, in which precision, and what a step needs to be safe."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from am.errors import InputError
from am.nnet.trainer_settings import TrainerSettings

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def make_optimizer(model: nn.Module, settings: TrainerSettings) -> torch.optim.Optimizer:
    """The optimiser of ``settings`` for a model that is on its device.

    Raises:
        InputError: a fused one is asked for and this torch has none for the device.
    """
    options: dict[str, Any] = {"lr": settings.learning_rate}
    if settings.fused_optimizer:
        options["fused"] = True
    try:
        if settings.optimizer == "adam":
            return torch.optim.Adam(model.parameters(), **options)
        return torch.optim.SGD(model.parameters(), momentum=settings.momentum, **options)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"trainer: fused_optimizer: this torch has no fused {settings.optimizer} for this "
            "device; set it to false"
        ) from error


class OptimizerStep:
    """Backward pass, clipping and update, in the settings' precision.

    In float16 small gradients would vanish: the loss is multiplied by a scale that grows until a
    gradient overflows, and the gradient divided by it (torch's GradScaler).

    Args:
        model: on ``device``.
        settings: of the training.
        device: where the model is.

    Attributes:
        optimizer: torch's.
        gradient_clip: highest norm of a gradient.

    Raises:
        InputError: float16 on a CPU, or no fused optimiser.
    """

    def __init__(self, model: nn.Module, settings: TrainerSettings, device: torch.device):
        if settings.precision == "float16" and device.type == "cpu":
            raise InputError("trainer: precision: float16 needs a GPU; choose bfloat16 or float32")
        self.optimizer = make_optimizer(model, settings)
        self._parameters = list(model.parameters())
        self.gradient_clip = settings.gradient_clip
        self._device = device
        self._dtype = DTYPES[settings.precision]
        self._scaler: Any = None
        if settings.precision == "float16":
            self._scaler = torch.amp.GradScaler(device.type)

    @property
    def learning_rate(self) -> float:
        """Of the next update."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the forward pass."""
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, self._dtype)

    def backward(self, loss: Tensor) -> Tensor:
        """Gradients of ``loss``, clipped; () their norm before, which may be infinite or NaN."""
        self.gradients(loss)
        return self.clip()

    def gradients(self, loss: Tensor | None) -> None:
        """Gradients of ``loss``, times float16's scale; of no loss they are 0."""
        self.optimizer.zero_grad(set_to_none=True)
        if loss is None:
            for parameter in self._parameters:
                parameter.grad = torch.zeros_like(parameter)
        elif self._scaler is None:
            loss.backward()
        else:
            self._scaler.scale(loss).backward()

    def clip(self) -> Tensor:
        """Unscale and clip the gradients; () their norm before, which may be infinite or NaN."""
        return self._clip(self.gradient_clip)

    def norm(self) -> Tensor:
        """Unscale the gradients; () their norm, which may be infinite or NaN."""
        return self._clip(math.inf)

    def _clip(self, max_norm: float) -> Tensor:
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
        return torch.nn.utils.clip_grad_norm_(self._parameters, max_norm)

    def update(self) -> None:
        """Change the weights."""
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.step(self.optimizer)
            self._scaler.update()

    def skip(self) -> None:
        """Leave the weights as they are; in float16, lower the scale."""
        if self._scaler is not None:
            self._scaler.update()

    def state_of_scale(self) -> dict[str, Any]:
        """What a checkpoint needs besides the optimiser's own state."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def restore_scale(self, values: dict[str, Any]) -> None:
        """Put :meth:`state_of_scale` back."""
        if self._scaler is not None and values:
            self._scaler.load_state_dict(values)
