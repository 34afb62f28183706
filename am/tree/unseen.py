"""Phones of the lang folder that no aligned frame shows.

A variant of a base phone that was seen needs nothing: it shares the root, and the questions lead it
to a leaf.  A base phone of which no variant was seen has no frames to grow a root from; it shares
the root of the nearest base phone that was seen, so that each of its triphones has a trained leaf
and no senone is spent on it.  Silence phones keep their own leaves: noise must not look like
silence.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from am.hmm.topology import Topology
from am.tree.context_tree import CENTRE
from am.tree.statistics import TriphoneStatistics

log = logging.getLogger(__name__)

MAX_NAMED = 10


@dataclass(frozen=True)
class UnseenPhones:
    """Phone-ids that no frame is aligned to.

    Attributes:
        variants: their root was seen through another variant.
        borrowers: base phones without a frame, each with the seen one whose root it shares.
        alone: phones that keep a root without frames: silence phones, and phones for which no
            other has as many states.
    """

    variants: tuple[int, ...] = ()
    borrowers: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    alone: tuple[int, ...] = ()

    def log(self, phones: Mapping[str, int]) -> None:
        """Warn of the phones by name; ``phones`` is name → phone-id."""
        for group, neighbours in self.borrowers:
            log.warning(
                "no frame is aligned to %s: shares the leaves of %s",
                named(group, phones),
                named(neighbours, phones),
            )
        if self.alone:
            log.warning(
                "no frame is aligned to %s: the leaves stay untrained", named(self.alone, phones)
            )
        if self.variants:
            log.info(
                "no frame is aligned to %d variants, which share the leaves of the others: %s",
                len(self.variants),
                named(self.variants, phones),
            )


def share_roots_of_seen(
    statistics: TriphoneStatistics,
    groups: Sequence[Sequence[int]],
    topology: Topology,
    silence: Iterable[int],
) -> tuple[list[list[int]], UnseenPhones]:
    """Join groups without a frame to their nearest neighbours.

    The nearest is the group of speech phones with as many states whose phone-ids are closest,
    the lower of two: phone-ids follow the alphabet, in which related phones often stand together.

    Args:
        statistics: of the triphone states that were seen.
        groups: phones that share a root.
        topology: of all phones.
        silence: phones that keep their groups.

    Returns:
        The groups, those that were joined being gone from the list; and what was found.
    """
    seen_phones = set(np.unique(statistics.windows[CENTRE]).tolist())
    silent = set(silence)
    seen = [group for group in groups if seen_phones.intersection(group)]
    speech = [group for group in seen if group[0] not in silent]
    joined = {id(group): list(group) for group in groups}
    borrowers: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    alone: list[int] = []
    for group in groups:
        if seen_phones.intersection(group):
            continue
        num_states = topology.num_states(group[0])
        fitting = [other for other in speech if topology.num_states(other[0]) == num_states]
        if group[0] in silent or not fitting:
            alone += group
            continue
        nearest = min(fitting, key=lambda other: (_distance(group, other), min(other)))
        joined[id(nearest)] += joined.pop(id(group))
        borrowers.append((tuple(group), tuple(nearest)))
    variants = sorted(phone for group in seen for phone in set(group).difference(seen_phones))
    return list(joined.values()), UnseenPhones(tuple(variants), tuple(borrowers), tuple(alone))


def _distance(group: Sequence[int], other: Sequence[int]) -> int:
    return min(abs(phone - neighbour) for phone in group for neighbour in other)


def named(phone_ids: Sequence[int], phones: Mapping[str, int]) -> str:
    """The first few of the phones by name; ``phones`` is name → phone-id."""
    names = {number: name for name, number in phones.items()}
    shown = " ".join(names.get(phone, str(phone)) for phone in phone_ids[:MAX_NAMED])
    return f"{shown} …" if len(phone_ids) > MAX_NAMED else shown
