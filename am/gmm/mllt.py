"""The maximum-likelihood linear transform for diagonal Gaussians (MLLT; global semi-tied).

Gales, "Semi-tied covariance matrices for hidden Markov models" (1999), appendix A, and Kaldi's
``transform/mllt.cc``.
"""

from __future__ import annotations

import numpy as np

from am.errors import InputError

MAX_ITERATIONS = 200
# Gain in objective per frame under which a sweep over the rows was the last.
TOLERANCE = 1e-6


def mllt_objective(matrix: np.ndarray, moments: np.ndarray, num_frames: float) -> float:
    """log |det A| − ½ Σ_i a_i G_i a_iᵀ / frames: natural log-likelihood per frame, less a constant.

    Args:
        matrix: (D, D), rows a_i.
        moments: (D, D, D), G_i of :class:`am.gmm.statistics.MlltStatistics`.
    """
    _, log_determinant = np.linalg.slogdet(matrix)
    quadratic = np.einsum("ij,ijk,ik->", matrix, moments, matrix)
    return float(log_determinant - 0.5 * quadratic / num_frames)


def estimate_mllt(moments: np.ndarray, num_frames: float) -> tuple[np.ndarray, float]:
    """The matrix that maximises :func:`mllt_objective`, from the unit matrix on, row by row.

    A row's optimum with the others fixed is a_i = c_i G_i⁻¹ sqrt(frames / (c_i G_i⁻¹ c_iᵀ)), c_i
    the row's cofactors; any multiple of them will do, so the inverse's column stands for them.

    Returns:
        (D, D) float64, and the objective's gain per frame.

    Raises:
        InputError: the moments are singular.
    """
    dim = len(moments)
    try:
        inverses = np.linalg.inv(moments)
    except np.linalg.LinAlgError as error:
        raise InputError(
            f"MLLT: {num_frames:.0f} frames of speech do not vary in all of {dim} values; check "
            "that the audio is not silence, or add speech"
        ) from error
    matrix = np.eye(dim)
    first = objective = mllt_objective(matrix, moments, num_frames)
    for _ in range(MAX_ITERATIONS):
        for row in range(dim):
            cofactors = np.linalg.inv(matrix)[:, row]
            direction = inverses[row] @ cofactors
            matrix[row] = direction * np.sqrt(num_frames / (cofactors @ direction))
        previous, objective = objective, mllt_objective(matrix, moments, num_frames)
        if objective - previous < TOLERANCE:
            break
    return matrix, objective - first
