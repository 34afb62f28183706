"""A lang folder in memory: phones, words or pieces, pronunciations, roots, topology."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from am.errors import InputError
from am.hmm.topology import Topology
from am.lang.subword_model import SUBWORD_FILES, SubwordModel

FILES = (
    "phones.txt",
    "words.txt",
    "lexicon.txt",
    "lexiconp.txt",
    "silence_probability.txt",
    "topology.json",
    "oov.txt",
    "settings.json",
    "L.fst",
    "L_disambig.fst",
)


@dataclass(frozen=True)
class Pronunciation:
    """One way to say a word: its probability (highest of a word is 1) and its phone-ids."""

    probability: float
    phones: tuple[int, ...]


@dataclass(frozen=True)
class Lang:
    """What ``utils/prepare_lang.py`` or ``utils/prepare_subword_lang.py`` wrote.

    Of the latter, ``words`` are pieces, phones are graphemes, and ``pronunciations`` has what a
    piece is said like in each place of a word.

    Attributes:
        folder: where it lies.
        phones, words: symbol → id; 0 is ``<eps>``, real phones are contiguous from 1, then the
            disambiguation symbols ``#0 #1 …``.
        pronunciations: word-id → its pronunciations.
        silence_phones: phone-ids that are not speech.
        optional_silence: phone-id of the silence that may stand between words.
        silence_probability: how often it does.
        roots: groups of phone-ids that share a tree root, the base phone's variants together.
        extra_questions: groups of phone-ids that the lang folder itself suggests as questions.
        topology: the 10 ms topology.
        unknown_word: the word that stands for words outside the lexicon.
        subword: turns words into pieces; None where ``words`` are whole words.
    """

    folder: Path
    phones: Mapping[str, int]
    words: Mapping[str, int]
    pronunciations: Mapping[int, tuple[Pronunciation, ...]]
    silence_phones: tuple[int, ...]
    optional_silence: int
    silence_probability: float
    roots: tuple[tuple[int, ...], ...]
    extra_questions: tuple[tuple[int, ...], ...]
    topology: Topology
    unknown_word: str
    subword: SubwordModel | None = None

    def words_of(self, text: str) -> list[str]:
        """The words of a transcript, as the folder spells them."""
        return text.split() if self.subword is None else self.subword.rules.words(text)

    def ids_of(self, word: str) -> list[int]:
        """The word-id of a word, or the ids of its pieces; empty if it is unknown."""
        if self.subword is not None:
            return [self.words[piece] for piece in self.subword.pieces_of(word)]
        word_id = self.words.get(word, -1)
        return [word_id] if word_id in self.pronunciations else []

    def spoken_words(self, word_ids: Sequence[int]) -> list[tuple[Pronunciation, ...]]:
        """The pronunciations of each whole word of a transcript.

        Args:
            word_ids: each with a pronunciation; whole words, in the case of pieces.
        """
        if self.subword is None:
            return [self.pronunciations[word_id] for word_id in word_ids]
        return [self._spoken(group) for group in self._whole_words(word_ids)]

    def _whole_words(self, word_ids: Sequence[int]) -> list[list[int]]:
        assert self.subword is not None
        groups: list[list[int]] = []
        for word_id in word_ids:
            if not groups or self.subword.description.begins_word(self._symbols[word_id]):
                groups.append([])
            groups[-1].append(word_id)
        return groups

    def _spoken(self, group: Sequence[int]) -> tuple[Pronunciation, ...]:
        assert self.subword is not None
        pieces = [self._symbols[word_id] for word_id in group]
        if pieces == [self.unknown_word]:
            return self.pronunciations[group[0]]
        symbols = self.subword.phones_of(pieces)
        return (Pronunciation(1.0, tuple(self.phones[symbol] for symbol in symbols)),)

    @cached_property
    def _symbols(self) -> dict[int, str]:
        return {word_id: word for word, word_id in self.words.items()}

    @property
    def real_phones(self) -> list[int]:
        """phone-ids without ``<eps>`` and disambiguation symbols, ascending."""
        return sorted(self.topology.states_of_phone)

    @property
    def disambiguation_phones(self) -> list[int]:
        """phone-ids of ``#0 #1 ...``, ascending."""
        return sorted(self.phones.values())[1 + len(self.topology.states_of_phone) :]

    @staticmethod
    def load(folder: Path) -> Lang:
        """Read a lang folder; a missing file is an error that names it."""
        phones = read_symbols(folder / "phones.txt")
        words = read_symbols(folder / "words.txt")
        subword = SubwordModel.load(folder, words)

        def phone_groups(name: str) -> tuple[tuple[int, ...], ...]:
            lines = _lines(folder / "phones" / name)
            return tuple(tuple(phones[symbol] for symbol in line.split()) for line in lines)

        pronunciations: dict[int, list[Pronunciation]] = {}
        for line in _lines(folder / "lexiconp.txt"):
            word, probability, *symbols = line.split()
            entry = Pronunciation(float(probability), tuple(phones[s] for s in symbols))
            pronunciations.setdefault(words[word], []).append(entry)
        return Lang(
            folder=folder,
            phones=phones,
            words=words,
            pronunciations={word: tuple(entries) for word, entries in pronunciations.items()},
            silence_phones=tuple(group[0] for group in phone_groups("silence.txt")),
            optional_silence=phone_groups("optional_silence.txt")[0][0],
            silence_probability=float(_lines(folder / "silence_probability.txt")[0]),
            roots=phone_groups("roots.txt"),
            extra_questions=phone_groups("extra_questions.txt"),
            topology=Topology.load(folder / "topology.json"),
            unknown_word=_lines(folder / "oov.txt")[0],
            subword=subword,
        )


def check_phones(lang: Lang, model_folder: Path) -> None:
    """Raise InputError unless the model in ``model_folder`` was made with the folder's phones."""
    path = model_folder / "phones.txt"
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the folder of a trained model")
    if read_symbols(path) != dict(lang.phones):
        raise InputError(
            f"{path}: differs from {lang.folder / 'phones.txt'}; use the lang folder that the "
            "model was trained with, or train again"
        )


def copy_lang(lang: Path, folder: Path) -> None:
    """Copy a lang folder's files to ``folder``, which exists; a missing file is an error."""
    for name in FILES:
        if not (lang / name).is_file():
            raise InputError(f"{lang / name}: no such file; run utils/prepare_lang.py")
        shutil.copyfile(lang / name, folder / name)
    for name in SUBWORD_FILES:
        if (lang / name).is_file():
            shutil.copyfile(lang / name, folder / name)
    shutil.copytree(lang / "phones", folder / "phones", dirs_exist_ok=True)


def read_symbols(path: Path) -> dict[str, int]:
    """Read a Kaldi symbol table: ``symbol id`` a line."""
    symbols: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        parts = line.split()
        if len(parts) != 2 or not parts[1].isdigit():
            raise InputError(f"{path}: line {number}: expected 'symbol id', found '{line}'")
        symbols[parts[0]] = int(parts[1])
    return symbols


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; run utils/prepare_lang.py")
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
