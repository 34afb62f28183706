"""Lattices on a grid of scales against the enumeration of every path."""

from types import SimpleNamespace

import kaldifst
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from am.decoding.decoder import Scales
from am.decoding.lattices import (
    LatticeArrays,
    LatticeMaker,
    LatticeSettings,
    lattice_to_arrays,
    side_by_side,
)
from am.decoding.rescoring import best_words

GRID = [Scales(scale, penalty) for scale in (0.2, 0.6, 1.5) for penalty in (-1.0, 0.0, 2.0)]


def random_lattice(seed: int) -> LatticeArrays:
    """An acyclic lattice of a few states, numbered out of topological order."""
    generator = np.random.default_rng(seed)
    num_states = int(generator.integers(2, 7))
    arcs = [(state, state + 1) for state in range(num_states - 1)]
    for _ in range(int(generator.integers(0, 10))):
        source = int(generator.integers(0, num_states - 1))
        arcs.append((source, int(generator.integers(source + 1, num_states))))
    names = generator.permutation(num_states)
    ends = np.array(arcs)[generator.permutation(len(arcs))]
    final = np.where(generator.random(num_states) < 0.3, generator.random(num_states), np.inf)
    final[-1] = generator.random()
    final_cost = np.empty(num_states, dtype=np.float32)
    final_cost[names] = final
    return LatticeArrays(
        starts=names[:1].astype(np.int64),
        source=names[ends[:, 0]].astype(np.int64),
        target=names[ends[:, 1]].astype(np.int64),
        word=generator.integers(0, 4, len(ends)).astype(np.int32),
        graph_cost=generator.random(len(ends)).astype(np.float32) * 4,
        acoustic_cost=generator.random(len(ends)).astype(np.float32) * 10,
        final_cost=final_cost,
    )


def enumerate_paths(lattice: LatticeArrays) -> list[tuple[tuple[int, ...], float, float]]:
    """Words, graph cost and acoustic cost of every path from start to a final state."""
    paths = []
    stack: list[tuple[int, tuple[int, ...], float, float]] = [(int(lattice.starts[0]), (), 0.0, 0.0)]
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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=4))
def test_cheapest_path_of_each_lattice(seeds: list[int]) -> None:
    lattices = [random_lattice(seed) for seed in seeds]
    for lattice, of_lattice in zip(lattices, best_words(lattices, GRID), strict=True):
        paths = enumerate_paths(lattice)
        for scales, found in zip(GRID, of_lattice, strict=True):
            costs = [
                graph
                + scales.acoustic_scale * acoustic
                + scales.word_insertion_penalty * len(words)
                for words, graph, acoustic in paths
            ]
            of_found = [c for c, (words, *_) in zip(costs, paths, strict=True) if words == found]
            assert min(of_found) == pytest.approx(min(costs), abs=1e-5)


def test_no_lattices() -> None:
    assert best_words([], GRID) == []


def test_side_by_side_shares_no_state() -> None:
    union = side_by_side([random_lattice(1), random_lattice(2)])
    assert union.num_states == random_lattice(1).num_states + random_lattice(2).num_states
    first = random_lattice(1).num_states
    inside = union.source < first
    assert (union.target[inside] < first).all() and (union.target[~inside] >= first).all()


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
    np.testing.assert_array_equal(arrays.graph_cost, np.float32([0.25, 0.5, 0.75]))
    np.testing.assert_array_equal(arrays.acoustic_cost, np.float32([1.5, 2.5, 3.5]))
    np.testing.assert_array_equal(arrays.final_cost, np.float32([np.inf, np.inf, 0.125]))


def test_empty_lattice() -> None:
    assert lattice_to_arrays(kaldifst.Lattice()) is None


def test_lattices_hold_the_best_path_of_every_scale(small: SimpleNamespace) -> None:
    fst = small.loop_graph()
    maker = LatticeMaker(fst, 0.6, LatticeSettings(beam=200.0, lattice_beam=100.0))
    generator = np.random.default_rng(3)
    paths = list(small.all_paths(fst, 5))
    matrices = [generator.normal(0, 2, (5, 2)).astype(np.float32) for _ in range(8)]
    lattices = [maker.make(scores) for scores in matrices]
    assert all(lattice is not None for lattice in lattices)
    found = best_words([lattice for lattice in lattices if lattice is not None], GRID)
    for scores, of_lattice in zip(matrices, found, strict=True):
        for scales, words in zip(GRID, of_lattice, strict=True):
            costs = [
                small.cost_of(path, scores, scales.acoustic_scale, scales.word_insertion_penalty)
                for path in paths
            ]
            assert words == paths[int(np.argmin(costs))].words


def test_no_path_no_lattice(small: SimpleNamespace) -> None:
    maker = LatticeMaker(small.loop_graph(), 1.0, LatticeSettings())
    assert maker.make(np.zeros((0, 2), dtype=np.float32)) is None
