"""Which device tensors live on."""

from __future__ import annotations

import torch

from am.errors import InputError
from am.parallel.process_group import current_group


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is CUDA where there is one; ``cpu``, ``cuda`` and ``cuda:N`` are taken literally.

    Of the processes that torchrun starts on a machine each has a CUDA device of its own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    group = current_group()
    if name == "cuda" and group.is_distributed:
        name = f"cuda:{group.local_rank}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name}: unknown; give auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: no such CUDA device here; give auto or cpu")
    if device.type == "cuda" and group.is_distributed:
        torch.cuda.set_device(device)
    return device
