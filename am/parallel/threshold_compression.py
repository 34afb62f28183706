"""Gradient threshold compression (GTC): few elements of a gradient are sent, none is lost.

N. Strom, "Scalable distributed DNN training using commodity GPU cloud computing" (Interspeech
2015): each process adds its gradient to a residual; where that exceeds τ in magnitude, ±τ is sent
and taken off it, the rest waits.  All processes add up the same messages in the same order.

Shapes: n elements of a bucket, k of them sent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from am.nnet.optimizer import OptimizerStep
from am.parallel.gradient_exchange import DenseExchange, GradientBuckets, JointBatch, counts_of
from am.parallel.process_group import ProcessGroup
from am.parallel.settings import GtcSettings
from am.parallel.threshold_message import MAX_BUCKET_SIZE, add_messages, changes, encode

# Enough to place the quantile; of a small density, so many elements lie above it.
MIN_SAMPLE = 65536
MIN_SAMPLED_ABOVE = 64
SMALLEST_NORM = 1e-30


class ThresholdCompressor:
    """One process's residual of one bucket.

    Args:
        size: n.
        device: of the gradients.
        settings: threshold and clip.

    Attributes:
        residual: (n,) float32, what was not sent yet.
    """

    def __init__(self, size: int, device: torch.device, settings: GtcSettings):
        if size > MAX_BUCKET_SIZE:
            raise ValueError(f"a bucket of {size} elements; at most {MAX_BUCKET_SIZE} have indices")
        self.residual = torch.zeros(size, device=device)
        self._settings = settings
        self._sample: Tensor | None = None
        wanted = max(MIN_SAMPLE, math.ceil(MIN_SAMPLED_ABOVE / settings.density))
        if settings.threshold is None and wanted < size:
            # A sample at equal distances would meet the same columns of a matrix again and again.
            drawn = torch.randint(size, (wanted,), generator=torch.Generator().manual_seed(size))
            self._sample = drawn.to(device)

    def compress(self, gradient: Tensor) -> Tensor:
        """The message of an update (:mod:`am.parallel.threshold_message`).

        Args:
            gradient: (n,) this process's share of the mean gradient; overwritten.
        """
        residual = self.residual.add_(gradient)
        magnitudes = torch.abs(residual, out=gradient)
        threshold = self._threshold(magnitudes)
        indices = (magnitudes > threshold).nonzero().squeeze(1)
        is_negative = residual[indices] < 0
        residual.index_add_(0, indices, changes(is_negative, threshold, residual.dtype), alpha=-1.0)
        if self._settings.residual_clip > 0.0:
            limit = self._settings.residual_clip * threshold
            residual.clamp_(-limit, limit)
        return encode(indices, is_negative, threshold, len(residual))

    def _threshold(self, magnitudes: Tensor) -> float:
        """τ: the one that is set, or the quantile above which ``density`` of the elements lie."""
        if self._settings.threshold is not None:
            return self._settings.threshold
        sampled = magnitudes if self._sample is None else magnitudes[self._sample]
        num_above = math.ceil(self._settings.density * len(sampled))
        highest = sampled.topk(min(num_above + 1, len(sampled)), sorted=False).values
        threshold = highest.min().item()
        # Where most elements are 0, so is the quantile, and changes of ±0 would send nothing.
        return threshold if threshold > 0.0 else magnitudes.max().item() / 2.0


class ThresholdExchange:
    """GTC among processes, as a :class:`am.parallel.gradient_exchange.GradientExchange`.

    The joint gradient is clipped before it enters the residuals, all processes by one factor; its
    norm is estimated as if the processes' gradients were orthogonal, as noise is.  What is sent is
    not clipped any more: it would be lost.

    Args:
        group: the processes.
        buckets: of the model's gradients.
        settings: thresholds and dense updates.
    """

    def __init__(self, group: ProcessGroup, buckets: GradientBuckets, settings: GtcSettings):
        self._group = group
        self._buckets = buckets
        self._settings = settings
        self._dense = DenseExchange(group, buckets)
        self._updates = 0
        self._compressors = [
            ThresholdCompressor(len(vector), vector.device, settings) for vector in buckets.read()
        ]

    def __call__(self, mean_loss: Tensor, num_frames: int, step: OptimizerStep) -> JointBatch:
        """See :class:`am.parallel.gradient_exchange.GradientExchange`."""
        self._updates += 1
        if self._settings.threshold == 0.0 or self._updates <= self._settings.dense_updates:
            return self._dense(mean_loss, num_frames, step)
        squared_norm = (step.norm().double() * num_frames).square()
        totals = torch.cat([counts_of(mean_loss, num_frames), squared_norm[None]])
        self._group.sum([totals])
        frames, loss, squared_norm_sum = totals.tolist()
        joint_norm = math.sqrt(squared_norm_sum) / frames
        # A residual that took up a gradient that is not finite would never be finite again.
        if math.isfinite(loss) and math.isfinite(joint_norm):
            factor = min(1.0, step.gradient_clip / max(joint_norm, SMALLEST_NORM))
            self._exchange(factor * num_frames / frames)
        joint_loss = totals.new_tensor(loss / frames)
        return JointBatch(round(frames), joint_loss, totals.new_tensor(joint_norm))

    def _exchange(self, share: float) -> None:
        """Replace the gradients by the sum of all processes' messages."""
        vectors = self._buckets.read()
        messages = [
            compressor.compress(vector.mul_(share))
            for compressor, vector in zip(self._compressors, vectors, strict=True)
        ]
        received = self._group.exchange(torch.cat(messages))
        for vector in vectors:
            vector.zero_()
        for message in received:
            add_messages(message, vectors)
        self._buckets.write(vectors)

    def state(self) -> dict[str, Any]:
        """This process's part of a checkpoint."""
        residuals = [compressor.residual for compressor in self._compressors]
        return {"updates": self._updates, "residuals": residuals}

    def restore(self, values: dict[str, Any]) -> None:
        """Put :meth:`state` back."""
        self._updates = values["updates"]
        residuals: Sequence[Tensor] = values["residuals"]
        for compressor, residual in zip(self._compressors, residuals, strict=True):
            compressor.residual.copy_(residual)
