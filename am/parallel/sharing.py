"""Which process trains on which batches of a pass.

Every process goes through the same sequence of batches and takes its own; nothing has to be sent.
lhotse's samplers can share out batches as well, but they double cuts where the last ones do not
suffice for all.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lhotse import CutSet

# Batches of so many rounds are sorted by length: those of a round take about the same time.
ROUNDS_AHEAD = 16


@dataclass(frozen=True)
class Share:
    """One process's part of the data.

    Attributes:
        rank: which process, from 0.
        size: of how many.
    """

    rank: int = 0
    size: int = 1

    def of(self, batches: Iterable[CutSet], seed: int) -> Iterator[CutSet | None]:
        """This process's batches of one pass, a batch each round.

        Every batch falls to one process, and the processes' hours come out about equal.

        Args:
            batches: of the whole pass, the same on all processes.
            seed: of the order of rounds; the same on all processes.

        Yields:
            A batch; None in a round that has too few for all.  All processes have as many rounds.
        """
        if self.size == 1:
            yield from batches
            return
        generator = random.Random(seed)
        seconds = [0.0] * self.size
        # A generator stays at its end; lhotse's samplers begin anew when they are asked again.
        unread = (batch for batch in batches)
        while window := list(itertools.islice(unread, ROUNDS_AHEAD * self.size)):
            window.sort(key=lambda batch: max(cut.duration for cut in batch))
            rounds = [
                window[start : start + self.size] for start in range(0, len(window), self.size)
            ]
            generator.shuffle(rounds)
            for one_round in rounds:
                yield _dealt(one_round, seconds)[self.rank]


def _dealt(batches: list[CutSet], seconds: list[float]) -> list[CutSet | None]:
    """A batch or None for each process: the longest to the one with fewest ``seconds`` so far."""
    dealt: list[CutSet | None] = [None] * len(seconds)
    fewest_first = sorted(range(len(seconds)), key=lambda rank: seconds[rank])
    longest_first = sorted(batches, key=_seconds_of, reverse=True)
    for rank, batch in zip(fewest_first, longest_first, strict=False):
        dealt[rank] = batch
        seconds[rank] += _seconds_of(batch)
    return dealt


def _seconds_of(batch: CutSet) -> float:
    return sum(cut.duration for cut in batch)
