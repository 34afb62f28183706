"""The sentencepiece model of a lang folder: from words to pieces and back.

A piece that begins a word begins with ``▁`` (U+2581).  A word may begin with a lone ``▁``, where
no longer piece begins it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import sentencepiece

from am.errors import InputError
from am.lang.phone_set import PhoneSet
from am.lang.text_rules import TextRules
from am.outputs import sha256_of_file

WORD_MARK = "▁"
MODEL_NAME = "sentencepiece.model"
DESCRIPTION_NAME = "subword.json"
SUBWORD_FILES = (MODEL_NAME, DESCRIPTION_NAME)
MAKE_IT = "run utils/prepare_subword_lang.py"


@dataclass(frozen=True)
class SubwordDescription:
    """Content of ``subword.json``.

    Attributes:
        model_sha256: fingerprint of the sentencepiece model.
        unknown_word: stands for a word that no sequence of pieces spells.
        position_dependent_phones: whether graphemes have variants by their place in the word.
        text_rules: how text becomes words.
    """

    model_sha256: str
    unknown_word: str
    position_dependent_phones: bool
    text_rules: TextRules

    def save(self, folder: Path) -> None:
        """Write ``subword.json``."""
        content = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / DESCRIPTION_NAME).write_text(content, encoding="utf-8")

    def begins_word(self, piece: str) -> bool:
        """Whether a word begins with this piece."""
        return piece.startswith(WORD_MARK) or piece == self.unknown_word

    def join(self, pieces: Iterable[str]) -> list[str]:
        """The words that pieces make; those before the first that begins one make one too."""
        parts = (f" {piece} " if piece == self.unknown_word else piece for piece in pieces)
        return "".join(parts).replace(WORD_MARK, " ").split()

    @staticmethod
    def load(folder: Path) -> SubwordDescription | None:
        """Read ``subword.json`` of a lang, graph or decoding folder; None if it is of words."""
        path = folder / DESCRIPTION_NAME
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            rules = TextRules.of(values.pop("text_rules"), str(path))
            return SubwordDescription(**values, text_rules=rules)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not a description of pieces ({error}); {MAKE_IT}") from error


class SubwordModel:
    """Turns words into pieces.

    Args:
        description: of the lang folder.
        model: file of the sentencepiece model.
    """

    def __init__(self, description: SubwordDescription, model: Path):
        self.description = description
        self.rules = description.text_rules
        self._processor = load_sentencepiece(model)
        self._phone_set = PhoneSet((), (), description.position_dependent_phones)

    @staticmethod
    def load(folder: Path, words: Mapping[str, int]) -> SubwordModel | None:
        """The model of a lang folder; None if the folder is of whole words.

        Raises:
            InputError: the model is missing, or is not the one that the folder was made with.
        """
        description = SubwordDescription.load(folder)
        if description is None:
            return None
        path = folder / MODEL_NAME
        if not path.is_file():
            raise InputError(f"{path}: no such sentencepiece model; {MAKE_IT}")
        fingerprint = sha256_of_file(path)
        if fingerprint != description.model_sha256:
            raise InputError(
                f"{path}: is not the sentencepiece model that this lang folder was made with "
                f"(SHA-256 {fingerprint[:12]}, {DESCRIPTION_NAME} has "
                f"{description.model_sha256[:12]}); put that one back, or make the folder again "
                "with utils/prepare_subword_lang.py --model"
            )
        model = SubwordModel(description, path)
        for piece in model.pieces():
            if piece not in words:
                raise InputError(
                    f"{folder / 'words.txt'}: lacks the piece '{piece}' of {MODEL_NAME}; {MAKE_IT}"
                )
        return model

    def pieces(self) -> list[str]:
        """The pieces that words can be made of, sorted."""
        return usable_pieces(self._processor, self.rules)

    def pieces_of(self, word: str) -> list[str]:
        """The pieces of a word that the rules spelled; empty if none spell it."""
        if word == self.description.unknown_word:
            return []
        pieces = self._processor.encode(word, out_type=str)
        is_whole = self.description.join(pieces) == [word] and set(pieces) <= self._usable
        return pieces if is_whole else []

    def phones_of(self, pieces: Sequence[str]) -> tuple[str, ...]:
        """The graphemes of a word, with their places in it where they depend on it."""
        bodies = (self.rules.graphemes(piece.removeprefix(WORD_MARK)) for piece in pieces)
        return self._phone_set.in_word(tuple(grapheme for body in bodies for grapheme in body))

    @cached_property
    def _usable(self) -> set[str]:
        return set(self.pieces())


def load_sentencepiece(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Read a sentencepiece model.

    Raises:
        InputError: there is none, or it is not one.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such sentencepiece model; {MAKE_IT}")
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    except RuntimeError as error:
        raise InputError(f"{path}: not a sentencepiece model; {MAKE_IT}") from error


def usable_pieces(processor: sentencepiece.SentencePieceProcessor, rules: TextRules) -> list[str]:
    """The pieces that spell something the rules allow, sorted; a lone ``▁`` is one."""
    pieces = (
        processor.id_to_piece(number)
        for number in range(processor.get_piece_size())
        if not processor.is_control(number)
        and not processor.is_unknown(number)
        and not processor.is_unused(number)
        and not processor.is_byte(number)
    )
    return sorted(piece for piece in pieces if rules.can_spell(piece.removeprefix(WORD_MARK)))


def copy_description(source: Path, folder: Path) -> None:
    """Copy ``subword.json``, if ``source`` has one: what lies in ``folder`` is spelled by it."""
    if (source / DESCRIPTION_NAME).is_file():
        shutil.copyfile(source / DESCRIPTION_NAME, folder / DESCRIPTION_NAME)
