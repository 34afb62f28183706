"""Lattices in order: the same paths as the raw ones, and stored records that give them back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pytest
from lattice_cases import paths, random_lattice, random_raw_lattice, raw_paths

from am.decoding.lattices import LatticeArrays
from am.sequence.lattice import EPSILON_PDF, DenominatorLattice, denominator_lattice


def summed(all_paths: Iterable[tuple[tuple[int, ...], float]]) -> dict[tuple[int, ...], float]:
    """Probability mass of each string of pdf-ids."""
    mass: dict[tuple[int, ...], float] = defaultdict(float)
    for pdf_ids, score in all_paths:
        mass[pdf_ids] += np.exp(score)
    return mass


@pytest.mark.parametrize("seed", range(8))
def test_has_the_raw_lattice_s_paths(seed: int) -> None:
    raw = random_raw_lattice(np.random.default_rng(seed), 4, 3)
    lattice = denominator_lattice(raw)
    assert lattice is not None
    expected, found = summed(raw_paths(raw)), summed(paths(lattice))
    assert found.keys() == expected.keys()
    for pdf_ids, mass in expected.items():
        assert found[pdf_ids] == pytest.approx(mass, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_is_in_the_order_that_it_promises(seed: int) -> None:
    lattice = random_lattice(np.random.default_rng(seed), 6, 5, width=4)
    emits = lattice.pdf_id != EPSILON_PDF
    frames, depths = lattice.state_frames, lattice.state_depths
    assert (lattice.source < lattice.target).all()
    assert (np.diff(lattice.target) >= 0).all()
    assert set(lattice.target) == set(range(1, lattice.num_states))
    assert (frames[lattice.target] - frames[lattice.source] == emits).all()
    assert (depths[lattice.target] > depths[lattice.source])[~emits].all()
    assert (np.diff(frames) >= 0).all()
    assert lattice.num_frames == 6
    triples = np.stack([lattice.source, lattice.target, lattice.pdf_id])
    assert np.unique(triples, axis=1).shape == triples.shape


def test_record_gives_the_lattice_back() -> None:
    lattice = random_lattice(np.random.default_rng(0), 20, 3000, width=6)
    record = lattice.to_record()
    assert sum(array.nbytes for array in record.values()) == 7 * lattice.num_arcs
    back = DenominatorLattice.from_record(record)
    for name in ("source", "target", "pdf_id"):
        np.testing.assert_array_equal(getattr(back, name), getattr(lattice, name))
    np.testing.assert_allclose(back.graph_score, lattice.graph_score, rtol=1e-3)
    np.testing.assert_array_equal(back.state_frames, lattice.state_frames)


def test_record_of_a_wide_lattice_uses_wider_integers() -> None:
    source = np.array([0, 0, 1], dtype=np.int64)
    lattice = DenominatorLattice(
        source, source + 1 + np.array([0, 1, 1]), source + 70000, np.zeros(3, dtype=np.float32)
    )
    back = DenominatorLattice.from_record(lattice.to_record())
    np.testing.assert_array_equal(back.pdf_id, lattice.pdf_id)


def raw_lattice(arcs: list[tuple[int, int, int]], finals: list[int], states: int) -> LatticeArrays:
    source, target, label = np.array(arcs, dtype=np.int64).reshape(-1, 3).T
    final_cost = np.full(states, np.inf, dtype=np.float32)
    final_cost[finals] = 0.0
    costs = np.zeros(len(arcs), dtype=np.float32)
    return LatticeArrays(
        np.array([0]), source, target, label.astype(np.int32), costs, costs, final_cost
    )


def test_no_path_to_a_final_state() -> None:
    assert denominator_lattice(raw_lattice([(0, 1, 1)], [], 2)) is None
    assert denominator_lattice(raw_lattice([(0, 1, 1), (2, 3, 1)], [3], 4)) is None


@pytest.mark.parametrize(
    "arcs",
    [
        [(0, 1, 1), (1, 2, 1), (0, 2, 1)],  # one frame or two
        [(0, 1, 1), (1, 2, 0), (2, 1, 0), (2, 3, 1)],  # a cycle of epsilons
        [(0, 1, 1), (1, 0, 1), (1, 2, 1)],  # a cycle through the start
    ],
)
def test_what_is_no_frame_synchronous_lattice_is_refused(arcs: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError, match="lattice"):
        denominator_lattice(raw_lattice(arcs, [max(arc[1] for arc in arcs)], 4))
