"""A comparison of alignments as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from am.inspection.boundaries import WITHIN_MILLISECONDS
from am.inspection.labelled_cuts import BASE_PHONE
from am.inspection.tables import table

WORST_PHONES = 15


@dataclass(frozen=True)
class PhoneRow:
    """A base phone of the reference.

    Attributes:
        phone: its name.
        frames: of the reference.
        agreement: share of them that the alignment gives the same base phone.
        instead: the base phone that it gives most often in its place; empty if none.
        instead_share: share of the frames that get it.
        begin_distance, end_distance: mean distance of its boundaries, milliseconds; NaN if none.
    """

    phone: str
    frames: int
    agreement: float
    instead: str
    instead_share: float
    begin_distance: float
    end_distance: float


@dataclass(frozen=True)
class UtteranceRow:
    """A cut.

    Attributes:
        cut_id: its id.
        num_frames: of the alignment, of the reference.
        agreement: level → share of the frames with equal labels.
        mean_distance: of its boundaries, milliseconds; NaN without any.
        unmatched: boundaries of the reference that the alignment has not.
    """

    cut_id: str
    num_frames: tuple[int, int]
    agreement: Mapping[str, float]
    mean_distance: float
    unmatched: int

    @property
    def decisive_agreement(self) -> float:
        """That of base phones, or of the only level there is; 1 for an empty cut."""
        share = self.agreement.get(BASE_PHONE, next(iter(self.agreement.values())))
        return 1.0 if math.isnan(share) else share


def write_phones(path: Path, rows: Sequence[PhoneRow]) -> None:
    """Write a table of tab-separated values, a base phone a line."""
    head = "phone frames agreement instead instead_share begin_distance_ms end_distance_ms"
    lines = ["\t".join(head.split())]
    for row in rows:
        begin, end = _number(row.begin_distance), _number(row.end_distance)
        lines.append(
            f"{row.phone}\t{row.frames}\t{row.agreement:.4f}\t{row.instead}\t"
            f"{row.instead_share:.4f}\t{begin}\t{end}"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_utterance_head(stream: TextIO, row: UtteranceRow) -> None:
    """Write the names of the columns of :func:`write_utterance`."""
    levels = [f"{level.replace(' ', '_')}_agreement" for level in row.agreement]
    names = ["cut", "frames", "reference_frames", *levels, "mean_distance_ms", "unmatched"]
    stream.write("\t".join(names) + "\n")


def write_utterance(stream: TextIO, row: UtteranceRow) -> None:
    """Write a line of tab-separated values."""
    shares = [f"{share:.4f}" for share in row.agreement.values()]
    cells = [row.cut_id, *map(str, row.num_frames), *shares, _number(row.mean_distance)]
    stream.write("\t".join([*cells, str(row.unmatched)]) + "\n")


def report_text(
    facts: Mapping[str, Any], phones: Sequence[PhoneRow], worst: Sequence[UtteranceRow]
) -> str:
    """The comparison for people.

    Args:
        facts: content of ``comparison.json``.
        phones: the one that agrees least first.
        worst: the cuts that agree least, the worst first.
    """
    lines = [f"{facts['alignment']} against {facts['reference']}", _counts(facts), ""]
    rows = [("level", "frames that agree")]
    rows += [(level, _percent(share)) for level, share in facts["agreement"].items()]
    lines += table(rows)
    lines += _boundary_lines(facts["boundaries"])
    if phones:
        lines += ["", f"base phones that agree least, of {len(phones)}:"]
        lines += table([_PHONE_HEAD, *(_phone_cells(row) for row in phones[:WORST_PHONES])])
    lines += ["", "cuts that agree least:"]
    head = ("cut", *worst[0].agreement, "mean distance", "unmatched")
    lines += table([head, *(_utterance_cells(row) for row in worst)])
    return "\n".join(lines) + "\n"


_PHONE_HEAD = ("phone", "frames", "agree", "instead", "share", "begin", "end")


def _counts(facts: Mapping[str, Any]) -> str:
    text = f"{facts['cuts']} cuts, {facts['frames']} frames"
    for key, words in (
        ("only_in_alignment", "cuts only in the alignment"),
        ("only_in_reference", "cuts only in the reference"),
        ("of_unlike_length", "cuts of unlike length (the common frames are compared)"),
    ):
        if facts[key]:
            text += f"; {facts[key]} {words}"
    return text


def _boundary_lines(facts: Mapping[str, float]) -> list[str]:
    if not facts["boundaries"]:
        return []
    rows = [
        ("phone boundaries in both", f"{facts['boundaries']}"),
        ("only in the reference", f"{facts['unmatched']}"),
        ("mean distance", _milliseconds(facts["mean_distance_ms"])),
        ("median distance", _milliseconds(facts["median_distance_ms"])),
        ("mean shift (above 0: later than the reference)", _milliseconds(facts["mean_shift_ms"])),
    ]
    rows += [
        (f"within {limit} ms", _percent(facts[f"within_{limit}_ms"]))
        for limit in WITHIN_MILLISECONDS
    ]
    return ["", *table(rows)]


def _phone_cells(row: PhoneRow) -> tuple[str, ...]:
    return (
        row.phone,
        str(row.frames),
        _percent(row.agreement),
        row.instead,
        _percent(row.instead_share) if row.instead else "",
        _milliseconds(row.begin_distance),
        _milliseconds(row.end_distance),
    )


def _utterance_cells(row: UtteranceRow) -> tuple[str, ...]:
    shares = [_percent(share) for share in row.agreement.values()]
    return (row.cut_id, *shares, _milliseconds(row.mean_distance), str(row.unmatched))


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.2f} %"


def _milliseconds(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f} ms"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
