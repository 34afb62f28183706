"""Frame losses.  N frames, P senones, k stored logits a frame; natural log."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

SoftLabelWeighting = Literal["none", "confidence", "entropy"]


def hard_label_loss(logits: Tensor, pdf_ids: Tensor) -> Tensor:
    """Cross-entropy of hard labels, summed over frames.

    Args:
        logits: (N, P).
        pdf_ids: (N,) int64.

    Returns:
        () the sum of -log p[pdf_id].
    """
    return F.cross_entropy(logits, pdf_ids, reduction="sum")


def soft_label_loss(
    logits: Tensor, pdf_ids: Tensor, stored_logits: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of soft labels, summed over frames: the sum of -w Σ_j q_j log p_j.

    q is the softmax of the k stored logits (temperature 1), p the softmax of all P logits.  As
    Σ q = 1, a frame's loss is logsumexp(logits) - Σ_j q_j logits_j, so that the k columns are
    gathered and no (N, P) matrix of targets exists.

    Args:
        logits: (N, P), differentiable.
        pdf_ids: (N, k) int64, distinct in a row.
        stored_logits: (N, k) any float type.
        weights: (N,) w of each frame (:func:`soft_label_weights`); None weighs all 1.

    Returns:
        () float.
    """
    targets = stored_logits.to(logits.dtype).softmax(-1)
    result: Tensor = _SoftLabelLoss.apply(logits, pdf_ids, targets, weights)
    return result


def soft_label_weights(stored_logits: Tensor, weighting: SoftLabelWeighting) -> Tensor | None:
    """How much each frame of soft labels counts, by how sure the teacher is of it.

    Args:
        stored_logits: (N, k) natural log posteriors.
        weighting: ``confidence``: the highest posterior; ``entropy``: 1 − H(q) / log k, with q as
            in :func:`soft_label_loss`, so that one certain senone weighs 1 and k alike weigh 0
            (with k = 1 every frame weighs 1); ``none``: all alike.

    Returns:
        (N,) float32, 0 … 1, or None with ``none``.
    """
    if weighting == "none":
        return None
    logits = stored_logits.float()
    if weighting == "confidence":
        return logits.amax(-1).exp().clamp(max=1.0)
    top_k = logits.shape[1]
    if top_k == 1:
        return torch.ones_like(logits[:, 0])
    entropies = torch.special.entr(logits.softmax(-1)).sum(-1)
    return (1.0 - entropies / math.log(top_k)).clamp(0.0, 1.0)


class _SoftLabelLoss(torch.autograd.Function):
    """Autograd's own backward would make two (N, P) matrices, of logsumexp and of gather."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, pdf_ids: Tensor, targets: Tensor, weights: Tensor | None
    ) -> Tensor:
        normaliser = logits.logsumexp(-1)
        ctx.save_for_backward(logits, pdf_ids, targets, normaliser, weights)
        if weights is None:
            return normaliser.sum() - (targets * logits.gather(1, pdf_ids)).sum()
        losses = normaliser - (targets * logits.gather(1, pdf_ids)).sum(-1)
        return (weights.to(logits.dtype) * losses).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        logits, pdf_ids, targets, normaliser, weights = ctx.saved_tensors
        posteriors = torch.sub(logits, normaliser[:, None]).exp_()
        posteriors.scatter_add_(1, pdf_ids, -targets)
        if weights is not None:
            gradient = gradient * weights[:, None].to(logits.dtype)
        return posteriors.mul_(gradient), None, None, None
