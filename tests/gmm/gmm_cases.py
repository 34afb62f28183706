"""Random mixtures, and the direct formulas that the fast code is held against."""

from __future__ import annotations

import numpy as np
import scipy.special
import scipy.stats

from am.gmm.model import DiagonalGmms


def random_gmms(
    generator: np.random.Generator, counts: list[int], dim: int, spread: float = 2.0
) -> DiagonalGmms:
    """``counts[p]`` Gaussians for pdf p."""
    total = sum(counts)
    weights = np.concatenate([generator.dirichlet(np.full(count, 3.0)) for count in counts])
    return DiagonalGmms(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        weights.astype(np.float32),
        generator.normal(0, spread, (total, dim)).astype(np.float32),
        generator.uniform(0.3, 3.0, (total, dim)).astype(np.float32),
    )


def component_log_likelihoods(gmms: DiagonalGmms, pdf_id: int, frames: np.ndarray) -> np.ndarray:
    """(T, K) log weight + log density of the pdf's Gaussians, by scipy."""
    own = slice(gmms.offsets[pdf_id], gmms.offsets[pdf_id + 1])
    densities = scipy.stats.norm.logpdf(
        frames[:, None, :], gmms.means[own], np.sqrt(gmms.variances[own])
    )
    return np.log(gmms.weights[own]) + densities.sum(axis=2)


def direct_log_likelihoods(gmms: DiagonalGmms, frames: np.ndarray) -> np.ndarray:
    """(T, P)."""
    return np.stack(
        [
            scipy.special.logsumexp(component_log_likelihoods(gmms, pdf_id, frames), axis=1)
            for pdf_id in range(gmms.num_pdfs)
        ],
        axis=1,
    )


def direct_posteriors(gmms: DiagonalGmms, frames: np.ndarray, pdf_ids: np.ndarray) -> np.ndarray:
    """(T, G) posterior of each Gaussian given the frame's pdf."""
    posteriors = np.zeros((len(frames), gmms.num_gaussians))
    for frame, pdf_id in enumerate(pdf_ids):
        own = slice(gmms.offsets[pdf_id], gmms.offsets[pdf_id + 1])
        scores = component_log_likelihoods(gmms, pdf_id, frames[frame : frame + 1])[0]
        posteriors[frame, own] = scipy.special.softmax(scores)
    return posteriors
