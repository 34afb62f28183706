"""Gaussian likelihood of pooled statistics, and the bottom-up clustering built on it.

A row of statistics is ``[count, sums (D), sums of squares (D)]``, float64; rows add.
Likelihoods are natural logs, higher is better; a cost is the likelihood that a merge loses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def log_likelihood(rows: np.ndarray, variance_floor: float) -> np.ndarray:
    """Log-likelihood of the frames behind each row under their own diagonal Gaussian.

    With count n, mean m and variance v = (sum of squares) / n − m², floored to v':
    −n/2 · Σ_d (log v' + v / v' + log 2π); Kaldi's ``GaussClusterable::Objf``.

    Args:
        rows: (..., 1 + 2 D).
        variance_floor: lowest v'.

    Returns:
        (...,) natural log; 0 where the count is 0.
    """
    dim = (rows.shape[-1] - 1) // 2
    count = rows[..., 0]
    scale = 1.0 / np.maximum(count, 1e-20)[..., None]
    mean = rows[..., 1 : 1 + dim] * scale
    variance = rows[..., 1 + dim :] * scale
    variance -= mean * mean
    floored = np.maximum(variance, variance_floor)
    variance /= floored
    variance += np.log(floored)
    return -0.5 * count * (variance.sum(axis=-1) + dim * math.log(2 * math.pi))


@dataclass(frozen=True)
class Merge:
    """One step of a bottom-up clustering: cluster ``absorbed`` goes into cluster ``kept``.

    A cluster bears the number of the lowest of the rows in it, so ``kept < absorbed``.
    """

    cost: float
    kept: int
    absorbed: int


def bottom_up_merges(rows: np.ndarray, variance_floor: float) -> list[Merge]:
    """Merge rows two by two, the cheapest pair first, until one cluster is left.

    Args:
        rows: (n, 1 + 2 D).

    Returns:
        n − 1 merges in order; of equally cheap pairs that of the lowest numbers comes first.
    """
    rows = rows.copy()
    total = len(rows)
    likelihood = log_likelihood(rows, variance_floor)
    costs = np.full((total, total), np.inf)
    for row in range(total - 1):
        pooled = log_likelihood(rows[row] + rows[row + 1 :], variance_floor)
        costs[row, row + 1 :] = likelihood[row] + likelihood[row + 1 :] - pooled
    active = np.ones(total, dtype=bool)
    merges: list[Merge] = []
    for _ in range(total - 1):
        kept, absorbed = (int(index) for index in divmod(int(costs.argmin()), total))
        merges.append(Merge(float(costs[kept, absorbed]), kept, absorbed))
        active[absorbed] = False
        costs[absorbed, :] = np.inf
        costs[:, absorbed] = np.inf
        rows[kept] += rows[absorbed]
        likelihood[kept] = log_likelihood(rows[kept], variance_floor)
        others = np.flatnonzero(active)
        others = others[others != kept]
        pooled = log_likelihood(rows[kept] + rows[others], variance_floor)
        first, second = np.minimum(others, kept), np.maximum(others, kept)
        costs[first, second] = likelihood[kept] + likelihood[others] - pooled
    return merges
