"""Batches of cuts of similar length, whose number is known from the lengths alone.

Lengths are counted by their limits (:func:`am.shar.index.length_limit`), in 10 ms frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from lhotse import MonoCut

from am.shar.index import length_limit


@dataclass(frozen=True)
class LengthBatch:
    """A batch that is planned by length limits alone.

    Attributes:
        size: its cuts.
        longest: limit of the longest.
    """

    size: int
    longest: int


def batches_of_lengths(lengths: Sequence[tuple[int, int]], max_frames: int) -> list[LengthBatch]:
    """How cuts, sorted by length limit, are cut up into batches.

    A batch's limits sum up to ``max_frames`` at most; a cut that is longer has one to itself.

    Args:
        lengths: pairs of limit and number of cuts, from short to long.
        max_frames: of a batch.
    """
    batches: list[LengthBatch] = []
    filled = used = longest = 0
    for limit, count in lengths:
        if filled:
            room = (max_frames - used) // limit
            if room >= count:
                filled, used, longest = filled + count, used + count * limit, limit
                continue
            if room > 0:
                filled, count, longest = filled + room, count - room, limit
            batches.append(LengthBatch(filled, longest))
        most = max_frames // limit or 1
        full, filled = divmod(count, most)
        batches.extend([LengthBatch(most, limit)] * full)
        used, longest = filled * limit, limit
    if filled:
        batches.append(LengthBatch(filled, longest))
    return batches


def batches_of_cuts(
    cuts: list[MonoCut], planned: Sequence[LengthBatch], generator: np.random.Generator | None
) -> list[list[MonoCut]]:
    """The planned batches of a shard's cuts.

    Args:
        cuts: with features; as many of each length limit as were planned with.
        planned: by :func:`batches_of_lengths`.
        generator: chooses among cuts of one limit, and the batches' order; None keeps that of the
            cuts, and batches from short to long.
    """
    order = list(range(len(cuts))) if generator is None else generator.permutation(len(cuts))
    in_order = sorted((cuts[i] for i in order), key=lambda cut: length_limit(int(cut.num_frames)))
    stream = iter(in_order)
    batches = [list(itertools.islice(stream, one.size)) for one in planned]
    if generator is not None:
        batches = [batches[index] for index in generator.permutation(len(batches))]
    return batches
