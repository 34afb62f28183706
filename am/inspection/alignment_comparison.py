"""How far two alignments of the same cuts agree: frame by frame, and at the phones' boundaries."""

from __future__ import annotations

import heapq
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from am.errors import InputError
from am.inspection.boundaries import BoundaryShifts, ShiftDistribution, boundary_shifts
from am.inspection.comparison_report import (
    PhoneRow,
    UtteranceRow,
    report_text,
    write_phones,
    write_utterance,
    write_utterance_head,
)
from am.inspection.labelled_cuts import (
    BASE_PHONE,
    SENONE,
    AlignedCuts,
    CtmCuts,
    LabelledCut,
    LabelledCuts,
)
from am.inspection.phone_names import PhoneNames
from am.lang.lang import Lang
from am.progress import track

log = logging.getLogger(__name__)

REPORT_NAME = "report.txt"
FACTS_NAME = "comparison.json"
PHONES_NAME = "phones.tsv"
UTTERANCES_NAME = "utterances.tsv"
WORST_UTTERANCES = 10


def compare_alignments(
    lang_folder: Path, alignment_folder: Path, reference_path: Path, output: Path
) -> None:
    """Compare an alignment with another, or with phones of known times.

    Writes ``report.txt``, ``comparison.json``, ``phones.tsv`` and ``utterances.tsv``.

    Args:
        lang_folder: that both were made with.
        alignment_folder: transition-ids or senone labels.
        reference_path: another such folder, or a CTM file of phones.
        output: folder.

    Raises:
        InputError: the two have no cut in common, or nothing that can be compared.
    """
    lang = Lang.load(lang_folder)
    names = PhoneNames(lang)
    alignment = AlignedCuts(alignment_folder, lang, names)
    reference = _open_reference(reference_path, alignment, lang, names)
    comparison = Comparison(names)
    with (output / UTTERANCES_NAME).open("w", encoding="utf-8") as stream:
        worst = _compare_cuts(alignment, reference, comparison, stream)
    facts = {
        "alignment": str(alignment_folder),
        "reference": str(reference_path),
        "cuts": comparison.num_cuts,
        "only_in_alignment": sum(cut_id not in reference for cut_id in alignment),
        "only_in_reference": sum(cut_id not in alignment for cut_id in reference),
        "of_unlike_length": comparison.num_unlike_lengths,
        "frames": comparison.num_frames,
        "agreement": comparison.agreement(),
        "boundaries": comparison.shifts.facts(),
    }
    phones = comparison.phone_rows()
    write_phones(output / PHONES_NAME, phones)
    (output / FACTS_NAME).write_text(json.dumps(facts, indent=1))
    (output / REPORT_NAME).write_text(report_text(facts, phones, worst), encoding="utf-8")
    log.info("compared %d cuts, %d frames", comparison.num_cuts, comparison.num_frames)


def _open_reference(
    path: Path, alignment: AlignedCuts, lang: Lang, names: PhoneNames
) -> LabelledCuts:
    """A CTM file, or an alignment folder of the same frame rate."""
    if path.is_file():
        return CtmCuts(path, lang, names)
    reference = AlignedCuts(path, lang, names)
    if reference.frame_shift != alignment.frame_shift:
        raise InputError(
            f"{path}: a frame every {reference.frame_shift} s, but {alignment.frame_shift} s in "
            f"{alignment.source}; compare alignments of one rate"
        )
    return reference


def _compare_cuts(
    alignment: AlignedCuts, reference: LabelledCuts, comparison: Comparison, stream: TextIO
) -> list[UtteranceRow]:
    """Compare all cuts that both have, a line each to ``stream``; return the worst, in order."""
    worst: list[tuple[float, str, UtteranceRow]] = []
    for cut_id in track(alignment, "comparing", unit="cut"):
        if cut_id not in reference:
            continue
        num_frames = alignment.num_frames(cut_id)
        ours = alignment.read(cut_id, num_frames, alignment.frame_shift)
        theirs = reference.read(cut_id, num_frames, alignment.frame_shift)
        if alignment.tree is None or alignment.tree != reference.tree:
            ours, theirs = ours.without(SENONE), theirs.without(SENONE)
        if not ours.levels.keys() & theirs.levels.keys():
            raise InputError(
                f"{reference.source}: its labels are not those of {alignment.source}: senones "
                "compare only within one tree, phones only with phones"
            )
        row = comparison.add(cut_id, ours, theirs)
        if comparison.num_cuts == 1:
            write_utterance_head(stream, row)
        write_utterance(stream, row)
        heapq.heappush(worst, (-row.decisive_agreement, cut_id, row))
        if len(worst) > WORST_UTTERANCES:
            heapq.heappop(worst)
    if not comparison.num_cuts:
        raise InputError(
            f"{reference.source}: none of the cuts of {alignment.source} is here; give alignments "
            "of the same data"
        )
    return [row for _, _, row in sorted(worst, key=lambda entry: (-entry[0], entry[1]))]


@dataclass
class _Level:
    frames: int = 0
    agreed: int = 0


class Comparison:
    """Counts over cuts; its size does not grow with them.

    Attributes:
        num_cuts, num_frames: so far; of two lengths of a cut the shorter counts.
        num_unlike_lengths: cuts whose numbers of frames differ.
        shifts: of the boundaries.
    """

    def __init__(self, names: PhoneNames):
        self.num_cuts, self.num_frames, self.num_unlike_lengths = 0, 0, 0
        self.shifts = ShiftDistribution()
        self._names = names
        self._levels: dict[str, _Level] = {}
        num_groups = len(names.groups)
        # Rows: the reference's base phone; columns: the alignment's.
        self._confusions = np.zeros((num_groups, num_groups), dtype=np.int64)
        self._begins = np.zeros((2, num_groups))
        self._ends = np.zeros((2, num_groups))

    def add(self, cut_id: str, alignment: LabelledCut, reference: LabelledCut) -> UtteranceRow:
        """Compare one cut, frame by frame from its beginning; return what it gave."""
        lengths = alignment.num_frames, reference.num_frames
        common = min(lengths)
        self.num_cuts += 1
        self.num_frames += common
        self.num_unlike_lengths += lengths[0] != lengths[1]
        shares: dict[str, float] = {}
        for level, labels in alignment.levels.items():
            if level not in reference.levels:
                continue
            others = reference.levels[level][:common]
            agreed = int((labels[:common] == others).sum())
            count = self._levels.setdefault(level, _Level())
            count.frames += common
            count.agreed += agreed
            shares[level] = agreed / common if common else math.nan
            if level == BASE_PHONE:
                np.add.at(self._confusions, (others, labels[:common]), 1)
        shifts = boundary_shifts(alignment, reference)
        if shifts is not None:
            self._add_shifts(shifts)
        return UtteranceRow(
            cut_id,
            lengths,
            shares,
            math.nan if shifts is None else shifts.mean_distance,
            0 if shifts is None else shifts.unmatched,
        )

    def agreement(self) -> dict[str, float]:
        """Share of the frames whose labels are equal, by level."""
        return {
            level: count.agreed / count.frames if count.frames else math.nan
            for level, count in self._levels.items()
        }

    def phone_rows(self) -> list[PhoneRow]:
        """The base phones of the reference, the one that agrees least first."""
        rows = []
        for phone in np.flatnonzero(self._confusions.sum(axis=1)).tolist():
            counts = self._confusions[phone].copy()
            frames, agreed = int(counts.sum()), int(counts[phone])
            counts[phone] = 0
            other = int(counts.argmax())
            rows.append(
                PhoneRow(
                    self._names.base_names[phone],
                    frames,
                    agreed / frames,
                    self._names.base_names[other] if counts[other] else "",
                    int(counts[other]) / frames,
                    _mean(self._begins[:, phone]),
                    _mean(self._ends[:, phone]),
                )
            )
        return sorted(rows, key=lambda row: (row.agreement, row.phone))

    def _add_shifts(self, shifts: BoundaryShifts) -> None:
        self.shifts.add(shifts)
        distances = np.abs(shifts.milliseconds)
        for sums, phones in ((self._begins, shifts.right), (self._ends, shifts.left)):
            np.add.at(sums[0], phones, distances)
            np.add.at(sums[1], phones, 1.0)


def _mean(total_and_count: Sequence[float] | np.ndarray) -> float:
    total, count = total_and_count
    return float(total / count) if count else math.nan
