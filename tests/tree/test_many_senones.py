"""Senones by the thousand: their exact number, and the leaf of every triphone of a large phone set.

Phone 1 is silence; the others are base phones of four variants (position in the word).
"""

from __future__ import annotations

import numpy as np
import pytest

from am.hmm.topology import Topology
from am.tree.context_tree import ContextTree
from am.tree.grow import TreeReport, TreeSettings, grow_tree
from am.tree.statistics import TriphoneStatistics

NUM_BASE, VARIANTS, DIM = 40, 4, 4
NUM_PHONES = 1 + NUM_BASE * VARIANTS
GROUPS = [[1], *([*range(2 + VARIANTS * i, 2 + VARIANTS * (i + 1))] for i in range(NUM_BASE))]
QUESTIONS = [list(range(2 + variant, NUM_PHONES + 1, VARIANTS)) for variant in range(VARIANTS)]


def grow(num_states: int, num_leaves: int, seen: int) -> tuple[ContextTree, TreeReport]:
    """A tree on made-up statistics of ``seen`` triphone states; neighbours move the means."""
    random = np.random.default_rng(num_states)
    windows = random.integers(1, NUM_PHONES + 1, (4, seen))
    windows[3] = random.integers(0, num_states, seen)
    windows = np.unique(windows, axis=1)
    means = np.zeros((windows.shape[1], DIM))
    for position, scale in enumerate((2.0, 5.0, 2.0, 3.0)):
        means += scale * random.normal(size=(NUM_PHONES + 1, DIM))[windows[position]]
        pair = random.normal(size=(NUM_PHONES + 1, NUM_PHONES + 1, DIM))
        means += pair[windows[position], windows[1]]
    count = random.integers(1, 40, windows.shape[1])[:, None].astype(float)
    rows = np.concatenate([count, count * means, count * (means**2 + 1.0)], axis=1)
    statistics = TriphoneStatistics(DIM)
    statistics.add_sums(windows, rows)
    topology = Topology.uniform(list(range(1, NUM_PHONES + 1)), num_states)
    settings = TreeSettings(num_leaves=num_leaves, min_gain=0.0)
    return grow_tree(statistics, topology, GROUPS, [1], QUESTIONS, settings)


@pytest.mark.parametrize("num_states", [1, 3])
def test_exactly_as_many_senones_as_in_the_paper(num_states: int) -> None:
    tree, report = grow(num_states, 3183, seen=12_000)
    assert report.leaves == tree.num_pdfs == 3183
    assert report.leaves_before_merging > 3183
    assert report.why_fewer == ""
    topology = Topology.uniform(list(range(1, NUM_PHONES + 1)), num_states)
    reachable = {pdf_id for _, _, pdf_id in tree.possible_triples(topology)}
    assert reachable == set(range(3183))


def slow_walk(tree: ContextTree, window: tuple[int, ...]) -> int:
    """One triphone state, one question at a time."""
    node = int(tree.roots[window[1]])
    while tree.position[node] >= 0:
        answer = tree.members[node, window[tree.position[node]]]
        node = int(tree.yes[node] if answer else tree.no[node])
    return int(tree.pdf_id[node])


@pytest.mark.parametrize("num_states", [1, 3])
def test_every_triphone_has_a_leaf(num_states: int) -> None:
    """All 161 × 162 × 162 of them, in each state; 3,000 also walked by hand."""
    tree, _ = grow(num_states, 600, seen=4_000)
    everyone = np.arange(NUM_PHONES + 1)
    left, right = (axis.ravel() for axis in np.meshgrid(everyone, everyone, indexing="ij"))
    random = np.random.default_rng(0)
    used = np.zeros(tree.num_pdfs, dtype=bool)
    for centre in range(1, NUM_PHONES + 1):
        for state in range(num_states):
            table = tree.pdf_id_table(centre, state)
            assert table.shape == (NUM_PHONES + 1, NUM_PHONES + 1)
            assert 0 <= table.min() <= table.max() < tree.num_pdfs
            used[table] = True
            if centre % 8 == 1:
                walked = tree.pdf_ids(left, np.array(centre), right, np.array(state))
                assert np.array_equal(walked, table.ravel())
            for _ in range(3000 // (NUM_PHONES * num_states) + 1):
                before, after = random.integers(0, NUM_PHONES + 1, 2).tolist()
                expected = slow_walk(tree, (before, centre, after, state))
                assert table[before, after] == expected
    assert used.all()
