"""GTC as a communication hook of torch's DistributedDataParallel, for training loops of one's own::

    model = DistributedDataParallel(network)
    model.register_comm_hook(ThresholdState(group, GtcSettings()), threshold_hook)

The trainer exchanges by :class:`am.parallel.threshold_compression.ThresholdExchange`, which looks
at a whole update before the first bucket is sent: it clips the joint gradient, weighs processes by
their frames, and passes over a batch that is not finite.  A hook sees a bucket at a time and can do
none of these.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from am.parallel.process_group import ProcessGroup
from am.parallel.settings import GtcSettings
from am.parallel.threshold_compression import ThresholdCompressor
from am.parallel.threshold_message import add_messages


class ThresholdState:
    """What the hook keeps between updates: residuals of each bucket.

    The first update is dense whatever the settings say: after it DistributedDataParallel puts its
    buckets together anew, by the order in which gradients came.

    Args:
        group: the processes, as :func:`am.parallel.process_group.join` makes them.
        settings: thresholds and dense updates.
    """

    def __init__(self, group: ProcessGroup, settings: GtcSettings):
        self.group = group
        self._settings = settings
        self._updates = 0
        self._dense_updates = max(1, settings.dense_updates)
        self._compressors: dict[int, ThresholdCompressor] = {}
        self._restored: dict[int, Tensor] = {}

    @property
    def is_dense(self) -> bool:
        """Whether the current update sends whole gradients."""
        return self._settings.threshold == 0.0 or self._updates < self._dense_updates

    def compressor(self, bucket: dist.GradBucket) -> ThresholdCompressor:
        """That of a bucket."""
        index, gradient = bucket.index(), bucket.buffer()
        if index not in self._compressors:
            compressor = ThresholdCompressor(len(gradient), gradient.device, self._settings)
            if index in self._restored:
                compressor.residual.copy_(self._restored.pop(index))
            self._compressors[index] = compressor
        return self._compressors[index]

    def count(self, bucket: dist.GradBucket) -> None:
        """Note that a bucket was exchanged: with the last one an update ends."""
        self._updates += bucket.is_last()

    def state(self) -> dict[str, Any]:
        """This process's part of a checkpoint."""
        residuals = {index: one.residual for index, one in self._compressors.items()}
        return {"updates": self._updates, "residuals": residuals}

    def restore(self, values: dict[str, Any]) -> None:
        """Put :meth:`state` back, before the first update, which is dense once more."""
        self._dense_updates = max(self._dense_updates, values["updates"] + 1)
        self._updates = values["updates"]
        self._restored = dict(values["residuals"])


def threshold_hook(state: ThresholdState, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """Replace a bucket's gradient by the sum of all processes' messages about its mean.

    Args:
        state: of this process.
        bucket: (n,) this process's gradient.

    Returns:
        (n,) the same on all processes.
    """
    gradient = bucket.buffer().div_(state.group.size)
    if state.is_dense:
        state.group.sum([gradient])
    else:
        message = state.compressor(bucket).compress(gradient)
        gradient.zero_()
        for received in state.group.exchange(message):
            add_messages(received, [gradient])
    state.count(bucket)
    done: torch.futures.Future[Tensor] = torch.futures.Future()
    done.set_result(gradient)
    return done
