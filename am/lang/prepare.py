"""From a lexicon to a lang folder: symbols, pronunciations, topology, L."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import kaldifst

from am.errors import InputError
from am.graph.arrays import FstArrays, to_fst
from am.hmm.topology import Topology
from am.lang.lexicon import (
    BACKOFF,
    EPSILON,
    RESERVED_WORDS,
    SENTENCE_END,
    SENTENCE_START,
    LexiconEntry,
    read_lexicon,
)
from am.lang.lexicon_fst import LexiconPath, OptionalSilence, disambiguation_numbers, lexicon_fst
from am.lang.phone_set import PhoneSet

log = logging.getLogger(__name__)

# Pronunciations, optional silence, phone-id and word-id of #0 (or None) → L.
MakeLexiconFst = Callable[
    [Sequence[LexiconPath], OptionalSilence, tuple[int, int] | None], FstArrays
]


@dataclass(frozen=True)
class LangSettings:
    """How a lang folder is made from a lexicon.

    Attributes:
        pronunciation_probabilities: whether the lexicon's second field is a probability.
        position_dependent_phones: whether phones have variants ``_B _E _I _S`` by their place
            in the word.
        share_numbered_variants: whether phones that differ in a final number alone (stress,
            tone) share a tree root.
        silence_phone: the phone of the optional silence.
        spoken_noise_phone: the phone of the unknown word.
        other_silence_phones: further phones of the lexicon that are not speech.
        unknown_word: stands for words outside the lexicon; added if the lexicon lacks it.
        silence_probability: of a silence after a word and at the beginning, in [0, 1).
        nonsilence_states, silence_states: emitting HMM states a phone.
        initial_self_loop_probability: of every state before training.
    """

    pronunciation_probabilities: bool = False
    position_dependent_phones: bool = True
    share_numbered_variants: bool = True
    silence_phone: str = "SIL"
    spoken_noise_phone: str = "SPN"
    other_silence_phones: tuple[str, ...] = ()
    unknown_word: str = "<UNK>"
    silence_probability: float = 0.5
    nonsilence_states: int = 3
    silence_states: int = 5
    initial_self_loop_probability: float = 0.75

    def check(self) -> None:
        """Raise InputError for a value outside its range."""
        if not 0.0 <= self.silence_probability < 1.0:
            raise InputError(
                f"silence_probability must be at least 0 and below 1, not "
                f"{self.silence_probability}"
            )
        if not 0.0 < self.initial_self_loop_probability < 1.0:
            raise InputError(
                f"initial_self_loop_probability must be between 0 and 1, not "
                f"{self.initial_self_loop_probability}"
            )
        if min(self.nonsilence_states, self.silence_states) < 1:
            raise InputError("nonsilence_states and silence_states must be at least 1")
        if self.unknown_word in RESERVED_WORDS or len(self.unknown_word.split()) != 1:
            raise InputError(
                f"unknown_word: '{self.unknown_word}' cannot be a word; choose another"
            )

    @property
    def silence_phones(self) -> tuple[str, ...]:
        """Base phones that are not speech, the optional silence first."""
        names = (self.silence_phone, self.spoken_noise_phone, *sorted(self.other_silence_phones))
        return tuple(dict.fromkeys(names))


def prepare_lang(lexicon: Path, settings: LangSettings, folder: Path) -> None:
    """Write a lang folder, see :class:`am.lang.lang.Lang` and Kaldi's ``prepare_lang.sh``.

    Args:
        lexicon: ``word phone phone ...`` a line, several lines a word allowed.
        settings: how.
        folder: exists; gets the files.

    Raises:
        InputError: the lexicon cannot be used (file and line named) or a setting is out of range.
    """
    settings.check()
    entries = read_lexicon(lexicon, with_probabilities=settings.pronunciation_probabilities)
    if all(entry.word != settings.unknown_word for entry in entries):
        entries.append(LexiconEntry(settings.unknown_word, 1.0, (settings.spoken_noise_phone,)))
        entries.sort(key=lambda entry: (entry.word, entry.phones))
    phone_set = phone_set_of((entry.phones for entry in entries), settings)
    try:
        phone_set.all_phones()
    except InputError as error:
        raise InputError(f"{lexicon}: {error}") from error
    entries = [dataclasses.replace(e, phones=phone_set.in_word(e.phones)) for e in entries]
    write_lang(folder, entries, phone_set, settings, lexicon_fst)
    (folder / "settings.json").write_text(json.dumps(dataclasses.asdict(settings), indent=1))


def write_lang(
    folder: Path,
    entries: Sequence[LexiconEntry],
    phone_set: PhoneSet,
    settings: LangSettings,
    make_fst: MakeLexiconFst,
) -> None:
    """Write all files of a lang folder but its settings.

    Args:
        folder: exists.
        entries: pronunciations, their phones marked by their places in the word.
        phone_set: the phones.
        settings: silence, unknown word, topology.
        make_fst: gives L of the entries, in their order, with or without disambiguation.
    """
    phones = phone_set.all_phones()
    numbers = disambiguation_numbers([entry.phones for entry in entries])
    # #0 is the backoff's; the last one follows the optional silence.
    disambiguation = [f"#{number}" for number in range(max(numbers) + 2)]
    phone_ids = _numbered([EPSILON, *phones, *disambiguation])
    words = sorted({entry.word for entry in entries})
    word_ids = _numbered([EPSILON, *words, BACKOFF, SENTENCE_START, SENTENCE_END])

    _write_symbols(folder / "phones.txt", phone_ids)
    _write_symbols(folder / "words.txt", word_ids)
    _write_lexicon(folder, entries)
    _write_phone_files(folder / "phones", phone_set, disambiguation, settings)
    _write_lines(folder / "oov.txt", [settings.unknown_word])
    _write_lines(folder / "silence_probability.txt", [repr(settings.silence_probability)])
    _topology(phone_set, phone_ids, settings).save(folder / "topology.json")
    _write_lexicon_fsts(folder, entries, numbers, phone_ids, word_ids, settings, make_fst)
    log.info(
        "%d words, %d pronunciations, %d base phones, %d phones, %d disambiguation symbols",
        len(words),
        len(entries),
        len(phone_set.silence) + len(phone_set.nonsilence),
        len(phones),
        len(disambiguation),
    )


def phone_set_of(pronunciations: Iterable[Iterable[str]], settings: LangSettings) -> PhoneSet:
    """The base phones of pronunciations, and those of silence."""
    silence = settings.silence_phones
    nonsilence = sorted({phone for phones in pronunciations for phone in phones} - set(silence))
    return PhoneSet(silence, tuple(nonsilence), settings.position_dependent_phones)


def _topology(phone_set: PhoneSet, phone_ids: dict[str, int], settings: LangSettings) -> Topology:
    states = {
        phone_ids[variant]: count
        for group, count in (
            (phone_set.silence, settings.silence_states),
            (phone_set.nonsilence, settings.nonsilence_states),
        )
        for phone in group
        for variant in phone_set.variants(phone)
    }
    return Topology(states, settings.initial_self_loop_probability)


def _write_phone_files(
    folder: Path, phone_set: PhoneSet, disambiguation: Sequence[str], settings: LangSettings
) -> None:
    folder.mkdir(exist_ok=True)
    for name, group in (("silence", phone_set.silence), ("nonsilence", phone_set.nonsilence)):
        _write_lines(folder / f"{name}.txt", [v for p in group for v in phone_set.variants(p)])
    _write_lines(folder / "optional_silence.txt", [settings.silence_phone])
    _write_lines(folder / "disambig.txt", disambiguation)
    roots = phone_set.roots(share_variants=settings.share_numbered_variants)
    _write_lines(folder / "roots.txt", map(" ".join, roots))
    _write_lines(folder / "extra_questions.txt", map(" ".join, phone_set.extra_questions()))
    # Empty without position variants: then the phones do not say where words begin.
    _write_lines(folder / "word_boundary.txt", map(" ".join, phone_set.word_boundary()))


def _write_lexicon(folder: Path, entries: Sequence[LexiconEntry]) -> None:
    lines = [" ".join((entry.word, *entry.phones)) for entry in entries]
    _write_lines(folder / "lexicon.txt", lines)
    lines = [" ".join((entry.word, repr(entry.probability), *entry.phones)) for entry in entries]
    _write_lines(folder / "lexiconp.txt", lines)


def _write_lexicon_fsts(
    folder: Path,
    entries: Sequence[LexiconEntry],
    numbers: Sequence[int],
    phone_ids: dict[str, int],
    word_ids: dict[str, int],
    settings: LangSettings,
    make_fst: MakeLexiconFst,
) -> None:
    plain, disambiguated = [], []
    for entry, number in zip(entries, numbers, strict=True):
        phones = tuple(phone_ids[phone] for phone in entry.phones)
        plain.append(LexiconPath(word_ids[entry.word], entry.probability, phones))
        if number:
            phones = (*phones, phone_ids[f"#{number}"])
        disambiguated.append(LexiconPath(word_ids[entry.word], entry.probability, phones))
    silence = OptionalSilence(phone_ids[settings.silence_phone], settings.silence_probability)
    marked = dataclasses.replace(silence, disambiguation=phone_ids[f"#{max(numbers) + 1}"])
    backoff = (phone_ids[BACKOFF], word_ids[BACKOFF])
    for name, arrays in (
        ("L.fst", make_fst(plain, silence, None)),
        ("L_disambig.fst", make_fst(disambiguated, marked, backoff)),
    ):
        fst = to_fst(arrays)
        kaldifst.arcsort(fst, "olabel")
        fst.write(str(folder / name))


def _numbered(symbols: Iterable[str]) -> dict[str, int]:
    return {symbol: number for number, symbol in enumerate(symbols)}


def _write_symbols(path: Path, symbols: dict[str, int]) -> None:
    _write_lines(path, (f"{symbol} {number}" for symbol, number in symbols.items()))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
