"""Noise on the weights in training (Graves, "Practical variational inference for neural networks",
NIPS 2011): the loss and its gradient are taken at weights that are a little off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def noisy_weights(model: nn.Module, deviation: float) -> Iterator[None]:
    """Inside, every weight has Gaussian noise of this standard deviation; then it is put back.

    The noise is drawn with torch's global generator; 0 does nothing.
    """
    if deviation == 0.0:
        yield
        return
    parameters = list(model.parameters())
    clean = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(torch.randn_like(parameter), alpha=deviation)
        yield
    finally:
        with torch.no_grad():
            for parameter, kept in zip(parameters, clean, strict=True):
                parameter.copy_(kept)
