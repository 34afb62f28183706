"""Mixtures of diagonal Gaussians, one mixture a pdf-id, and their log-likelihoods.

Shapes: P pdfs, G Gaussians of all pdfs together, D feature dimensions, T frames.

log N(x; µ, σ²) = constant + x · (µ / σ²) + x² · (-1 / 2σ²), so that the likelihoods of many
Gaussians are one matrix product of [x, x²] with a table of two rows a dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from am.errors import InputError

GMM_NAME = "gmm.safetensors"
# Log weight of the entries that only fill a table; exp of it is 0 in float32.
PADDING_LOG_WEIGHT = -1e30
# exp is 10 to 30 times slower where its result is denormal or 0, as for most Gaussians of a frame;
# beside a term of 1, exp(-80) is nothing.
LOWEST_EXPONENT = -80.0


@dataclass(frozen=True)
class DiagonalGmms:
    """The parameters, Gaussians of a pdf next to each other.

    Attributes:
        offsets: (P + 1,) int64; pdf ``p`` owns Gaussians ``offsets[p]`` to ``offsets[p + 1]``.
        weights: (G,) float32, the weights of a pdf sum to 1.
        means, variances: (G, D) float32.
    """

    offsets: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    @property
    def num_pdfs(self) -> int:
        """P."""
        return len(self.offsets) - 1

    @property
    def num_gaussians(self) -> int:
        """G, of all pdfs together."""
        return len(self.weights)

    @property
    def dim(self) -> int:
        """D."""
        return self.means.shape[1]

    @property
    def pdf_of_gaussian(self) -> np.ndarray:
        """(G,) int64."""
        return np.repeat(np.arange(self.num_pdfs), np.diff(self.offsets))

    @staticmethod
    def single(means: np.ndarray, variances: np.ndarray) -> DiagonalGmms:
        """One Gaussian a pdf; ``means`` and ``variances`` are (P, D)."""
        return DiagonalGmms(
            np.arange(len(means) + 1, dtype=np.int64),
            np.ones(len(means), dtype=np.float32),
            means.astype(np.float32),
            variances.astype(np.float32),
        )

    def with_means(self, means: np.ndarray) -> DiagonalGmms:
        """The same with other means (G, D), e.g. after a change of the features."""
        return DiagonalGmms(self.offsets, self.weights, means.astype(np.float32), self.variances)

    def save(self, folder: Path) -> None:
        """Write ``gmm.safetensors``."""
        save_file(
            {
                "offsets": self.offsets,
                "weights": self.weights,
                "means": np.ascontiguousarray(self.means),
                "variances": np.ascontiguousarray(self.variances),
            },
            str(folder / GMM_NAME),
        )

    @staticmethod
    def load(folder: Path) -> DiagonalGmms:
        """Read what :meth:`save` wrote."""
        path = folder / GMM_NAME
        if not path.is_file():
            raise InputError(f"{path}: no such file; give the folder of a GMM")
        try:
            return DiagonalGmms(**load_file(str(path)))
        except (SafetensorError, TypeError) as error:
            raise InputError(f"{path}: not readable ({error}); train the model again") from error


class GmmTables:
    """GMMs laid out for evaluation on a device.

    Pdfs are grouped by their number of Gaussians, rounded up to a few sizes K, so that padding
    wastes little and no loop runs over pdfs.

    Args:
        gmms: the parameters.
        device: where tensors live.

    Attributes:
        log_constants: (G + 1,) float32, log weight + normalisation − Σ µ² / 2σ²; the last one
            is padding, with a weight of 0.
        coefficients: (G + 1, 2 D) float32, times [x, x²].
        group_of_pdf, row_of_pdf: (P,) which group, and which row of its slots.
        slots: per group (pdfs, K) int64 Gaussians; G where there is none.
    """

    def __init__(self, gmms: DiagonalGmms, device: torch.device):
        self.gmms = gmms
        self.device = device
        log_constants, coefficients = _evaluation_rows(gmms)
        self.log_constants = torch.from_numpy(log_constants).to(device)
        self.coefficients = torch.from_numpy(coefficients).to(device)
        counts = np.diff(gmms.offsets)
        padded = np.array([padded_size(count) for count in range(counts.max() + 1)])[counts]
        sizes, self.group_of_pdf = np.unique(padded, return_inverse=True)
        self.row_of_pdf = np.zeros(gmms.num_pdfs, dtype=np.int64)
        self.slots: list[np.ndarray] = []
        for group, size in enumerate(sizes):
            pdfs = np.flatnonzero(self.group_of_pdf == group)
            self.row_of_pdf[pdfs] = np.arange(len(pdfs))
            slots = gmms.offsets[pdfs][:, None] + np.arange(size)
            slots[np.arange(size) >= counts[pdfs][:, None]] = gmms.num_gaussians
            self.slots.append(slots)

    def log_likelihoods(self, frames: torch.Tensor, pdf_ids: np.ndarray) -> torch.Tensor:
        """Log-likelihoods (natural log) of the pdfs an utterance can use, and no others.

        Args:
            frames: (T, D) float32 on the tables' device.
            pdf_ids: (n,) distinct pdf-ids.

        Returns:
            (T, n) float32, columns in the order of ``pdf_ids``, each contiguous in memory.
        """
        order = np.argsort(self.group_of_pdf[pdf_ids], kind="stable")
        ordered = pdf_ids[order]
        first_of_group = np.searchsorted(
            self.group_of_pdf[ordered], np.arange(len(self.slots) + 1)
        ).tolist()
        # Gaussians before pdfs before frames: sums over a mixture then add contiguous rows.
        chosen = [
            slots[self.row_of_pdf[ordered[first:last]]].T
            for slots, first, last in zip(
                self.slots, first_of_group[:-1], first_of_group[1:], strict=True
            )
        ]
        rows = torch.from_numpy(np.concatenate([slots.ravel() for slots in chosen]))
        rows = rows.to(self.device)
        extended = torch.cat([frames, frames * frames], dim=1)
        scores = torch.addmm(self.log_constants[rows, None], self.coefficients[rows], extended.T)
        sums = torch.empty((len(pdf_ids), len(frames)), device=self.device)
        first_row = 0
        for slots, first in zip(chosen, first_of_group, strict=False):
            if slots.size:
                mixtures = scores[first_row : first_row + slots.size].unflatten(0, slots.shape)
                sums[first : first + slots.shape[1]] = _log_sum_exp(mixtures)
            first_row += slots.size
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        return sums.index_select(0, torch.from_numpy(inverse).to(self.device)).T


def relative_likelihoods(scores: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(score − highest score of ``dim``), overwriting ``scores``, and the highest scores."""
    best = scores.amax(dim=dim, keepdim=True)
    return scores.sub_(best).clamp_(min=LOWEST_EXPONENT).exp_(), best


def _log_sum_exp(scores: torch.Tensor) -> torch.Tensor:
    """Over axis 0 of (K, n, T), overwriting ``scores``."""
    if len(scores) == 1:
        return scores[0]
    likelihoods, best = relative_likelihoods(scores, dim=0)
    return likelihoods.sum(dim=0).log_().add_(best[0])


def padded_size(count: int) -> int:
    """Gaussians of a table row that holds ``count``: 1, 2, 3, 4, 6, 8, 12, 16, 24 …"""
    size = 1
    while size < count:
        size = size + 1 if size < 4 else (size * 3 // 2 if size.bit_count() == 1 else size * 4 // 3)
    return size


def _evaluation_rows(gmms: DiagonalGmms) -> tuple[np.ndarray, np.ndarray]:
    """(G + 1,) log constants and (G + 1, 2 D) coefficients; the last row is padding."""
    means = gmms.means.astype(np.float64)
    precisions = 1.0 / gmms.variances.astype(np.float64)
    log_weights = np.log(np.maximum(gmms.weights.astype(np.float64), 1e-30))
    log_constants = log_weights - 0.5 * (
        gmms.dim * math.log(2 * math.pi)
        - np.log(precisions).sum(axis=1)
        + (means**2 * precisions).sum(axis=1)
    )
    coefficients = np.concatenate([means * precisions, -0.5 * precisions], axis=1)
    return (
        np.append(log_constants, PADDING_LOG_WEIGHT).astype(np.float32),
        np.concatenate([coefficients, np.zeros((1, 2 * gmms.dim))]).astype(np.float32),
    )
