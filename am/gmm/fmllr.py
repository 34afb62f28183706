"""fMLLR: the affine transform of a speaker's frames that a GMM likes best.

Gales, "Maximum likelihood linear transformations for HMM-based speech recognition" (1998),
section 3.3 (constrained MLLR), and Kaldi's ``transform/fmllr-diag-gmm.cc``.

Shapes: n frames, D values of a frame.  W = [A b] is (D, D + 1), with rows w_i; x⁺ is x with a 1
after it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from am.gmm.statistics import weighted_moments

MAX_SWEEPS = 40
# Gain in objective per frame under which a sweep over the rows was the last.
TOLERANCE = 1e-6


class FmllrStatistics:
    """What an fMLLR estimate needs of one speaker.

    Args:
        dim: D.
        device: where tensors live.

    Attributes:
        num_frames: β, sum of the frames' weights.
        linear: (D, D + 1) float64, K: rows k_i = Σ_t Σ_g γ_tg µ_gi / σ²_gi x⁺_tᵀ.
        quadratic: (D, D + 1, D + 1) float64, G_i = Σ_t Σ_g γ_tg / σ²_gi x⁺_t x⁺_tᵀ.
    """

    def __init__(self, dim: int, device: torch.device):
        self.num_frames = 0.0
        self.linear = torch.zeros(dim, dim + 1, dtype=torch.float64, device=device)
        self.quadratic = torch.zeros(dim, dim + 1, dim + 1, dtype=torch.float64, device=device)

    def accumulate(
        self,
        frames: torch.Tensor,
        precisions: torch.Tensor,
        weighted_means: torch.Tensor,
        weights: torch.Tensor,
    ) -> None:
        """Add frames of the speaker.

        Args:
            frames: (n, D) that are to be transformed.
            precisions, weighted_means: (n, D) of :func:`am.gmm.statistics.frame_precisions`.
            weights: (n,) what each frame counts.
        """
        vectors = torch.cat([frames, torch.ones_like(frames[:, :1])], dim=1)
        self.num_frames += float(weights.sum(dtype=torch.float64))
        self.linear += (weighted_means * weights[:, None]).T.double() @ vectors.double()
        self.quadratic += weighted_moments(precisions * weights[:, None], vectors)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it, for :meth:`add_arrays`."""
        return {
            "num_frames": np.array([self.num_frames]),
            "linear": self.linear.cpu().numpy(),
            "quadratic": self.quadratic.cpu().numpy(),
        }

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what :meth:`to_arrays` made of other frames of the speaker.

        This one is on the CPU.
        """
        self.num_frames += float(arrays["num_frames"][0])
        self.linear += torch.from_numpy(arrays["linear"])
        self.quadratic += torch.from_numpy(arrays["quadratic"])


def fmllr_objective(matrix: np.ndarray, statistics: FmllrStatistics) -> float:
    """β log |det A| + Σ_i (w_i · k_i − ½ w_i G_i w_iᵀ).

    That is the auxiliary function of the weighted frames, natural log, less a constant: higher is
    better.
    """
    linear, quadratic = statistics.linear.cpu().numpy(), statistics.quadratic.cpu().numpy()
    return _objective(matrix, statistics.num_frames, linear, quadratic)


def estimate_fmllr(statistics: FmllrStatistics) -> tuple[np.ndarray, float] | None:
    """The transform that maximises :func:`fmllr_objective`, from the identity on, row by row.

    With the other rows fixed, |det A| is |a_i · c| times a constant, c the i-th column of A⁻¹, and
    the row's optimum is w_i = (α c⁺ + k_i) G_i⁻¹, c⁺ being c with a 0 after it.  α solves
    α² c⁺ G_i⁻¹ c⁺ᵀ + α c⁺ G_i⁻¹ k_i − β = 0; of the two roots the one with the sign of the middle
    term has the higher objective.

    Returns:
        (D, D + 1) float64 and the objective's gain per frame; None if the frames do not determine
        a transform, being too few or too much alike.
    """
    frames = statistics.num_frames
    linear, quadratic = statistics.linear.cpu().numpy(), statistics.quadratic.cpu().numpy()
    dim = len(linear)
    try:
        inverses = np.linalg.inv(quadratic)
    except np.linalg.LinAlgError:
        return None
    matrix = np.eye(dim, dim + 1)
    first = objective = _objective(matrix, frames, linear, quadratic)
    for _ in range(MAX_SWEEPS):
        changed = _sweep(matrix, frames, linear, inverses)
        previous, objective = objective, _objective(changed, frames, linear, quadratic)
        # Not below but "not above": an inverse of nearly singular statistics gives NaN.
        if not objective > previous:
            break
        matrix = changed
        if objective - previous < TOLERANCE * frames:
            break
    gain = (max(objective, previous) - first) / frames
    return (matrix, gain) if np.isfinite(gain) and gain > 0 else None


def _sweep(
    matrix: np.ndarray, frames: float, linear: np.ndarray, inverses: np.ndarray
) -> np.ndarray:
    """A copy of ``matrix`` with every row at its optimum in turn."""
    matrix = matrix.copy()
    dim = len(matrix)
    inverse = np.linalg.inv(matrix[:, :dim])
    for row in range(dim):
        column = inverse[:, row].copy()
        direction = inverses[row][:, :dim] @ column
        square, middle = column @ direction[:dim], linear[row] @ direction
        root = np.sqrt(middle**2 + 4.0 * square * frames)
        alpha = 2.0 * frames / (middle + (root if middle >= 0 else -root))
        optimum = alpha * direction + inverses[row] @ linear[row]
        # Sherman-Morrison: one row of A changes.
        change = (optimum - matrix[row])[:dim] @ inverse
        inverse -= np.outer(column, change) / (optimum[:dim] @ column)
        matrix[row] = optimum
    return matrix


def _objective(
    matrix: np.ndarray, frames: float, linear: np.ndarray, quadratic: np.ndarray
) -> float:
    _, log_determinant = np.linalg.slogdet(matrix[:, : len(matrix)])
    bent = np.matmul(quadratic, matrix[:, :, None])[:, :, 0]
    return float(frames * log_determinant + np.sum(matrix * (linear - 0.5 * bent)))
