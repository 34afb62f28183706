"""The best split against brute force over all questions, on raw frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from am.tree.context_tree import CENTRE, LEFT, PDF_CLASS, RIGHT
from am.tree.questions import pdf_class_questions
from am.tree.splitting import Splitter
from am.tree.statistics import TriphoneStatistics

FLOOR = 0.01
PHONE_SETS = [(1,), (2, 3), (4, 5), (6,), (2, 4), (1, 6, 7), (2, 3, 4, 5)]


def direct(frames: np.ndarray) -> float:
    deviation = np.sqrt(np.maximum(frames.var(0), FLOOR))
    return float(norm.logpdf(frames, frames.mean(0), deviation).sum())


def brute_force(
    states: np.ndarray, frames: np.ndarray, min_count: int
) -> list[tuple[float, int, tuple[int, ...]]]:
    """Gain of every question that parts the frames; ``states`` are (frames, 4)."""
    before = direct(frames)
    questions = [(p, s) for p in (LEFT, CENTRE, RIGHT) for s in PHONE_SETS]
    questions += [(PDF_CLASS, s) for s in pdf_class_questions(5)]
    found = []
    for position, members in questions:
        yes = np.isin(states[:, position], members)
        if min(yes.sum(), (~yes).sum()) >= max(min_count, 1):
            gain = direct(frames[yes]) + direct(frames[~yes]) - before
            found.append((gain, position, members))
    return found


def splitter_of(statistics: TriphoneStatistics, min_count: float = 0.0) -> Splitter:
    return Splitter(statistics, PHONE_SETS, 8, 5, FLOOR, min_count)


@pytest.mark.parametrize("centre", [(2, 3), (4, 5), (6,), (7,), (2, 3, 4, 5, 6, 7)])
@pytest.mark.parametrize("min_count", [0, 60])
def test_best_split_is_that_of_brute_force(
    utterances: list[Any], statistics: TriphoneStatistics, centre: tuple[int, ...], min_count: int
) -> None:
    states = np.array([state for made in utterances for state in made.states()])
    frames = np.concatenate([made.frames for made in utterances])
    here = np.isin(states[:, CENTRE], centre)
    expected = brute_force(states[here], frames[here], min_count)
    rows = np.flatnonzero(np.isin(statistics.windows[CENTRE], centre))
    split = splitter_of(statistics, min_count).best(rows)
    gain, position, members = max(expected, key=lambda found: found[0])
    assert split is not None
    assert split.gain == pytest.approx(gain, rel=1e-6)
    assert (split.position, tuple(np.flatnonzero(split.members))) == (position, members)
    answer = np.isin(statistics.windows[position, rows], members)
    np.testing.assert_array_equal(split.yes, rows[answer])
    np.testing.assert_array_equal(split.no, rows[~answer])


def test_equal_questions_go_by_their_order() -> None:
    """Left and right neighbour tell the same; so do two sets that part the seen phones alike."""
    statistics = TriphoneStatistics(1)
    frames = np.random.default_rng(0).normal(size=(50, 1))
    for phone, mean in ((2, 0.0), (4, 10.0)):
        windows = np.array([[phone], [6], [phone], [0]]).repeat(50, axis=1)
        statistics.add(mean + frames, windows)
    split = splitter_of(statistics).best(np.arange(len(statistics)))
    assert split is not None
    assert (split.position, tuple(np.flatnonzero(split.members))) == (LEFT, (2, 3))


def test_nothing_to_ask(statistics: TriphoneStatistics) -> None:
    splitter = splitter_of(statistics)
    assert splitter.best(np.arange(1)) is None
    assert splitter.best(np.arange(0)) is None
    assert splitter_of(statistics, 1e9).best(np.arange(len(statistics))) is None
    assert splitter.num_questions == 3 * len(PHONE_SETS) + 4
