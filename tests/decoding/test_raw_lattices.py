"""Raw lattices against kaldifst and the enumeration of every path."""

from types import SimpleNamespace

import kaldifst
import numpy as np
import pytest

from am.decoding.lattices import LatticeArrays, LatticeMaker, LatticeSettings, lattice_to_arrays


def paths_of(lattice: LatticeArrays) -> list[tuple[tuple[int, ...], float, float]]:
    """Words, graph cost and acoustic cost of every path from start to a final state."""
    paths = []
    stack: list[tuple[int, tuple[int, ...], float, float]] = [
        (int(lattice.starts[0]), (), 0.0, 0.0)
    ]
    while stack:
        state, words, graph, acoustic = stack.pop()
        if np.isfinite(lattice.final_cost[state]):
            paths.append((words, graph + float(lattice.final_cost[state]), acoustic))
        for arc in np.flatnonzero(lattice.source == state):
            word = int(lattice.word[arc])
            stack.append(
                (
                    int(lattice.target[arc]),
                    words + ((word,) if word else ()),
                    graph + float(lattice.graph_cost[arc]),
                    acoustic + float(lattice.acoustic_cost[arc]),
                )
            )
    return paths


def test_lattice_of_kaldifst_keeps_every_arc() -> None:
    lattice = kaldifst.Lattice()
    for _ in range(3):
        lattice.add_state()
    lattice.start = 0
    arcs = [(0, 5, 7, 0.25, 1.5, 1), (0, 6, 0, 0.5, 2.5, 2), (1, 4, 9, 0.75, 3.5, 2)]
    for source, ilabel, olabel, graph, acoustic, target in arcs:
        weight = kaldifst.LatticeWeight(graph_cost=graph, acoustic_cost=acoustic)
        lattice.add_arc(source, kaldifst.LatticeArc(ilabel, olabel, weight, target))
    lattice.set_final(2, kaldifst.LatticeWeight(graph_cost=0.125, acoustic_cost=0.0))
    arrays = lattice_to_arrays(lattice)
    assert arrays is not None
    np.testing.assert_array_equal(arrays.source, [0, 0, 1])
    np.testing.assert_array_equal(arrays.target, [1, 2, 2])
    np.testing.assert_array_equal(arrays.word, [7, 0, 9])
    np.testing.assert_array_equal(arrays.graph_cost, [0.25, 0.5, 0.75])
    np.testing.assert_array_equal(arrays.acoustic_cost, [1.5, 2.5, 3.5])
    np.testing.assert_array_equal(arrays.final_cost, [np.inf, np.inf, 0.125])


def test_empty_lattice() -> None:
    assert lattice_to_arrays(kaldifst.Lattice()) is None


def test_lattices_hold_every_path_and_its_two_costs(small: SimpleNamespace) -> None:
    fst = small.loop_graph()
    maker = LatticeMaker(fst, 0.6, LatticeSettings(beam=200.0, lattice_beam=100.0))
    generator = np.random.default_rng(3)
    expected = list(small.all_paths(fst, 4))
    for _ in range(8):
        scores = generator.normal(0, 2, (4, 2)).astype(np.float32)
        lattice = maker.make(scores)
        assert lattice is not None
        known = [
            (path.words, path.graph_cost, small.cost_of(path, scores, 1.0, 0.0) - path.graph_cost)
            for path in expected
        ]
        found = paths_of(lattice)
        assert len(found) == len(known)
        for one, other in zip(sorted(found), sorted(known), strict=True):
            assert one[0] == other[0]
            assert one[1:] == pytest.approx(other[1:], abs=1e-4)


def test_no_path_no_lattice(small: SimpleNamespace) -> None:
    maker = LatticeMaker(small.loop_graph(), 1.0, LatticeSettings())
    assert maker.make(np.zeros((0, 2), dtype=np.float32)) is None


def test_unfinished_paths_make_a_lattice() -> None:
    fst = kaldifst.StdVectorFst()
    for _ in range(4):
        fst.add_state()
    fst.start = 0
    for state in range(3):  # exactly three frames are final
        fst.add_arc(state, kaldifst.StdArc(1, state + 1, 0.5, state + 1))
    fst.set_final(3, 0.25)
    maker = LatticeMaker(fst, 1.0, LatticeSettings())
    for num_frames, cost in ((2, 1.0), (3, 1.75)):
        lattice = maker.make(np.zeros((num_frames, 1), dtype=np.float32))
        assert lattice is not None
        assert paths_of(lattice) == [(tuple(range(1, num_frames + 1)), cost, 0.0)]
    assert maker.make(np.zeros((4, 1), dtype=np.float32)) is None
