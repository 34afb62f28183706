"""An alignment as tiers of labelled stretches of time: words, phones, states, senones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from am.alignment import alignment_folder, senone_labels
from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.transcripts import Transcripts
from am.errors import InputError
from am.inspection.word_spans import word_spans
from am.lang.lang import Lang, check_phones
from am.storage import STORE_NAME, RaggedStore
from am.tree.statistics import phone_segments

WORDS, PHONES, STATES, SENONES = "words", "phones", "states", "senones"


@dataclass(frozen=True)
class Interval:
    """A label from ``start`` to ``end``, seconds from the cut's beginning."""

    start: float
    end: float
    label: str


Tiers = Mapping[str, Sequence[Interval]]


class TierReader:
    """Reads the tiers of single cuts from an alignment folder.

    Of transition-ids there are words (if the transcript is known and the phones are its), phones,
    HMM states (from 0) and senones; of senone labels there are senones alone.

    Args:
        folder: of ``steps/align.py`` or ``steps/make_senone_labels.py``.
        lang: that the alignment was made with.

    Raises:
        InputError: the folder is something else, or has other phones.
    """

    def __init__(self, folder: Path, lang: Lang):
        self._lang = lang
        self._symbols = {number: symbol for symbol, number in lang.phones.items()}
        self._transcripts = Transcripts(lang)
        self._alignment: AlignmentFolder | None = None
        if kind_of_alignment(folder) == alignment_folder.KIND:
            self._alignment = AlignmentFolder.open(folder)
            check_phones(lang, folder)
            self.store = self._alignment.store
        else:
            self.store = RaggedStore(folder)

    def __contains__(self, cut_id: str) -> bool:
        return cut_id in self.store

    @property
    def tier_names(self) -> tuple[str, ...]:
        """The tiers that a cut can have, from above."""
        return (SENONES,) if self._alignment is None else (WORDS, PHONES, STATES, SENONES)

    def duration(self, cut_id: str) -> float:
        """Seconds that are aligned: frames times frame shift."""
        return round(self.store.num_frames(cut_id) * self.store.frame_shift, 6)

    def tiers(self, cut: Any) -> dict[str, list[Interval]]:
        """The tiers of a lhotse cut that is aligned; ``words`` is missing where it has no text
        or the phones are none of its pronunciations."""
        if self._alignment is None:
            pdf_ids = self.store[cut.id][senone_labels.FIELD]
            return {SENONES: self._intervals(pdf_ids, run_starts(pdf_ids))}
        transition_ids = self._alignment.transition_ids(cut.id)
        transitions = self._alignment.transitions
        segment = phone_segments(transition_ids, transitions, self._alignment.topology)
        phones = transitions.phones_of(transition_ids)
        states = transitions.states_of(transition_ids)
        phone_starts = run_starts(segment)
        state_starts = run_starts(segment, states)
        shown = [self._symbols[phone] for phone in phones[phone_starts].tolist()]
        tiers = {
            PHONES: self._intervals(phones, phone_starts, shown),
            STATES: self._intervals(states, state_starts),
            SENONES: self._intervals(transitions.pdf_ids_of(transition_ids), state_starts),
        }
        words = self._words(cut, phones[phone_starts].tolist(), tiers[PHONES])
        return tiers if words is None else {WORDS: words, **tiers}

    def _words(
        self, cut: Any, phones: list[int], intervals: list[Interval]
    ) -> list[Interval] | None:
        word_ids = self._transcripts.word_ids(cut)
        spans = word_spans(self._lang, word_ids, phones) if word_ids else None
        if spans is None:
            return None
        return [
            Interval(intervals[begin].start, intervals[end - 1].end, word)
            for word, (begin, end) in zip(self._transcripts.words(cut), spans, strict=True)
        ]

    def _intervals(
        self, values: np.ndarray, starts: np.ndarray, labels: Sequence[str] | None = None
    ) -> list[Interval]:
        bounds = np.append(starts, len(values)) * self.store.frame_shift
        times = [round(time, 6) for time in bounds.tolist()]
        labels = labels or [str(value) for value in values[starts].tolist()]
        return [Interval(*interval) for interval in zip(times[:-1], times[1:], labels, strict=True)]


def kind_of_alignment(folder: Path) -> str:
    """``transition-ids`` or ``pdf-ids``.

    Raises:
        InputError: the folder holds neither.
    """
    try:
        kind = json.loads((folder / STORE_NAME).read_text())["kind"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder}: not an alignment; give a folder of steps/align.py or "
            "steps/make_senone_labels.py"
        ) from error
    if kind not in (alignment_folder.KIND, senone_labels.KIND):
        raise InputError(
            f"{folder}: holds {kind}, not an alignment; give a folder of steps/align.py or "
            "steps/make_senone_labels.py"
        )
    return str(kind)


def run_starts(*columns: np.ndarray) -> np.ndarray:
    """First frame of every stretch in which none of the columns (frames,) changes."""
    changed = np.zeros(len(columns[0]), dtype=bool)
    changed[:1] = True
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(changed)
