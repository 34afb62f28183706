"""EM, splitting and removal against direct formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gmm_cases import direct_log_likelihoods, direct_posteriors, random_gmms

from am.gmm.model import DiagonalGmms, GmmTables
from am.gmm.statistics import EmStatistics, accumulate
from am.gmm.update import MIN_VARIANCE, estimate, split, split_targets

CPU = torch.device("cpu")


def gathered(gmms: DiagonalGmms, frames: np.ndarray, pdf_ids: np.ndarray) -> EmStatistics:
    statistics = EmStatistics.zeros(gmms, CPU)
    tables = GmmTables(gmms, CPU)
    half = len(frames) // 2
    for part in (slice(None, half), slice(half, None)):
        accumulate(statistics, tables, torch.from_numpy(frames[part]), pdf_ids[part])
    return statistics


def mixture_data(seed: int, num_frames: int = 600) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = random_gmms(generator, [3, 1, 5], dim=4, spread=4.0)
    pdf_ids = generator.choice(3, num_frames, p=[0.5, 0.3, 0.2])
    component = [
        generator.choice(np.arange(truth.offsets[p], truth.offsets[p + 1])) for p in pdf_ids
    ]
    noise = generator.standard_normal((num_frames, 4))
    frames = truth.means[component] + noise * np.sqrt(truth.variances[component])
    return frames.astype(np.float32), pdf_ids


def test_em_step_is_the_direct_one() -> None:
    frames, pdf_ids = mixture_data(0)
    gmms = random_gmms(np.random.default_rng(9), [2, 3, 1], dim=4)
    statistics = gathered(gmms, frames, pdf_ids)
    updated = estimate(gmms, statistics, min_occupancy=0.0)

    posteriors = direct_posteriors(gmms, frames, pdf_ids)
    occupancies = posteriors.sum(axis=0)
    means = posteriors.T @ frames / occupancies[:, None]
    squares = posteriors.T @ frames.astype(np.float64) ** 2 / occupancies[:, None]
    np.testing.assert_allclose(statistics.occupancies.numpy(), occupancies, rtol=1e-4)
    np.testing.assert_allclose(updated.means, means, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(updated.variances, squares - means**2, rtol=2e-3, atol=2e-3)
    totals = np.bincount(gmms.pdf_of_gaussian, occupancies)[gmms.pdf_of_gaussian]
    np.testing.assert_allclose(updated.weights, occupancies / totals, rtol=1e-4)
    likelihoods = direct_log_likelihoods(gmms, frames)[np.arange(len(frames)), pdf_ids]
    assert statistics.log_likelihood == pytest.approx(likelihoods.sum(), rel=1e-5)
    assert statistics.num_frames == len(frames)


def test_em_never_lowers_the_likelihood() -> None:
    frames, pdf_ids = mixture_data(1)
    gmms = random_gmms(np.random.default_rng(3), [4, 2, 4], dim=4)
    found = []
    for _ in range(15):
        statistics = gathered(gmms, frames, pdf_ids)
        found.append(statistics.log_likelihood_per_frame)
        gmms = estimate(gmms, statistics, min_occupancy=0.0)
    assert (np.diff(found) > -1e-4).all()
    assert found[-1] > found[0] + 0.5


def test_variances_are_floored() -> None:
    gmms = DiagonalGmms.single(np.zeros((1, 2)), np.ones((1, 2)))
    frames = np.tile(np.array([[1.0, 2.0]], dtype=np.float32), (50, 1))
    updated = estimate(gmms, gathered(gmms, frames, np.zeros(50, dtype=int)))
    np.testing.assert_allclose(updated.means, [[1.0, 2.0]])
    np.testing.assert_allclose(updated.variances, MIN_VARIANCE)


def test_starved_gaussians_are_removed_but_a_pdf_keeps_one() -> None:
    generator = np.random.default_rng(4)
    gmms = DiagonalGmms(
        np.array([0, 2, 4, 5], dtype=np.int64),
        np.array([0.5, 0.5, 0.4, 0.6, 1.0], dtype=np.float32),
        np.array([[0.0], [1e4], [0.0], [3.0], [7.0]], dtype=np.float32),
        np.ones((5, 1), dtype=np.float32),
    )
    # pdf 0: nothing near its second Gaussian; pdf 1: only 4 frames; pdf 2: none.
    frames = generator.normal(0, 1, (104, 1)).astype(np.float32)
    updated = estimate(gmms, gathered(gmms, frames, np.repeat([0, 1], [100, 4])))
    assert np.diff(updated.offsets).tolist() == [1, 1, 1]
    np.testing.assert_allclose(updated.weights, 1.0)
    assert updated.means[1:].ravel().tolist() == [3.0, 7.0]
    statistics = gathered(gmms, frames, np.repeat([0, 1], [100, 4]))
    same_number = estimate(gmms, statistics, remove=False)
    assert np.array_equal(same_number.offsets, gmms.offsets)
    np.testing.assert_allclose(same_number.means[0], updated.means[0])
    assert same_number.means[1:].ravel().tolist() == [1e4, 0.0, 3.0, 7.0]
    sums = np.bincount(gmms.pdf_of_gaussian, same_number.weights)
    np.testing.assert_allclose(sums, 1.0, rtol=1e-5)


def test_split_hardly_changes_the_likelihood() -> None:
    generator = np.random.default_rng(5)
    gmms = random_gmms(generator, [1, 4, 2], dim=5)
    targets = np.array([4, 4, 9])
    more = split(gmms, targets, generator, perturbation=0.01)
    assert np.diff(more.offsets).tolist() == targets.tolist()
    frames = generator.normal(0, 2, (40, 5)).astype(np.float32)
    before, after = direct_log_likelihoods(gmms, frames), direct_log_likelihoods(more, frames)
    np.testing.assert_allclose(after, before, atol=0.2)
    sums = np.bincount(more.pdf_of_gaussian, more.weights)
    np.testing.assert_allclose(sums, 1.0, rtol=1e-5)
    assert len(np.unique(more.means, axis=0)) == more.num_gaussians


def test_split_halves_the_heaviest() -> None:
    gmms = DiagonalGmms(
        np.array([0, 2], dtype=np.int64),
        np.array([0.2, 0.8], dtype=np.float32),
        np.array([[0.0], [10.0]], dtype=np.float32),
        np.ones((2, 1), dtype=np.float32),
    )
    more = split(gmms, np.array([3]), np.random.default_rng(0), perturbation=0.1)
    np.testing.assert_allclose(more.weights, [0.2, 0.4, 0.4])
    assert more.means[1] + more.means[2] == pytest.approx(20.0)


def test_split_targets_are_greedy() -> None:
    frames = np.array([5000.0, 100.0, 30.0, 0.0])
    targets = split_targets(frames, 20, power=0.5)
    assert targets.sum() == 20
    # Fewer than 2 * 20 frames allow one Gaussian, fewer than 6 * 20 at most 4.
    assert targets[2] == targets[3] == 1
    shares = frames**0.5
    assert targets[1] == 4 or shares[0] / targets[0] <= shares[1] / (targets[1] - 1)
    assert split_targets(frames, 3, power=0.5).tolist() == [1, 1, 1, 1]
    starved = split_targets(np.array([50.0, 10.0]), 100, power=0.5)
    assert starved.tolist() == [2, 1]
