"""Statistics of Gaussians over aligned frames: for EM, and what MLLT and fMLLR share.

Shapes: n frames, D dimensions, G Gaussians, K Gaussians of a pdf.  Frames of the same pdf-id are
gathered into blocks of ``BLOCK_FRAMES``, so that posteriors and sums are batched matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from am.gmm.model import DiagonalGmms, GmmTables, relative_likelihoods

BLOCK_FRAMES = 32
# Elements of one batched product, which bounds the memory of a call.
MAX_BLOCK_ELEMENTS = 2_000_000


@dataclass
class EmStatistics:
    """What an EM update needs.

    Attributes:
        occupancies: (G,) float64 sums of posteriors.
        sums: (G, 2 D) float64, posterior-weighted sums of x and of x².
        num_frames: frames seen.
        log_likelihood: natural log, sum over the frames of their own pdf's likelihood.
    """

    occupancies: torch.Tensor
    sums: torch.Tensor
    num_frames: int = 0
    log_likelihood: float = 0.0

    @staticmethod
    def zeros(gmms: DiagonalGmms, device: torch.device) -> EmStatistics:
        """Nothing seen yet."""
        return EmStatistics(
            torch.zeros(gmms.num_gaussians, dtype=torch.float64, device=device),
            torch.zeros(gmms.num_gaussians, 2 * gmms.dim, dtype=torch.float64, device=device),
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it, for :meth:`add_arrays`."""
        return {
            "occupancies": self.occupancies.cpu().numpy(),
            "sums": self.sums.cpu().numpy(),
            "num_frames": np.array([self.num_frames]),
            "log_likelihood": np.array([self.log_likelihood]),
        }

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what :meth:`to_arrays` made of other frames, of the same Gaussians.

        This one is on the CPU.
        """
        self.occupancies += torch.from_numpy(arrays["occupancies"])
        self.sums += torch.from_numpy(arrays["sums"])
        self.num_frames += int(arrays["num_frames"][0])
        self.log_likelihood += float(arrays["log_likelihood"][0])

    @property
    def log_likelihood_per_frame(self) -> float:
        """Mean log-likelihood of a frame given its aligned pdf, natural log."""
        return self.log_likelihood / max(self.num_frames, 1)


@dataclass(frozen=True)
class _Blocks:
    """Frames of one table group, their Gaussians and posteriors.

    Attributes:
        rows: (B, F) places among the frames; a place that is not ``present`` fills a block.
        present: (B, F) bool.
        extended: (B, F, 2 D), x and x².
        gaussians: (B, K).
        posteriors: (B, F, K), 0 where a frame is not present.
        log_likelihood: natural log, of the frames that are present.
    """

    rows: torch.Tensor
    present: torch.Tensor
    extended: torch.Tensor
    gaussians: torch.Tensor
    posteriors: torch.Tensor
    num_frames: int
    log_likelihood: float


def accumulate(
    statistics: EmStatistics,
    tables: GmmTables,
    frames: torch.Tensor,
    pdf_ids: np.ndarray,
    observed: torch.Tensor | None = None,
) -> None:
    """Add frames to ``statistics``.

    Args:
        statistics: added to.
        tables: of the GMMs that give the posteriors.
        frames: (n, D).
        pdf_ids: (n,) that the frames are aligned to.
        observed: (n, D) the same frames under other features, to be summed instead.
    """
    for blocks in _posterior_blocks(tables, frames, pdf_ids):
        extended = blocks.extended if observed is None else _extended(observed[blocks.rows])
        _add_blocks(statistics, blocks, extended)


def _add_blocks(statistics: EmStatistics, blocks: _Blocks, extended: torch.Tensor) -> None:
    num_gaussians, width = statistics.sums.shape
    weights = blocks.posteriors.transpose(1, 2)
    sums = torch.bmm(weights, extended).reshape(-1, width)
    rows = blocks.gaussians.reshape(-1)
    real = rows < num_gaussians
    statistics.sums.index_add_(0, rows[real], sums[real].double())
    occupancies = weights.sum(dim=2).reshape(-1)
    statistics.occupancies.index_add_(0, rows[real], occupancies[real].double())
    statistics.num_frames += blocks.num_frames
    statistics.log_likelihood += blocks.log_likelihood


def frame_precisions(
    tables: GmmTables,
    frames: torch.Tensor,
    pdf_ids: np.ndarray,
    parameters: GmmTables | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The Gaussians around each frame as one, by their posteriors γ_tg.

    Args:
        tables: of the GMMs that give the posteriors.
        frames: (n, D).
        pdf_ids: (n,) that the frames are aligned to.
        parameters: of other means and variances, Gaussian by Gaussian.

    Returns:
        (n, D) Σ_g γ_tg / σ²_g and (n, D) Σ_g γ_tg µ_g / σ²_g.
    """
    coefficients = (parameters or tables).coefficients
    found = torch.zeros(len(frames), coefficients.shape[1], device=frames.device)
    for blocks in _posterior_blocks(tables, frames, pdf_ids):
        sums = torch.bmm(blocks.posteriors, coefficients[blocks.gaussians])
        found[blocks.rows[blocks.present]] = sums[blocks.present]
    weighted_means, halves = found.chunk(2, dim=1)
    return -2.0 * halves, weighted_means


def weighted_moments(weights: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Σ_t w_ti v_t v_tᵀ for each column i of ``weights``.

    Args:
        weights: (n, D) float32.
        vectors: (n, E) float32.

    Returns:
        (D, E, E) float64.
    """
    width = vectors.shape[1]
    upper = torch.triu_indices(width, width, device=vectors.device)
    sums = torch.zeros(upper.shape[1], weights.shape[1], dtype=torch.float64, device=vectors.device)
    step = max(1, MAX_BLOCK_ELEMENTS // width**2)
    for first in range(0, len(vectors), step):
        # A row a dimension: whole rows are multiplied, several times faster than columns.
        part = vectors[first : first + step].T.contiguous()
        products = part.index_select(0, upper[0])
        products *= part.index_select(0, upper[1])
        sums += (products @ weights[first : first + step]).double()
    sums = sums.T
    moments = torch.empty(len(sums), width, width, dtype=torch.float64, device=vectors.device)
    moments[:, upper[0], upper[1]] = sums
    moments[:, upper[1], upper[0]] = sums
    return moments


class MlltStatistics:
    """Second moments around the means, weighted by each dimension's precision.

    ``moments[i] = Σ_t Σ_g γ_tg (x_t − µ_g)(x_t − µ_g)ᵀ / σ²_gi``, as in Gales (1999) and Kaldi's
    ``transform/mllt.cc``.  It is kept as Σ_t w_ti x_t x_tᵀ with w_ti = Σ_g γ_tg / σ²_gi; what the
    means add follows from ordinary EM statistics, so no matrix a Gaussian is stored.

    Attributes:
        raw: (D, D, D) float64, Σ_t w_ti x_t x_tᵀ.
        em: statistics of the same frames.
    """

    def __init__(self, gmms: DiagonalGmms, device: torch.device):
        self.raw = torch.zeros(gmms.dim, gmms.dim, gmms.dim, dtype=torch.float64, device=device)
        self.em = EmStatistics.zeros(gmms, device)

    def accumulate(self, tables: GmmTables, frames: torch.Tensor, pdf_ids: np.ndarray) -> None:
        """Add frames (n, D) aligned to ``pdf_ids`` (n,)."""
        dim = frames.shape[1]
        for blocks in _posterior_blocks(tables, frames, pdf_ids):
            _add_blocks(self.em, blocks, blocks.extended)
            precisions = -2.0 * tables.coefficients[blocks.gaussians][:, :, dim:]
            weights = torch.bmm(blocks.posteriors, precisions)
            rows = blocks.extended[:, :, :dim]
            # Frames that only fill blocks, up to half of all, would weigh 0.
            self.raw += weighted_moments(weights[blocks.present], rows[blocks.present])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it, for :meth:`add_arrays`."""
        return {"raw": self.raw.cpu().numpy(), **self.em.to_arrays()}

    def add_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what :meth:`to_arrays` made of other frames; see :meth:`EmStatistics.add_arrays`."""
        self.raw += torch.from_numpy(arrays["raw"])
        self.em.add_arrays(arrays)

    def moments(self, gmms: DiagonalGmms) -> np.ndarray:
        """(D, D, D) float64; ``gmms`` are those of the accumulation."""
        dim = gmms.dim
        means = gmms.means.astype(np.float64)
        precisions = 1.0 / gmms.variances.astype(np.float64)
        sums = self.em.sums[:, :dim].cpu().numpy()
        occupancies = self.em.occupancies.cpu().numpy()
        # Σ γ (x − µ)(x − µ)ᵀ = Σ γ x xᵀ − (s µᵀ + µ sᵀ) + γ µ µᵀ with s = Σ γ x.
        half = means * (0.5 * occupancies)[:, None] - sums
        cross = np.einsum("gi,gj,gk->ijk", precisions, half, means, optimize=True)
        return self.raw.cpu().numpy() + cross + cross.transpose(0, 2, 1)


def _posterior_blocks(
    tables: GmmTables, frames: torch.Tensor, pdf_ids: np.ndarray
) -> Iterator[_Blocks]:
    order = np.argsort(pdf_ids, kind="stable")
    counts = np.bincount(pdf_ids, minlength=tables.gmms.num_pdfs)
    starts = np.cumsum(counts) - counts
    width = 2 * tables.gmms.dim
    for group, slots in enumerate(tables.slots):
        pdfs = np.flatnonzero((tables.group_of_pdf == group) & (counts > 0))
        blocks_of_pdf = -(-counts[pdfs] // BLOCK_FRAMES)
        pdf_of_block = np.repeat(pdfs, blocks_of_pdf)
        number = np.arange(len(pdf_of_block)) - np.repeat(
            np.cumsum(blocks_of_pdf) - blocks_of_pdf, blocks_of_pdf
        )
        step = max(1, MAX_BLOCK_ELEMENTS // (max(slots.shape[1], BLOCK_FRAMES) * width))
        for first in range(0, len(pdf_of_block), step):
            pdf = pdf_of_block[first : first + step]
            within = number[first : first + step, None] * BLOCK_FRAMES + np.arange(BLOCK_FRAMES)
            present = within < counts[pdf][:, None]
            rows = order[np.where(present, starts[pdf][:, None] + within, 0)]
            yield _evaluate(tables, frames, slots[tables.row_of_pdf[pdf]], rows, present)


def _evaluate(
    tables: GmmTables,
    frames: torch.Tensor,
    gaussians: np.ndarray,
    rows: np.ndarray,
    present: np.ndarray,
) -> _Blocks:
    """Posteriors of ``gaussians`` (B, K) on the frames ``rows`` (B, F) that are ``present``."""
    chosen = torch.from_numpy(gaussians).to(tables.device)
    mask = torch.from_numpy(present).to(tables.device)
    places = torch.from_numpy(rows).to(tables.device)
    extended = _extended(frames[places])
    scores = torch.baddbmm(
        tables.log_constants[chosen][:, None, :],
        extended,
        tables.coefficients[chosen].transpose(1, 2),
    )
    posteriors, best = relative_likelihoods(scores, dim=2)
    totals = posteriors.sum(dim=2, keepdim=True)
    posteriors *= mask[:, :, None] / totals
    log_likelihoods = (totals.log_() + best)[:, :, 0].masked_fill(~mask, 0.0)
    log_likelihood = float(log_likelihoods.sum(dtype=torch.float64))
    return _Blocks(places, mask, extended, chosen, posteriors, int(present.sum()), log_likelihood)


def _extended(values: torch.Tensor) -> torch.Tensor:
    """x and x² side by side."""
    return torch.cat([values, values * values], dim=-1)
