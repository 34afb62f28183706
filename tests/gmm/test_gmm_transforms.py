"""LDA and MLLT against direct solutions."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from gmm_cases import direct_posteriors, random_gmms

from am.gmm.lda import LdaStatistics
from am.gmm.mllt import estimate_mllt, mllt_objective
from am.gmm.model import GmmTables
from am.gmm.statistics import MlltStatistics


def test_lda_solves_the_generalised_eigenproblem() -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(0, 1, (6, 6))
    classes = generator.integers(0, 5, 3000)
    centres = generator.normal(0, 2, (5, 6))
    frames = ((centres[classes] + generator.normal(0, 1, (3000, 6))) @ mixing).astype(np.float32)
    statistics = LdaStatistics(7, 6)
    for part in np.array_split(np.arange(3000), 7):
        statistics.accumulate(frames[part], classes[part])
    found = statistics.estimate(3)

    within = np.mean(
        [np.cov(frames[classes == c].T, bias=True) * np.mean(classes == c) * 5 for c in range(5)],
        axis=0,
    )
    between = np.cov(frames.T, bias=True) - within
    ratios, vectors = scipy.linalg.eig(between, within)
    best = np.argsort(-ratios.real)[:3]
    for row, direction in zip(found, vectors[:, best].T.real, strict=True):
        cosine = row @ direction / np.linalg.norm(row) / np.linalg.norm(direction)
        assert abs(cosine) > 1 - 1e-4
    np.testing.assert_allclose(found @ within @ found.T, np.eye(3), atol=2e-3)


def rotated_mixture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames whose classes are diagonal only after a rotation."""
    generator = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(generator.normal(0, 1, (4, 4)))
    pdf_ids = generator.integers(0, 3, 4000)
    means = generator.normal(0, 3, (3, 4))
    deviations = np.array([0.2, 0.6, 1.5, 4.0])
    frames = (means[pdf_ids] + deviations * generator.normal(0, 1, (4000, 4))) @ rotation.T
    return frames.astype(np.float32), pdf_ids


def test_mllt_statistics_are_the_direct_sums() -> None:
    frames, pdf_ids = rotated_mixture(1)
    gmms = random_gmms(np.random.default_rng(2), [2, 1, 3], dim=4)
    statistics = MlltStatistics(gmms, torch.device("cpu"))
    tables = GmmTables(gmms, torch.device("cpu"))
    for part in np.array_split(np.arange(600), 2):
        statistics.accumulate(tables, torch.from_numpy(frames[part]), pdf_ids[part])
    posteriors = direct_posteriors(gmms, frames[:600], pdf_ids[:600])
    residuals = frames[:600, None, :] - gmms.means
    expected = np.einsum(
        "tg,gi,tgj,tgk->ijk", posteriors, 1 / gmms.variances, residuals, residuals, optimize=True
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(statistics.moments(gmms) / scale, expected / scale, atol=1e-5)


def test_mllt_raises_the_likelihood_by_what_it_says() -> None:
    """log |det A| belongs to the likelihood: only with it do gain and objective agree."""
    frames, pdf_ids = rotated_mixture(3)
    gmms = random_gmms(np.random.default_rng(0), [1, 1, 1], dim=4)
    means = np.stack([frames[pdf_ids == p].mean(axis=0) for p in range(3)])
    variances = np.stack([frames[pdf_ids == p].var(axis=0) for p in range(3)])
    gmms = type(gmms).single(means, variances)
    statistics = MlltStatistics(gmms, torch.device("cpu"))
    statistics.accumulate(GmmTables(gmms, torch.device("cpu")), torch.from_numpy(frames), pdf_ids)
    matrix, gain = estimate_mllt(statistics.moments(gmms), len(frames))

    def log_likelihood(transform: np.ndarray) -> float:
        """Per frame, with the old variances, means moved along."""
        residuals = (frames - means[pdf_ids]) @ transform.T
        quadratic = (residuals**2 / variances[pdf_ids]).sum(axis=1).mean()
        return np.linalg.slogdet(transform)[1] - 0.5 * quadratic

    assert gain > 0.1
    np.testing.assert_allclose(gain, log_likelihood(matrix) - log_likelihood(np.eye(4)), rtol=1e-3)
    moved = frames @ matrix.T
    for pdf_id in range(3):
        correlation = np.corrcoef(moved[pdf_ids == pdf_id].T)
        assert np.abs(correlation - np.eye(4)).max() < 0.1


def test_mllt_is_a_maximum() -> None:
    """No small change of the matrix raises the objective."""
    generator = np.random.default_rng(4)
    factors = generator.normal(0, 1, (3, 5, 3))
    moments = np.einsum("itj,itk->ijk", factors, factors) * 100
    matrix, gain = estimate_mllt(moments, 100.0)
    best = mllt_objective(matrix, moments, 100.0)
    assert gain > 0
    for _ in range(200):
        other = matrix + generator.normal(0, 0.01, (3, 3))
        assert mllt_objective(other, moments, 100.0) <= best + 1e-6
