"""Frame losses.  N frames, P senones, k stored logits a frame; natural log."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def hard_label_loss(logits: Tensor, pdf_ids: Tensor) -> Tensor:
    """Cross-entropy of hard labels, summed over frames.

    Args:
        logits: (N, P).
        pdf_ids: (N,) int64.

    Returns:
        () the sum of -log p[pdf_id].
    """
    return F.cross_entropy(logits, pdf_ids, reduction="sum")


def soft_label_loss(logits: Tensor, pdf_ids: Tensor, stored_logits: Tensor) -> Tensor:
    """Cross-entropy of soft labels, summed over frames: the sum of -Σ_j q_j log p_j.

    q is the softmax of the k stored logits (temperature 1), p the softmax of all P logits.  As
    Σ q = 1, a frame's loss is logsumexp(logits) - Σ_j q_j logits_j, so that the k columns are
    gathered and no (N, P) matrix of targets exists.

    Args:
        logits: (N, P), differentiable.
        pdf_ids: (N, k) int64, distinct in a row.
        stored_logits: (N, k) any float type.

    Returns:
        () float.
    """
    weights = stored_logits.to(logits.dtype).softmax(-1)
    result: Tensor = _SoftLabelLoss.apply(logits, pdf_ids, weights)
    return result


class _SoftLabelLoss(torch.autograd.Function):
    """Autograd's own backward would make two (N, P) matrices, of logsumexp and of gather."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, pdf_ids: Tensor, weights: Tensor) -> Tensor:
        normaliser = logits.logsumexp(-1)
        ctx.save_for_backward(logits, pdf_ids, weights, normaliser)
        return normaliser.sum() - (weights * logits.gather(1, pdf_ids)).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        logits, pdf_ids, weights, normaliser = ctx.saved_tensors
        posteriors = torch.sub(logits, normaliser[:, None]).exp_()
        posteriors.scatter_add_(1, pdf_ids, -weights)
        return posteriors.mul_(gradient), None, None
