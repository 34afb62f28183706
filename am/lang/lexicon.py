"""Reading a pronunciation lexicon in Kaldi's form: ``word [probability] phone phone ...``."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from am.errors import InputError

log = logging.getLogger(__name__)

EPSILON = "<eps>"
BACKOFF = "#0"
SENTENCE_START = "<s>"
SENTENCE_END = "</s>"
RESERVED_WORDS = frozenset({EPSILON, BACKOFF, SENTENCE_START, SENTENCE_END})

_DISAMBIGUATION = re.compile(r"#\d+")
_PROBABILITY = re.compile(r"\d*\.\d+(e-?\d+)?|1|1\.", re.IGNORECASE)


@dataclass(frozen=True)
class LexiconEntry:
    """A word, the probability of this pronunciation, and its phones."""

    word: str
    probability: float
    phones: tuple[str, ...]


def read_lexicon(path: Path, *, with_probabilities: bool) -> list[LexiconEntry]:
    """Read and check a lexicon; the entries are sorted by word and phones, code point by code
    point, whatever the locale.

    A repeated entry is dropped with a warning.  Probabilities are scaled so that each word's
    highest is 1, as Kaldi does: a word does not lose to another by having more pronunciations.

    Args:
        path: UTF-8, an entry a line; empty lines are skipped.
        with_probabilities: whether the second field is the pronunciation's probability.

    Raises:
        InputError: names file and line of a word without phones, a reserved word or phone, or
            a probability outside (0, 1]; or the file holds no entry.
    """
    entries: dict[tuple[str, tuple[str, ...]], LexiconEntry] = {}
    for number, fields in _fields_of_lines(path):
        entry = _parse(fields, f"{path}:{number}", with_probabilities=with_probabilities)
        key = (entry.word, entry.phones)
        if key in entries:
            log.warning("%s:%d: entry of '%s' repeated; dropped", path, number, entry.word)
        else:
            entries[key] = entry
    if not entries:
        raise InputError(f"{path}: the lexicon has no entry; give lines of 'word phone phone ...'")
    return _highest_is_one([entries[key] for key in sorted(entries)])


def _fields_of_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            fields = line.decode("utf-8-sig" if number == 1 else "utf-8").split()
        except UnicodeDecodeError as error:
            raise InputError(f"{path}:{number}: not UTF-8; convert the lexicon") from error
        if fields:
            yield number, fields


def _parse(fields: list[str], where: str, *, with_probabilities: bool) -> LexiconEntry:
    word, *phones = fields
    probability = 1.0
    if word in RESERVED_WORDS:
        raise InputError(f"{where}: '{word}' is a reserved word; rename it")
    if with_probabilities:
        probability = _probability(phones.pop(0) if phones else "", word, where)
    elif len(phones) > 1 and "." in phones[0] and _PROBABILITY.fullmatch(phones[0]):
        raise InputError(
            f"{where}: '{phones[0]}' looks like a probability; "
            "set pronunciation_probabilities: true"
        )
    if not phones:
        raise InputError(f"{where}: the word '{word}' has no phones; add them or drop the line")
    for phone in phones:
        if phone == EPSILON or _DISAMBIGUATION.fullmatch(phone):
            raise InputError(f"{where}: the phone '{phone}' is a reserved symbol; rename it")
    return LexiconEntry(word, probability, tuple(phones))


def _probability(text: str, word: str, where: str) -> float:
    if not _PROBABILITY.fullmatch(text) or not 0.0 < float(text) <= 1.0:
        raise InputError(
            f"{where}: the word '{word}' needs a probability above 0 and up to 1 as second "
            f"field, not '{text}'"
        )
    return float(text)


def _highest_is_one(entries: list[LexiconEntry]) -> list[LexiconEntry]:
    highest: dict[str, float] = {}
    for entry in entries:
        highest[entry.word] = max(entry.probability, highest.get(entry.word, 0.0))
    return [replace(e, probability=e.probability / highest[e.word]) for e in entries]
