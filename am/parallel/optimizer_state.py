"""The mean of the processes' optimiser states."""

from __future__ import annotations

import torch
from torch import Tensor

from am.parallel.process_group import ProcessGroup

ADAM_MOMENTS = ("exp_avg", "exp_avg_sq")
SGD_MOMENTS = ("momentum_buffer",)


@torch.no_grad()
def average_optimizer_state(
    group: ProcessGroup, optimizer: torch.optim.Optimizer, share: float
) -> None:
    """Replace moments by their mean over processes, Adam's number of steps by the highest.

    A process whose optimiser has no state yet, for want of data, takes that of the others.

    Args:
        group: the processes.
        optimizer: Adam or SGD.
        share: of this process in the mean, 0 … 1; all together are 1.
    """
    is_adam = isinstance(optimizer, torch.optim.Adam)
    names = ADAM_MOMENTS if is_adam else SGD_MOMENTS
    settings = optimizer.param_groups[0]
    if not is_adam and settings["momentum"] == 0.0:
        return
    moments: list[Tensor] = []
    steps: list[Tensor] = []
    for parameter in settings["params"]:
        state = optimizer.state[parameter]
        for name in names:
            moments.append(state.setdefault(name, torch.zeros_like(parameter)).mul_(share))
        if is_adam:
            place = parameter.device if settings["fused"] else torch.device("cpu")
            steps.append(state.setdefault("step", torch.zeros((), device=place)))
    group.sum(moments)
    if steps:
        highest = group.gather(steps[0].cpu()).max()
        for step in steps:
            step.fill_(highest)
