"""Which device tensors live on."""

from __future__ import annotations

import torch

from am.errors import InputError


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is CUDA where there is one; ``cpu``, ``cuda`` and ``cuda:N`` are taken literally."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name}: unknown; give auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: no such CUDA device here; give auto or cpu")
    return device
