"""What growing a tree refuses, and what may be left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from am.errors import InputError
from am.hmm.topology import Topology
from am.tree.grow import TreeSettings, grow_tree
from am.tree.statistics import TriphoneStatistics

SETTINGS = TreeSettings(num_leaves=20)


@pytest.mark.parametrize(
    ("roots", "silence", "named"),
    [
        ([[1], [2, 3], [4, 5], [6]], [1], "without a root: [7]"),
        ([[1], [2, 3], [4, 5], [6], [7, 8]], [1], "that no topology has: [8]"),
        ([[1], [2, 3], [3, 4, 5], [6], [7]], [1], "in two groups: [3]"),
        ([[1, 2], [3], [4, 5], [6], [7]], [1], "mixes silence and speech"),
    ],
)
def test_wrong_roots(
    language: Any,
    statistics: TriphoneStatistics,
    roots: list[list[int]],
    silence: list[int],
    named: str,
) -> None:
    with pytest.raises(InputError) as caught:
        grow_tree(statistics, language.topology, roots, silence, [], SETTINGS)
    assert named in str(caught.value)


def test_silence_may_be_left_out_of_the_roots(
    language: Any, statistics: TriphoneStatistics
) -> None:
    """A silence phone without a group gets a root of its own, after the others."""
    tree, report = grow_tree(statistics, language.topology, language.roots[1:], [1], [], SETTINGS)
    assert report.roots == 5
    assert sorted(tree.triphone_pdf_ids(0, 1, 0, 5)) == list(
        range(tree.num_pdfs - 5, tree.num_pdfs)
    )


def test_group_with_unlike_numbers_of_states(statistics: TriphoneStatistics) -> None:
    topology = Topology({1: 5, **dict.fromkeys(range(2, 8), 3), 3: 4})
    with pytest.raises(InputError, match="unlike numbers of states"):
        grow_tree(statistics, topology, [[1], [2, 3], [4, 5, 6, 7]], [1], [], SETTINGS)


def test_too_few_leaves_wanted(language: Any, statistics: TriphoneStatistics) -> None:
    with pytest.raises(InputError, match="num_leaves: 8 is fewer than the 9 leaves"):
        language.grow(statistics, num_leaves=8)


def test_statistics_that_do_not_fit(language: Any, single_state_language: Any) -> None:
    with pytest.raises(InputError, match="no frames"):
        language.grow(TriphoneStatistics(3))
    made = language.utterance(np.random.default_rng(0), 20)
    with pytest.raises(InputError, match="1 states in the topology"):
        single_state_language.grow(language.statistics([made]))


@pytest.mark.parametrize(
    "changes", [{"num_leaves": -1}, {"min_gain": -1.0}, {"variance_floor": 0.0}]
)
def test_wrong_settings(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        TreeSettings(**changes)
