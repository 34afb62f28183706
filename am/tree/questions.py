"""Questions about a phone: classes found by clustering the phones, and those of the lang folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from am.hmm.topology import Topology
from am.tree.clustering import bottom_up_merges
from am.tree.context_tree import CENTRE, PDF_CLASS
from am.tree.statistics import TriphoneStatistics


def phone_questions(
    statistics: TriphoneStatistics,
    groups: Sequence[Sequence[int]],
    topology: Topology,
    extra_questions: Iterable[Sequence[int]],
    variance_floor: float,
) -> list[tuple[int, ...]]:
    """The sets of phones that may be asked about.

    The groups (base phones) that were seen are clustered bottom-up by the likelihood of their
    middle state, as Kaldi's ``cluster-phones`` looks at the middle pdf-class; every cluster on
    the way from single groups to all phones is a question.  The phones of a group are told
    apart by ``extra_questions`` alone.

    Returns:
        Distinct non-empty sets, each ascending, in a fixed order: single groups, clusters in the
        order of their merging, extra questions.
    """
    rows = pooled_by_group(statistics, groups, topology)
    seen = np.flatnonzero(rows[:, 0] > 0).tolist()
    clusters = {place: set(groups[group]) for place, group in enumerate(seen)}
    found = [tuple(sorted(cluster)) for cluster in clusters.values()]
    for merge in bottom_up_merges(rows[seen], variance_floor):
        clusters[merge.kept] |= clusters.pop(merge.absorbed)
        found.append(tuple(sorted(clusters[merge.kept])))
    found += [tuple(sorted(set(question))) for question in extra_questions]
    return [question for question in dict.fromkeys(found) if question]


def pooled_by_group(
    statistics: TriphoneStatistics, groups: Sequence[Sequence[int]], topology: Topology
) -> np.ndarray:
    """(groups, 1 + 2 D) statistics of each group's middle state (of 3, the second)."""
    num_phones = max(topology.states_of_phone) + 1
    group_of_phone = np.full(num_phones, -1)
    middle = np.full(num_phones, -1)
    for index, group in enumerate(groups):
        group_of_phone[list(group)] = index
        middle[list(group)] = [topology.num_states(phone) // 2 for phone in group]
    windows = statistics.windows
    wanted = windows[PDF_CLASS] == middle[windows[CENTRE]]
    pooled = np.zeros((len(groups), 1 + 2 * statistics.dim))
    np.add.at(pooled, group_of_phone[windows[CENTRE, wanted]], statistics.rows[wanted])
    return pooled


def pdf_class_questions(num_classes: int) -> list[tuple[int, ...]]:
    """Whether the pdf-class is below 1, 2, …, ``num_classes − 1``."""
    return [tuple(range(end)) for end in range(1, num_classes)]
