"""Likelihoods of diagonal GMMs against scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gmm_cases import direct_log_likelihoods, random_gmms

from am.errors import InputError
from am.gmm.model import GMM_NAME, DiagonalGmms, GmmTables, padded_size

CPU = torch.device("cpu")


@pytest.mark.parametrize("counts", [[1], [1, 1, 1], [3, 1, 7, 2, 20, 1, 5]])
def test_log_likelihoods(counts: list[int]) -> None:
    generator = np.random.default_rng(len(counts))
    gmms = random_gmms(generator, counts, dim=6)
    frames = generator.normal(0, 3, (50, 6)).astype(np.float32)
    expected = direct_log_likelihoods(gmms, frames)
    tables = GmmTables(gmms, CPU)
    pdf_ids = generator.permutation(len(counts))
    found = tables.log_likelihoods(torch.from_numpy(frames), pdf_ids).numpy()
    np.testing.assert_allclose(found, expected[:, pdf_ids], rtol=2e-5, atol=2e-3)
    subset = pdf_ids[: 1 + len(pdf_ids) // 2]
    found = tables.log_likelihoods(torch.from_numpy(frames), subset).numpy()
    np.testing.assert_allclose(found, expected[:, subset], rtol=2e-5, atol=2e-3)


def test_far_frames_stay_finite() -> None:
    gmms = random_gmms(np.random.default_rng(0), [4, 2], dim=3)
    frames = torch.full((2, 3), 1e3)
    assert torch.isfinite(GmmTables(gmms, CPU).log_likelihoods(frames, np.arange(2))).all()


def test_padded_sizes_waste_at_most_half() -> None:
    sizes = [padded_size(count) for count in range(1, 65)]
    assert all(count <= size <= max(count * 1.5, 1) for count, size in enumerate(sizes, 1))
    assert sorted(set(sizes)) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]


def test_saved_and_loaded(tmp_path: Path) -> None:
    gmms = random_gmms(np.random.default_rng(1), [2, 3], dim=4)
    gmms.save(tmp_path)
    again = DiagonalGmms.load(tmp_path)
    for name in ("offsets", "weights", "means", "variances"):
        assert np.array_equal(getattr(again, name), getattr(gmms, name))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=GMM_NAME):
        DiagonalGmms.load(tmp_path)
    (tmp_path / GMM_NAME).write_bytes(b"no safetensors")
    with pytest.raises(InputError, match="not readable"):
        DiagonalGmms.load(tmp_path)
