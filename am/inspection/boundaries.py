"""Boundaries between phones that two alignments of one cut have in common."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import kaldialign
import numpy as np

from am.inspection.labelled_cuts import LabelledCut

WITHIN_MILLISECONDS = (10, 20, 50)
# kaldialign's symbol for a gap: places of base phones count from 0.
_GAP = -1


@dataclass(frozen=True)
class BoundaryShifts:
    """The boundaries of one cut that both alignments have.

    Attributes:
        left, right: (boundaries,) base phones on either side.
        milliseconds: (boundaries,) how much later the alignment has it than the reference.
        unmatched: boundaries of the reference that the alignment has not.
    """

    left: np.ndarray
    right: np.ndarray
    milliseconds: np.ndarray
    unmatched: int

    @property
    def mean_distance(self) -> float:
        """Mean of the absolute shifts, milliseconds; NaN without boundaries."""
        return float(np.abs(self.milliseconds).mean()) if len(self.milliseconds) else float("nan")


def boundary_shifts(alignment: LabelledCut, reference: LabelledCut) -> BoundaryShifts | None:
    """Compare boundaries; None where either has no phones.

    The sequences of base phones are aligned with the fewest edits.  A boundary counts if the
    phones on both its sides stand opposite equal ones; the cut's beginning and end do not.
    """
    if alignment.base_phones is None or reference.base_phones is None:
        return None
    if alignment.bounds is None or reference.bounds is None:
        return None
    ours, theirs = alignment.base_phones.tolist(), reference.base_phones.tolist()
    pairs: list[tuple[int, int]] = []
    place, reference_place = 0, 0
    matched_before = False
    for phone, other in kaldialign.align(ours, theirs, _GAP):
        matched = phone == other
        if matched and matched_before:
            pairs.append((place, reference_place))
        matched_before = matched
        place += phone != _GAP
        reference_place += other != _GAP
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    seconds = alignment.bounds[found[:, 0]] - reference.bounds[found[:, 1]]
    return BoundaryShifts(
        left=reference.base_phones[found[:, 1] - 1],
        right=reference.base_phones[found[:, 1]],
        milliseconds=1000 * seconds,
        unmatched=max(len(theirs) - 1, 0) - len(pairs),
    )


@dataclass
class ShiftDistribution:
    """Boundary shifts of many cuts, counted by tenths of a millisecond.

    Attributes:
        counts: shift in milliseconds → boundaries.
        unmatched: boundaries of the reference without a counterpart.
    """

    counts: Counter[float] = field(default_factory=Counter)
    unmatched: int = 0

    def add(self, shifts: BoundaryShifts) -> None:
        """Count the boundaries of one more cut."""
        self.counts.update(np.round(shifts.milliseconds, 1).tolist())
        self.unmatched += shifts.unmatched

    def facts(self) -> dict[str, float | int]:
        """Numbers of boundaries, and of their distances (absolute shifts) in milliseconds."""
        shifts = np.array(sorted(self.counts), dtype=np.float64)
        numbers = np.array([self.counts[shift] for shift in shifts.tolist()], dtype=np.int64)
        total = int(numbers.sum())
        facts: dict[str, float | int] = {"boundaries": total, "unmatched": self.unmatched}
        if not total:
            return facts
        distances = np.abs(shifts)
        order = np.argsort(distances, kind="stable")
        reached = np.searchsorted(np.cumsum(numbers[order]), [(total + 1) // 2, total // 2 + 1])
        facts["mean_distance_ms"] = float(distances @ numbers) / total
        facts["median_distance_ms"] = float(distances[order][reached].mean())
        facts["mean_shift_ms"] = float(shifts @ numbers) / total
        for limit in WITHIN_MILLISECONDS:
            facts[f"within_{limit}_ms"] = int(numbers[distances <= limit + 0.05].sum()) / total
        return facts
