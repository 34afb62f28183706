"""Two kinds of alignment in one form for comparing: labels by frame, and phones with their times.

A base phone stands for its stress and position variants; see
:class:`am.inspection.phone_names.PhoneNames`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from am.alignment import alignment_folder, senone_labels
from am.alignment.alignment_folder import AlignmentFolder
from am.errors import InputError
from am.inspection.ctm import ROUNDING, read_ctm
from am.inspection.phone_names import PhoneNames
from am.inspection.tiers import Interval, kind_of_alignment, run_starts
from am.lang.lang import Lang, check_phones
from am.outputs import sha256_of_file
from am.storage import RaggedStore
from am.tree.statistics import phone_segments

PHONE, BASE_PHONE, SENONE = "phone", "base phone", "senone"


@dataclass(frozen=True)
class LabelledCut:
    """One cut's labels.

    Attributes:
        levels: ``phone`` (phone-ids), ``base phone`` (places in ``PhoneNames.groups``) and
            ``senone`` (pdf-ids), each (frames,), where known.
        base_phones: (phones,) the sequence of base phones; None where unknown.
        bounds: (phones + 1,) float64, seconds: where each phone begins, and where the last ends.
    """

    levels: Mapping[str, np.ndarray]
    base_phones: np.ndarray | None = None
    bounds: np.ndarray | None = None

    @property
    def num_frames(self) -> int:
        """Frames of every level."""
        return len(next(iter(self.levels.values())))

    def without(self, level: str) -> LabelledCut:
        """The same without the labels of one level."""
        return replace(self, levels={n: v for n, v in self.levels.items() if n != level})


class LabelledCuts(Protocol):
    """Cuts with labels, by id.

    Attributes:
        source: where they lie, for messages.
        tree: checksum of the tree that the senones are of; None where there is none.
    """

    source: Path
    tree: str | None

    def __contains__(self, cut_id: str) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...

    def read(self, cut_id: str, num_frames: int, frame_shift: float) -> LabelledCut:
        """One cut; times alone are turned into so many frames of so many seconds."""
        ...


class AlignedCuts:
    """An alignment folder: transition-ids, or senone labels, which have one level alone."""

    def __init__(self, folder: Path, lang: Lang, names: PhoneNames):
        self.source = folder
        self._groups = names.group_of_phone
        self._alignment: AlignmentFolder | None = None
        if kind_of_alignment(folder) == alignment_folder.KIND:
            self._alignment = AlignmentFolder.open(folder)
            check_phones(lang, folder)
            self._store = self._alignment.store
            if not (folder / "tree.json").is_file():
                raise InputError(f"{folder / 'tree.json'}: no such tree; align again")
            self.tree: str | None = sha256_of_file(folder / "tree.json")
        else:
            self._store = RaggedStore(folder)
            self.tree = self._store.description.get("tree_sha256")
        self.frame_shift = self._store.frame_shift

    def __contains__(self, cut_id: str) -> bool:
        return cut_id in self._store

    def __iter__(self) -> Iterator[str]:
        return iter(self._store)

    def num_frames(self, cut_id: str) -> int:
        """Frames of one cut."""
        return self._store.num_frames(cut_id)

    def read(self, cut_id: str, num_frames: int, frame_shift: float) -> LabelledCut:
        """One cut, with the frames that it has, whatever is asked for."""
        if self._alignment is None:
            return LabelledCut({SENONE: self._store[cut_id][senone_labels.FIELD]})
        transition_ids = self._alignment.transition_ids(cut_id)
        transitions = self._alignment.transitions
        phones = transitions.phones_of(transition_ids)
        starts = run_starts(phone_segments(transition_ids, transitions, self._alignment.topology))
        levels = {
            PHONE: phones,
            BASE_PHONE: self._groups[phones],
            SENONE: transitions.pdf_ids_of(transition_ids),
        }
        bounds = np.append(starts, len(phones)) * self._store.frame_shift
        return LabelledCut(levels, self._groups[phones[starts]], bounds)


class CtmCuts:
    """Phones of a CTM file, kept in memory; time without a phone is the optional silence.

    Its tokens are base phones, or phones, and then compared as phones too if all are.

    Raises:
        InputError: a token is neither.
    """

    def __init__(self, path: Path, lang: Lang, names: PhoneNames):
        self.source = path
        self.tree: str | None = None
        self._silence = lang.optional_silence
        self._groups = names.group_of_phone
        self._cuts = read_ctm(path)
        tokens = {interval.label for cut in self._cuts.values() for interval in cut}
        try:
            self._phone = {token: names.phone_of(token) for token in tokens}
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        self._are_phones = all(token in lang.phones for token in tokens)

    def __contains__(self, cut_id: str) -> bool:
        return cut_id in self._cuts

    def __iter__(self) -> Iterator[str]:
        return iter(self._cuts)

    def read(self, cut_id: str, num_frames: int, frame_shift: float) -> LabelledCut:
        """One cut in ``num_frames`` frames; a frame has the phone of its middle."""
        length = num_frames * frame_shift
        phones, bounds = self._filled(self._cuts[cut_id], length)
        middles = (np.arange(num_frames) + 0.5) * frame_shift
        place = np.searchsorted(bounds, middles, side="right") - 1
        by_frame = phones[np.clip(place, 0, len(phones) - 1)]
        levels = {BASE_PHONE: self._groups[by_frame]}
        if self._are_phones:
            levels[PHONE] = by_frame
        return LabelledCut(levels, self._groups[phones], bounds)

    def _filled(self, intervals: list[Interval], length: float) -> tuple[np.ndarray, np.ndarray]:
        """Phone-ids, and their bounds in seconds, with silence where no phone stands."""
        phones: list[int] = []
        bounds = [0.0]
        for interval in intervals:
            if interval.start > bounds[-1] + ROUNDING:
                phones.append(self._silence)
                bounds.append(interval.start)
            phones.append(self._phone[interval.label])
            bounds.append(interval.end)
        if not phones or length > bounds[-1] + ROUNDING:
            phones.append(self._silence)
            bounds.append(length)
        return np.array(phones), np.array(bounds)
