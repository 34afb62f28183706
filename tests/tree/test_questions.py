"""Questions found by clustering phones."""

from __future__ import annotations

from typing import Any

import numpy as np

from am.hmm.topology import Topology
from am.tree.context_tree import PDF_CLASS
from am.tree.questions import pdf_class_questions, phone_questions, pooled_by_group
from am.tree.statistics import TriphoneStatistics

FLOOR = 0.01


def statistics_of(mean_of_phone: dict[int, float], seed: int = 0) -> TriphoneStatistics:
    """100 frames of each phone about its mean, in one state."""
    random = np.random.default_rng(seed)
    statistics = TriphoneStatistics(2)
    for phone, mean in mean_of_phone.items():
        windows = np.array([[1], [phone], [1], [0]]).repeat(100, axis=1)
        statistics.add(mean + random.normal(size=(100, 2)), windows)
    return statistics


def test_near_phones_are_asked_about_together() -> None:
    """Phones 1, 2 and 5 lie near each other, 3 and 4 too, 6 far away."""
    statistics = statistics_of({1: 0.0, 2: 0.5, 5: 2.0, 3: 20.0, 4: 21.0, 6: 100.0})
    topology = Topology.uniform([1, 2, 3, 4, 5, 6], 1)
    groups = [[phone] for phone in range(1, 7)]
    found = phone_questions(statistics, groups, topology, [], FLOOR)
    assert found[:6] == [(1,), (2,), (3,), (4,), (5,), (6,)]
    assert set(found[6:]) == {
        (1, 2),
        (3, 4),
        (1, 2, 5),
        (1, 2, 3, 4, 5),
        (1, 2, 3, 4, 5, 6),
    }


def test_variants_stay_together_but_for_extra_questions() -> None:
    statistics = statistics_of({1: 0.0, 2: 5.0, 3: 30.0})
    topology = Topology.uniform([1, 2, 3, 4], 1)
    found = phone_questions(statistics, [[1, 2], [3], [4]], topology, [(2,), (3,), ()], FLOOR)
    # Phone 4 was never seen: no question has it, but where an extra one does.
    assert found == [(1, 2), (3,), (1, 2, 3), (2,)]


def test_the_middle_state_is_looked_at(language: Any, statistics: TriphoneStatistics) -> None:
    """Of silence's five states the third, of the others' three the second."""
    pooled = pooled_by_group(statistics, language.roots, language.topology)
    windows = statistics.windows
    for index, group in enumerate(language.roots):
        middle = 2 if group == (1,) else 1
        chosen = np.isin(windows[1], group) & (windows[PDF_CLASS] == middle)
        np.testing.assert_allclose(pooled[index], statistics.rows[chosen].sum(0))


def test_pdf_class_questions() -> None:
    assert pdf_class_questions(1) == []
    assert pdf_class_questions(4) == [(0,), (0, 1), (0, 1, 2)]
