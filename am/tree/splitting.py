"""The best question at a node, all questions looked at together.

Shapes: N triphone states at the node, V distinct values at one position of the window,
Q questions about that position, D feature dimensions.

The node's statistics are pooled by value, (V, 1 + 2 D); one matrix product with the questions'
membership, (Q, V), gives the statistics of every question's yes-side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from am.tree.clustering import log_likelihood
from am.tree.context_tree import CENTRE, LEFT, PDF_CLASS, RIGHT
from am.tree.questions import pdf_class_questions
from am.tree.statistics import TriphoneStatistics

# Gains that differ by less than this, relatively, count as equal: rounding depends on the order
# of sums, and must not choose the question.
EQUAL_GAIN = 1e-9


@dataclass(frozen=True)
class Split:
    """A question at a node and what it does there.

    Attributes:
        gain: log-likelihood won, natural log.
        position: of the window, that is asked about.
        members: (values,) bool, the set asked for.
        yes, no: indices of the triphone states that go either way, ascending.
    """

    gain: float
    position: int
    members: np.ndarray
    yes: np.ndarray
    no: np.ndarray


class Splitter:
    """Finds the best split of any set of triphone states.

    Args:
        statistics: of all triphone states.
        phone_sets: questions about each of the three phones.
        num_values: one more than the highest phone-id, or the number of pdf-classes if greater.
        num_classes: highest number of pdf-classes of a phone.
        variance_floor: see :func:`am.tree.clustering.log_likelihood`.
        min_count: frames that either side of a split must have at least.
    """

    def __init__(
        self,
        statistics: TriphoneStatistics,
        phone_sets: Sequence[Sequence[int]],
        num_values: int,
        num_classes: int,
        variance_floor: float,
        min_count: float,
    ):
        self.variance_floor = variance_floor
        self.min_count = min_count
        self._rows = statistics.rows
        self._windows = statistics.windows
        about_phones = _membership(phone_sets, num_values)
        about_class = _membership(pdf_class_questions(num_classes), num_values)
        self._questions = {
            LEFT: about_phones,
            CENTRE: about_phones,
            RIGHT: about_phones,
            PDF_CLASS: about_class,
        }

    @property
    def num_questions(self) -> int:
        """Over all positions."""
        return sum(len(questions) for questions in self._questions.values())

    def total(self, states: np.ndarray) -> np.ndarray:
        """(1 + 2 D,) pooled statistics of triphone states given by index."""
        return self._rows[states].sum(axis=0)

    def best(self, states: np.ndarray) -> Split | None:
        """The split with the highest gain, or None where no question parts the states.

        Args:
            states: (N,) indices of triphone states.

        Of equally good questions the first is taken, in the order left, centre, right,
        pdf-class, and then that of the questions.
        """
        rows = self._rows[states]
        total = rows.sum(axis=0)
        likelihood = float(log_likelihood(total, self.variance_floor))
        best_gain, best_position, best_question = 0.0, -1, -1
        for position in self._questions:
            gain, question = self._best_at(position, states, rows, total, likelihood)
            if gain > best_gain + EQUAL_GAIN * abs(likelihood):
                best_gain, best_position, best_question = gain, position, question
        if best_position < 0:
            return None
        members = self._questions[best_position][best_question] > 0
        answer = members[self._windows[best_position, states]]
        return Split(best_gain, best_position, members, states[answer], states[~answer])

    def _best_at(
        self,
        position: int,
        states: np.ndarray,
        rows: np.ndarray,
        total: np.ndarray,
        likelihood: float,
    ) -> tuple[float, int]:
        """Gain and index of the best question about one position; gain 0 where there is none."""
        questions = self._questions[position]
        present, pooled = _pool(self._windows[position, states], rows, questions.shape[1])
        if len(present) < 2 or len(questions) == 0:
            return 0.0, -1
        asked = questions[:, present]
        parts = np.flatnonzero((asked.min(axis=1) == 0) & (asked.max(axis=1) == 1))
        yes = asked[parts] @ pooled
        no = total - yes
        enough = np.minimum(yes[:, 0], no[:, 0]) >= self.min_count
        if not enough.any():
            return 0.0, -1
        if not enough.all():
            parts, yes, no = parts[enough], yes[enough], no[enough]
        gains = log_likelihood(yes, self.variance_floor) - likelihood
        gains += log_likelihood(no, self.variance_floor)
        best = int(np.flatnonzero(gains >= gains.max() - EQUAL_GAIN * abs(likelihood))[0])
        return float(gains[best]), int(parts[best])


def _membership(sets: Sequence[Sequence[int]], num_values: int) -> np.ndarray:
    """(Q, num_values) float64: 1 where the value is in the set."""
    members = np.zeros((len(sets), num_values))
    for index, values in enumerate(sets):
        members[index, list(values)] = 1.0
    return members


def _pool(values: np.ndarray, rows: np.ndarray, num_values: int) -> tuple[np.ndarray, np.ndarray]:
    """The V distinct values, ascending, and the sums of their rows, (V, 1 + 2 D)."""
    present = np.flatnonzero(np.bincount(values, minlength=num_values))
    place = np.zeros(num_values, dtype=np.int64)
    place[present] = np.arange(len(present))
    pooled = torch.zeros((len(present), rows.shape[1]), dtype=torch.float64)
    pooled.index_add_(0, torch.from_numpy(place[values]), torch.from_numpy(rows))
    return present, pooled.numpy()
