"""Likelihoods against scipy on raw frames; clustering against the plainest loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from am.tree.clustering import bottom_up_merges, log_likelihood

FLOOR = 0.01


def row_of(frames: np.ndarray) -> np.ndarray:
    return np.concatenate([[len(frames)], frames.sum(0), (frames**2).sum(0)])


def direct(frames: np.ndarray) -> float:
    """Log-likelihood of frames under the Gaussian of their own mean and variance."""
    deviation = np.sqrt(np.maximum(frames.var(0), FLOOR))
    return float(norm.logpdf(frames, frames.mean(0), deviation).sum())


@pytest.mark.parametrize("spread", [1.0, 0.05, 0.0])
def test_likelihood_is_that_of_the_frames(spread: float) -> None:
    """A spread of 0.05 is below the floor's square root, 0.1."""
    random = np.random.default_rng(1)
    groups = [3 + spread * random.normal(size=(n, 4)) for n in (1, 2, 50)]
    rows = np.stack([row_of(frames) for frames in groups])
    expected = [direct(frames) for frames in groups]
    np.testing.assert_allclose(log_likelihood(rows, FLOOR), expected, rtol=1e-8)


def test_likelihood_of_nothing_is_zero() -> None:
    assert log_likelihood(np.zeros((2, 7)), FLOOR).tolist() == [0.0, 0.0]


def test_merges_are_those_of_a_plain_loop() -> None:
    random = np.random.default_rng(2)
    groups = [random.normal(size=(int(n), 3)) + 2 * random.normal(size=3) for n in range(2, 14)]
    clusters = dict(enumerate(groups))
    expected = []
    while len(clusters) > 1:
        pairs = [
            (direct(a) + direct(b) - direct(np.concatenate([a, b])), i, j)
            for i, a in clusters.items()
            for j, b in clusters.items()
            if i < j
        ]
        expected.append(min(pairs))
        _, kept, absorbed = expected[-1]
        clusters[kept] = np.concatenate([clusters[kept], clusters.pop(absorbed)])
    merges = bottom_up_merges(np.stack([row_of(frames) for frames in groups]), FLOOR)
    assert [(merge.kept, merge.absorbed) for merge in merges] == [(i, j) for _, i, j in expected]
    np.testing.assert_allclose(
        [merge.cost for merge in merges], [cost for cost, _, _ in expected], rtol=1e-6
    )


def test_nothing_to_merge() -> None:
    assert bottom_up_merges(np.zeros((0, 3)), FLOOR) == []
    assert bottom_up_merges(np.ones((1, 3)), FLOOR) == []
