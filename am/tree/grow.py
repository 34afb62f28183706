"""Growing a context tree: best-first splitting, then merging of leaves that are much alike.

After Kaldi's ``build-tree`` with shared roots that may split: every base phone has one root for
all its variants and states, so its leaves may ask about the neighbours, the variant of the phone
itself and the pdf-class.  A silence phone has a leaf for each pdf-class, whatever its context; a
base phone that was never seen shares another's root (:mod:`am.tree.unseen`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from am.errors import InputError
from am.hmm.topology import Topology
from am.threads import unsplit_operations
from am.tree.clustering import Merge
from am.tree.context_tree import CENTRE, PDF_CLASS, ContextTree
from am.tree.forest import Forest
from am.tree.questions import phone_questions
from am.tree.splitting import Splitter
from am.tree.statistics import TriphoneStatistics
from am.tree.unseen import UnseenPhones, share_roots_of_seen


@dataclass(frozen=True)
class TreeSettings:
    """When a tree is large enough.

    Attributes:
        num_leaves: senones wanted, those of silence included; 0 for no limit.
        min_gain: log-likelihood (natural) that a split must win.
        cluster_threshold: leaves of a root are merged while that loses less log-likelihood than
            this; None for the smallest gain of a split (as a rule the last split's), as Kaldi's
            ``--cluster-thresh=-1``; 0 for no merging.
        exact: splitting goes on until ``num_leaves`` are left after merging, and merging stops
            there; if ``min_gain`` ends the splitting before, as if this were false.
        min_count: frames that each leaf made by a split must have at least.
        variance_floor: of each dimension, in squared units of the features.
    """

    num_leaves: int = 2000
    min_gain: float = 300.0
    cluster_threshold: float | None = None
    exact: bool = True
    min_count: float = 0.0
    variance_floor: float = 0.01

    def __post_init__(self) -> None:
        if self.num_leaves < 0 or self.min_gain < 0 or self.min_count < 0:
            raise ValueError("num_leaves, min_gain and min_count must not be below 0")
        if self.variance_floor <= 0:
            raise ValueError(f"variance_floor must be above 0, not {self.variance_floor}")


@dataclass(frozen=True)
class TreeReport:
    """How a tree came about.

    Attributes:
        frames: in the statistics.
        triphone_states: seen ones.
        questions: offered at each node.
        roots: base phones and silence phones that have one of their own.
        leaves_before_merging, leaves: the latter is the number of senones.
        split_gains: log-likelihood won by each split, in the order they were made.
        merge_cost: log-likelihood lost by merging.
        log_likelihood_at_roots: per frame, one Gaussian a root (a pdf-class for silence).
        log_likelihood: per frame, one Gaussian a leaf.
        unseen: phones without a frame.
        leaves_wanted: ``num_leaves`` of the settings, 0 for no limit.
        why_fewer: why ``leaves`` are fewer than wanted; empty if they are not.
    """

    frames: float
    triphone_states: int
    questions: int
    roots: int
    leaves_before_merging: int
    leaves: int
    split_gains: tuple[float, ...]
    merge_cost: float
    log_likelihood_at_roots: float
    log_likelihood: float
    unseen: UnseenPhones = field(default_factory=UnseenPhones)
    leaves_wanted: int = 0
    why_fewer: str = ""

    def summary(self) -> str:
        """One line for a log."""
        last = f", last split won {self.split_gains[-1]:.1f}" if self.split_gains else ""
        if self.why_fewer:
            last += f"; fewer than the {self.leaves_wanted} of num_leaves: {self.why_fewer}"
        return (
            f"{self.leaves} leaves ({self.leaves_before_merging} before merging) from "
            f"{self.roots} roots, {self.triphone_states} seen triphone states and "
            f"{self.frames:.0f} frames; log-likelihood a frame "
            f"{self.log_likelihood_at_roots:.3f} to {self.log_likelihood:.3f}{last}"
        )


@unsplit_operations()
def grow_tree(
    statistics: TriphoneStatistics,
    topology: Topology,
    roots: Sequence[Sequence[int]],
    silence_phones: Iterable[int],
    extra_questions: Iterable[Sequence[int]],
    settings: TreeSettings,
) -> tuple[ContextTree, TreeReport]:
    """Grow a tree on statistics.

    Args:
        statistics: of the triphone states that were seen.
        topology: of all phones; every triphone of them gets a leaf, seen or not.
        roots: groups of phone-ids that share a root; silence phones may stand among them, in
            groups of their own, or be left out and then have a root each.
        silence_phones: phones that are modelled without context.
        extra_questions: sets of phone-ids to ask about besides those found by clustering.
        settings: when to stop.

    Returns:
        The tree, its pdf-ids numbered depth first, yes before no, root after root; and how it
        came about.  Statistics of little speech may give fewer leaves than wanted: the report
        says why.

    Raises:
        InputError: the roots do not cover the topology's phones, or are more than the leaves
            that are wanted, or the statistics are empty or of other phones.
    """
    silence = frozenset(silence_phones)
    groups = _root_groups(topology, roots, silence)
    _check_statistics(statistics, topology)
    groups, unseen = share_roots_of_seen(statistics, groups, topology, silence)
    num_classes = max(topology.states_of_phone.values())
    num_values = max(max(topology.states_of_phone) + 1, num_classes)
    phone_sets = phone_questions(
        statistics, groups, topology, extra_questions, settings.variance_floor
    )
    splitter = Splitter(
        statistics,
        phone_sets,
        num_values,
        num_classes,
        settings.variance_floor,
        settings.min_count,
    )
    forest = Forest(splitter, statistics.windows, topology, groups, silence, num_values)
    fewest = forest.num_leaves
    if settings.num_leaves and fewest > settings.num_leaves:
        raise InputError(
            f"num_leaves: {settings.num_leaves} is fewer than the {fewest} leaves that the "
            "phones have without any split; ask for more"
        )
    merges = _split_and_merge(forest, settings)
    forest.apply(merges)
    frames = float(statistics.count.sum())
    before = forest.log_likelihood_at_roots
    merge_cost = sum(merge.cost for _, merge in merges)
    leaves = forest.num_leaves - len(merges)
    return forest.tree(), TreeReport(
        frames=frames,
        triphone_states=len(statistics),
        questions=splitter.num_questions,
        roots=len(groups),
        leaves_before_merging=forest.num_leaves,
        leaves=leaves,
        split_gains=tuple(forest.split_gains),
        merge_cost=merge_cost,
        log_likelihood_at_roots=before / frames,
        log_likelihood=(before + sum(forest.split_gains) - merge_cost) / frames,
        unseen=unseen,
        leaves_wanted=settings.num_leaves,
        why_fewer=_why_fewer(forest, leaves, settings),
    )


def _why_fewer(forest: Forest, leaves: int, settings: TreeSettings) -> str:
    """Why ``leaves`` came out and not ``num_leaves``; empty if they did."""
    if leaves >= settings.num_leaves:
        return ""
    reasons = []
    if forest.num_leaves < settings.num_leaves:
        gain = forest.best_gain
        if gain is not None:
            reasons.append(
                f"the best split left wins {gain:.1f}, below the {settings.min_gain:g} of min_gain"
            )
        else:
            enough = f" with {settings.min_count:g} frames each (min_count)"
            reasons.append(
                "no question parts the triphone states of any leaf in two"
                + (enough if settings.min_count else "")
            )
    if forest.num_leaves > leaves:
        reasons.append(f"{forest.num_leaves - leaves} leaves were merged with others like them")
    return "; ".join(reasons)


def _split_and_merge(forest: Forest, settings: TreeSettings) -> list[tuple[int, Merge]]:
    """Split as the settings say, and return the merges to be done, in order, with their roots."""
    wanted = settings.num_leaves or math.inf
    forest.split_until(wanted, settings.min_gain)
    while True:
        merges = forest.cheapest_merges()
        below = _cheaper_than(_merge_threshold(forest, settings), merges)
        lacking = wanted - (forest.num_leaves - len(below))
        if not settings.exact or forest.num_leaves < wanted:
            return below
        before = forest.num_leaves
        if lacking > 0:
            forest.split_until(before + lacking, settings.min_gain)
        if forest.num_leaves == before:
            return merges[: before - settings.num_leaves]


def _merge_threshold(forest: Forest, settings: TreeSettings) -> float:
    if settings.cluster_threshold is not None:
        return settings.cluster_threshold
    return min(forest.split_gains, default=0.0)


def _cheaper_than(threshold: float, merges: list[tuple[int, Merge]]) -> list[tuple[int, Merge]]:
    """The first merges, up to the one that costs ``threshold``."""
    return list(itertools.takewhile(lambda pair: pair[1].cost < threshold, merges))


def _root_groups(
    topology: Topology, roots: Sequence[Sequence[int]], silence: frozenset[int]
) -> list[list[int]]:
    """The groups of phones that share a root, after checks; every phone stands in one."""
    groups = [list(group) for group in roots]
    phones = list(itertools.chain.from_iterable(groups))
    groups += [[phone] for phone in sorted(silence.difference(phones))]
    phones += sorted(silence.difference(phones))
    missing = sorted(set(topology.states_of_phone).difference(phones))
    unknown = sorted(set(phones).difference(topology.states_of_phone))
    twice = sorted({phone for phone in phones if phones.count(phone) > 1})
    for fault, wrong in (("without a root", missing), ("that no topology has", unknown)):
        if wrong:
            raise InputError(f"roots: phones {fault}: {wrong}; mend phones/roots.txt")
    if twice:
        raise InputError(f"roots: phones in two groups: {twice}; mend phones/roots.txt")
    for group in groups:
        if len({phone in silence for phone in group}) > 1:
            raise InputError(f"roots: group {group} mixes silence and speech; part it")
        if len({topology.num_states(phone) for phone in group}) > 1:
            raise InputError(
                f"roots: group {group} has phones of unlike numbers of states; part it"
            )
    return groups


def _check_statistics(statistics: TriphoneStatistics, topology: Topology) -> None:
    if len(statistics) == 0:
        raise InputError("statistics: no frames; check that the alignment covers the data")
    windows = statistics.windows
    for phone in np.unique(windows[CENTRE]).tolist():
        num_states = topology.states_of_phone.get(phone, 0)
        highest = int(windows[PDF_CLASS, windows[CENTRE] == phone].max())
        if highest >= num_states:
            raise InputError(
                f"statistics: phone {phone} has pdf-class {highest}, but {num_states} states in "
                "the topology; give the topology of the alignment"
            )
