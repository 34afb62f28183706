"""Praat TextGrid files, written with praatio."""

from __future__ import annotations

from pathlib import Path

from praatio import textgrid

from am.inspection.tiers import Tiers


def write_textgrid(path: Path, tiers: Tiers, duration: float) -> None:
    """Write one cut; stretches without a label are empty intervals.

    Args:
        tiers: name → intervals, from above.
        duration: seconds.
    """
    grid = textgrid.Textgrid(0.0, duration)
    for name, intervals in tiers.items():
        entries = [(interval.start, interval.end, interval.label) for interval in intervals]
        grid.addTier(textgrid.IntervalTier(name, entries, 0.0, duration))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)


def textgrid_name(cut_id: str) -> str:
    """The file of a cut; an id may hold a slash, a file's name may not."""
    return cut_id.replace("%", "%25").replace("/", "%2F") + ".TextGrid"
