"""This process's worker, by the method of the settings."""

from __future__ import annotations

from torch import nn

from am.nnet.optimizer import OptimizerStep
from am.parallel.block_worker import BlockWorker
from am.parallel.process_group import current_group
from am.parallel.settings import ParallelSettings
from am.parallel.worker import SynchronousWorker, Worker


def make_worker(model: nn.Module, step: OptimizerStep, settings: ParallelSettings) -> Worker:
    """The worker of this process in the group that it has joined; alone it needs no method.

    Args:
        model: on its device.
        step: of the optimiser.
        settings: which method, and how.
    """
    group = current_group()
    if not group.is_distributed:
        return Worker(group, model, step)
    if settings.method == "bmuf":
        return BlockWorker(group, model, step, settings.bmuf)
    return SynchronousWorker(group, model, step, settings)
