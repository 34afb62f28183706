"""Dense exchange of gradients: their mean over all frames of all processes' batches.

torch's DistributedDataParallel hides the exchange behind the backward pass.  Here it would gain
nothing and cost much: an ``nn.LSTM`` has all its gradients at the backward pass's end; the trainer
calls parts of the network; and a batch that is not finite must change nothing on any process.

Shapes: n elements of a bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from am.nnet.optimizer import OptimizerStep
from am.parallel.process_group import ProcessGroup

BYTES_A_MEGABYTE = 2**20


@dataclass(frozen=True)
class JointBatch:
    """What the batches of all processes, one update, came to.

    Attributes:
        num_frames: of all; a number, or () float64 on the device.
        mean_loss: () a frame.
        gradient_norm: () before clipping.
    """

    num_frames: int | Tensor
    mean_loss: Tensor
    gradient_norm: Tensor

    def numbers(self) -> tuple[int, float, float]:
        """Frames, loss and norm on the host: the one time that an update waits for a GPU."""
        norm = self.gradient_norm
        if isinstance(self.num_frames, int):
            mean_loss, gradient_norm = torch.stack([self.mean_loss.to(norm), norm]).tolist()
            return self.num_frames, mean_loss, gradient_norm
        values = [self.num_frames, self.mean_loss.double(), norm.double()]
        frames, mean_loss, gradient_norm = torch.stack(values).tolist()
        return round(frames), mean_loss, gradient_norm


class GradientExchange(Protocol):
    """Replaces the processes' gradients by joint ones."""

    def __call__(self, mean_loss: Tensor, num_frames: int, step: OptimizerStep) -> JointBatch:
        """Exchange gradients, and clip the joint one.

        Args:
            mean_loss: () of this process's batch, whose gradient the parameters hold.
            num_frames: of this process's batch; 0 where it has none.
            step: of the optimiser, which knows norms and their limit.
        """

    def state(self) -> dict[str, Any]:
        """This process's part of a checkpoint."""

    def restore(self, values: dict[str, Any]) -> None:
        """Put :meth:`state` back."""


class GradientBuckets:
    """The gradients of a model as a few long vectors.

    Args:
        parameters: of the model.
        megabytes: of a bucket, about; a larger parameter has one for itself.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], megabytes: float):
        self._buckets: list[list[torch.nn.Parameter]] = []
        size = 0.0
        for parameter in parameters:
            num_bytes = parameter.numel() * parameter.element_size()
            if not self._buckets or size + num_bytes > megabytes * BYTES_A_MEGABYTE:
                self._buckets.append([])
                size = 0.0
            self._buckets[-1].append(parameter)
            size += num_bytes
        self._vectors = [
            torch.zeros_like(torch.cat([p.detach().flatten() for p in bucket]))
            for bucket in self._buckets
        ]

    def read(self) -> list[Tensor]:
        """(n,) gradients of each bucket, 0 where a parameter has none; valid until the next."""
        for bucket, vector in zip(self._buckets, self._vectors, strict=True):
            gradients = [
                torch.zeros_like(p) if p.grad is None else p.grad.contiguous() for p in bucket
            ]
            torch.cat([gradient.flatten() for gradient in gradients], out=vector)
        return self._vectors

    def write(self, vectors: Sequence[Tensor]) -> None:
        """Make the parameters' gradients views of (n,) vectors."""
        for bucket, vector in zip(self._buckets, vectors, strict=True):
            pieces = vector.split([parameter.numel() for parameter in bucket])
            for parameter, piece in zip(bucket, pieces, strict=True):
                parameter.grad = piece.view_as(parameter)


class DenseExchange:
    """All-reduce of whole gradients, weighted by frames: that of one batch made of all batches.

    Args:
        group: the processes.
        buckets: of the model's gradients.
    """

    def __init__(self, group: ProcessGroup, buckets: GradientBuckets):
        self._group = group
        self._buckets = buckets

    def __call__(self, mean_loss: Tensor, num_frames: int, step: OptimizerStep) -> JointBatch:
        """See :class:`GradientExchange`."""
        vectors = self._buckets.read()
        for vector in vectors:
            vector.mul_(num_frames)
        totals = counts_of(mean_loss, num_frames)
        self._group.sum([totals, *vectors])
        for vector in vectors:
            vector.div_(totals[0].to(vector.dtype))
        self._buckets.write(vectors)
        return JointBatch(totals[0], totals[1] / totals[0], step.clip())

    def state(self) -> dict[str, Any]:
        """Nothing is kept from one update to the next."""
        return {}

    def restore(self, values: dict[str, Any]) -> None:
        """See :meth:`state`."""


def counts_of(mean_loss: Tensor, num_frames: int) -> Tensor:
    """(2,) float64: frames and summed loss of a process's batch."""
    loss = mean_loss.detach().double()
    return torch.stack([loss.new_tensor(num_frames), loss * num_frames])
