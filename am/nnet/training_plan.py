"""What a training is going to do: which data when, how much of them, at which learning rate."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lhotse import MonoCut

from am.errors import InputError
from am.features.feature_data import describe_features, open_feature_data
from am.features.low_frame_rate import STACKED_FRAMES, num_low_rate_frames
from am.inspection.tables import table
from am.nnet.data import BatchingSettings
from am.nnet.learning_rate import LearningRateSettings, learning_rate_of_update
from am.nnet.schedule import LABELED, Pass, ScheduleSettings, part_name, scheduled_plan

HEAD = ("pass", "data", "factor", "hours", "updates", "first rate", "last rate")
SHOWN_AT_THE_END = 2


@dataclass(frozen=True)
class SourceSize:
    """One pass over some data.

    Attributes:
        frames: at the low frame rate.
        updates: about; the sampler deals the cuts into batches anew in every pass.
    """

    frames: int
    updates: int


@dataclass(frozen=True)
class PlannedPass:
    """A pass and its place in the plan.

    Attributes:
        source: of its data.
        factor: of the learning rate.
        updates_before, updates: until it begins, and in it; about.
        frames_before, frames: likewise, at the low frame rate.
    """

    source: str
    factor: float
    updates_before: int
    updates: int
    frames_before: int
    frames: int

    @property
    def last_update(self) -> int:
        """Number of its last update."""
        return self.updates_before + self.updates


class TrainingPlan:
    """The passes of a training, with sizes and learning rates.

    Args:
        passes: in order (:mod:`am.nnet.schedule`).
        sizes: source → size of a pass over it.
        settings: of the learning rate.
        frame_shift: of the low-rate frames, in seconds.
    """

    def __init__(
        self,
        passes: Sequence[Pass],
        sizes: Mapping[str, SourceSize],
        settings: LearningRateSettings,
        frame_shift: float,
    ):
        self.settings = settings
        self._hours_a_frame = frame_shift / 3600
        self.passes: list[PlannedPass] = []
        updates = frames = 0
        for one in passes:
            size = sizes[one.source]
            self.passes.append(
                PlannedPass(
                    one.source, one.learning_rate_factor, updates, size.updates, frames, size.frames
                )
            )
            updates += size.updates
            frames += size.frames
        self.total_updates, self.total_frames = updates, frames

    def learning_rate(self, one: PlannedPass, update: float) -> float:
        """The learning rate of update ``update`` (the first of the training is 1) of a pass.

        Frames count as if a pass's updates had equally many.
        """
        share_of_pass = (update - 1 - one.updates_before) / one.updates
        frames_done = one.frames_before + share_of_pass * one.frames
        return learning_rate_of_update(
            self.settings, update, frames_done / self.total_frames, one.factor
        )

    def lines(self, at_most: int | None = None) -> list[str]:
        """The plan for a reader: totals, then a row a pass.

        Args:
            at_most: rows; the first and the last ones of a longer plan.
        """
        rows = [self._row(index, one) for index, one in enumerate(self.passes, 1)]
        if at_most is not None and len(rows) > at_most:
            left_out = ["…"] + [""] * (len(HEAD) - 1)
            first = at_most - SHOWN_AT_THE_END - 1
            rows = [*rows[:first], left_out, *rows[-SHOWN_AT_THE_END:]]
        return [*self._totals(), *table([HEAD, *rows])]

    def _totals(self) -> list[str]:
        frames: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for one in self.passes:
            kind = "labelled" if one.source == LABELED else "unlabelled"
            frames[kind] += one.frames
            counts[kind] += 1
        return [
            f"{counts[kind]} passes over {kind} speech, {frames[kind] * self._hours_a_frame:.2f} "
            "hours in all"
            for kind in counts
        ]

    def _row(self, index: int, one: PlannedPass) -> list[str]:
        first, last = one.updates_before + 1, one.last_update
        return [
            str(index),
            one.source,
            f"{one.factor:g}",
            f"{one.frames * self._hours_a_frame:.2f}",
            f"{first} to {last}",
            f"{self.learning_rate(one, first):.2e}",
            f"{self.learning_rate(one, last):.2e}",
        ]


def size_of(
    cuts: Iterable[MonoCut],
    batching: BatchingSettings,
    chunk_seconds: float = 0.0,
    num_processes: int = 1,
) -> SourceSize:
    """Frames and about how many updates a pass over some cuts has.

    Args:
        cuts: with features.
        batching: of the training.
        chunk_seconds: of its chunks; 0 for whole utterances.
        num_processes: that share the batches; each makes its share of updates.
    """
    size = _sizes_of_parts(cuts, 1, batching, chunk_seconds)[0]
    return SourceSize(size.frames, math.ceil(size.updates / num_processes))


def plan_of_data(
    labeled: Path,
    unlabeled: Path,
    schedule: ScheduleSettings,
    settings: LearningRateSettings,
    batching: BatchingSettings,
    chunk_seconds: float = 0.0,
) -> TrainingPlan:
    """The plan of scheduled learning, before there are labels: all cuts are taken to have some.

    Args:
        labeled, unlabeled: feature data folders.
        schedule: the order.
        settings: of the learning rate.
        batching, chunk_seconds: as of :func:`size_of`.

    Raises:
        InputError: a folder holds no feature data, or there are more parts than cuts.
    """
    sizes = {LABELED: size_of(open_feature_data(labeled), batching, chunk_seconds)}
    cuts = open_feature_data(unlabeled)
    parts = _sizes_of_parts(cuts, schedule.parts, batching, chunk_seconds)
    for index, part in enumerate(parts):
        if part.frames == 0:
            raise InputError(
                f"schedule.parts: {schedule.parts} parts are too many for the cuts of {unlabeled}; "
                "choose fewer"
            )
        sizes[part_name(index)] = part
    frame_shift = STACKED_FRAMES * describe_features(labeled).frame_shift
    return TrainingPlan(scheduled_plan(schedule), sizes, settings, frame_shift)


def _sizes_of_parts(
    cuts: Iterable[MonoCut], num_parts: int, batching: BatchingSettings, chunk_seconds: float
) -> list[SourceSize]:
    """The sizes of parts that the cuts are dealt out to in turn.

    A batch holds as many cuts as fit with the longest one's padding; each bucket ends with a
    batch that is half full on average.  A batch makes an update, or one a chunk.
    """
    frames, cuts_in_part, most = ([0] * num_parts for _ in range(3))
    shares = [0.0] * num_parts
    for index, cut in enumerate(cuts):
        part = index % num_parts
        chunks = math.ceil(cut.duration / chunk_seconds) if chunk_seconds > 0 else 1
        cuts_in_part[part] += 1
        most[part] += chunks
        frames[part] += num_low_rate_frames(int(cut.num_frames))
        shares[part] += chunks / max(1, int(batching.process_batch_seconds / cut.duration))
    sizes = []
    for part in range(num_parts):
        buckets = max(1, min(batching.num_buckets, cuts_in_part[part] // 2))
        updates = min(round(shares[part] + buckets / 2), most[part])
        sizes.append(SourceSize(frames[part], updates))
    return sizes
