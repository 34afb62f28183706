"""Estimating, splitting and removing Gaussians.

Floors and rules are Kaldi's (``gmm/mle-diag-gmm.cc``, ``gmm/am-diag-gmm.cc``).
"""

from __future__ import annotations

import heapq

import numpy as np

from am.gmm.model import DiagonalGmms
from am.gmm.statistics import EmStatistics

MIN_VARIANCE = 0.001
MIN_WEIGHT = 1e-5
# A pdf gets another Gaussian only while each can have this many frames.
MIN_FRAMES_TO_SPLIT = 20.0
PERTURBATION = 0.01


def estimate(
    gmms: DiagonalGmms,
    statistics: EmStatistics,
    min_occupancy: float = 10.0,
    *,
    remove: bool = True,
) -> DiagonalGmms:
    """Maximum-likelihood parameters from ``statistics``.

    A Gaussian with at most ``min_occupancy`` frames or a share of its pdf of at most
    ``MIN_WEIGHT`` is removed; the last Gaussian of a pdf stays, unchanged.  Without ``remove``
    all of them stay so.
    """
    pdf = gmms.pdf_of_gaussian
    occupancies = statistics.occupancies.cpu().numpy()
    sums = statistics.sums.cpu().numpy()
    total = np.bincount(pdf, occupancies, minlength=gmms.num_pdfs)[pdf]
    share = np.where(total > 0, occupancies / np.maximum(total, 1e-30), 1.0)
    enough = (occupancies > min_occupancy) & (share > MIN_WEIGHT)

    count = np.maximum(occupancies, 1e-30)[:, None]
    means = sums[:, : gmms.dim] / count
    variances = np.maximum(sums[:, gmms.dim :] / count - means**2, MIN_VARIANCE)
    means = np.where(enough[:, None], means, gmms.means)
    variances = np.where(enough[:, None], variances, gmms.variances)
    weights = np.where(enough, share, np.maximum(share, MIN_WEIGHT))

    keep = enough.copy()
    last = gmms.offsets[1:] - 1
    keep[last] |= ~np.logical_or.reduceat(enough, gmms.offsets[:-1])
    keep |= not remove
    counts = np.bincount(pdf[keep], minlength=gmms.num_pdfs)
    weights = weights[keep] / np.bincount(pdf[keep], weights[keep])[pdf[keep]]
    return DiagonalGmms(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        weights.astype(np.float32),
        means[keep].astype(np.float32),
        variances[keep].astype(np.float32),
    )


def split_targets(pdf_frames: np.ndarray, num_gaussians: int, power: float) -> np.ndarray:
    """How many Gaussians each pdf should have, ``num_gaussians`` in all.

    The next one always goes to the pdf with the highest ``frames ** power / Gaussians``.

    Args:
        pdf_frames: (P,) frames aligned to each pdf.

    Returns:
        (P,) int64, at least 1 each; fewer in all where pdfs have too few frames.
    """
    targets = np.ones(len(pdf_frames), dtype=np.int64)
    shares = pdf_frames.astype(np.float64) ** power
    queue = [(-share, pdf) for pdf, share in enumerate(shares)]
    heapq.heapify(queue)
    wanted = num_gaussians - len(pdf_frames)
    while wanted > 0 and queue:
        pdf = queue[0][1]
        if (targets[pdf] + 1) * MIN_FRAMES_TO_SPLIT >= pdf_frames[pdf]:
            heapq.heappop(queue)
            continue
        targets[pdf] += 1
        wanted -= 1
        heapq.heapreplace(queue, (-shares[pdf] / targets[pdf], pdf))
    return targets


def split(
    gmms: DiagonalGmms,
    targets: np.ndarray,
    generator: np.random.Generator,
    perturbation: float = PERTURBATION,
) -> DiagonalGmms:
    """Split the heaviest Gaussian of each pdf until it has ``targets`` (P,) of them.

    A Gaussian becomes two of half its weight, their means ``perturbation`` times a normal random
    number of standard deviations apart from the old one, on either side.  Pdfs with more
    Gaussians than their target keep them.
    """
    while True:
        short = np.diff(gmms.offsets) < targets
        if not short.any():
            return gmms
        pdf = gmms.pdf_of_gaussian
        by_weight = np.lexsort((-gmms.weights, pdf))
        chosen = by_weight[gmms.offsets[:-1]][short]
        shift = np.sqrt(gmms.variances[chosen]) * perturbation
        shift = shift * generator.standard_normal(shift.shape).astype(np.float32)
        weights, means = gmms.weights.copy(), gmms.means.copy()
        weights[chosen] /= 2
        means[chosen] -= shift
        order = np.argsort(np.concatenate([pdf, pdf[chosen]]), kind="stable")
        gmms = DiagonalGmms(
            np.concatenate([[0], np.cumsum(np.diff(gmms.offsets) + short)]).astype(np.int64),
            np.concatenate([weights, weights[chosen]])[order],
            np.concatenate([means, gmms.means[chosen] + shift])[order],
            np.concatenate([gmms.variances, gmms.variances[chosen]])[order],
        )
