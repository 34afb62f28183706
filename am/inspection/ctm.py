"""CTM files: a token with its time a line, as NIST's and Kaldi's tools read them.

``utterance channel start duration token [confidence]``, times in seconds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from am.errors import InputError
from am.inspection.tiers import Interval

CHANNEL = "1"
# Neighbours that share less than this, seconds, do not count as overlapping: times are rounded.
ROUNDING = 0.0051


def write_ctm(stream: TextIO, cut_id: str, intervals: Iterable[Interval]) -> None:
    """Write the lines of one cut; times to the millisecond, without gaps where there are none."""
    for interval in intervals:
        start, end = round(interval.start, 3), round(interval.end, 3)
        stream.write(f"{cut_id} {CHANNEL} {start:.3f} {end - start:.3f} {interval.label}\n")


def read_ctm(path: Path) -> dict[str, list[Interval]]:
    """The tokens of each utterance, by time; the channel is not looked at.

    Raises:
        InputError: a line is something else, or tokens of an utterance overlap.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a CTM file")
    found: dict[str, list[Interval]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text, so not a CTM file") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(";;"):
            continue
        utterance, interval = _parsed(line, f"{path}: line {number}")
        found.setdefault(utterance, []).append(interval)
    for utterance, intervals in found.items():
        intervals.sort(key=lambda interval: interval.start)
        for earlier, later in itertools.pairwise(intervals):
            if later.start < earlier.end - ROUNDING:
                raise InputError(
                    f"{path}: {utterance}: '{earlier.label}' ends at {earlier.end:.3f} s, after "
                    f"'{later.label}' begins at {later.start:.3f} s; mend the times"
                )
    return found


def _parsed(line: str, where: str) -> tuple[str, Interval]:
    fields = line.split()
    try:
        start, duration = (float(field) for field in fields[2:4])
    except ValueError:
        start = duration = math.nan
    if len(fields) not in (5, 6) or not (0 <= start < math.inf and 0 <= duration < math.inf):
        raise InputError(
            f"{where}: expected 'utterance channel start duration token', found '{line.strip()}'"
        )
    return fields[0], Interval(start, start + duration, fields[4])
