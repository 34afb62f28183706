"""How a text becomes words and a word graphemes: Unicode, case, digits, apostrophes, marks.

The rules, in their order, are those of ``docs/subwords.md``.  Applied to their own result they
change nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from am.config import settings_from_mapping
from am.errors import InputError

APOSTROPHE = "'"
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u02b9\u0060\u00b4\uff07"), "'")
# Characters that nobody says: controls, invisible formats, surrogates, private, unassigned; and of
# letters and marks the Arabic tatweel, the grapheme joiner and the variation selectors.
_DROPPED_CHARACTERS = frozenset(
    map(chr, [0x0640, 0x034F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
)
_DROPPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)
_DIGIT = "Nd"


@dataclass(frozen=True)
class TextRules:
    """What the words and graphemes of a subword system are.

    Attributes:
        case: ``keep``, ``fold`` (Unicode's case folding, mostly lower case) or ``upper``.
        digits: ``keep``: a digit is a grapheme; ``spell``: it becomes a word of its own,
            ``digit_words``; ``remove``.
        digit_words: ten words, of zero to nine, for ``spell``.
        apostrophes: ``keep`` those that touch a letter or digit, or ``remove``.
        combining_marks: ``separate`` graphemes, or ``joined`` to what they follow.
    """

    case: Literal["keep", "fold", "upper"] = "keep"
    digits: Literal["keep", "spell", "remove"] = "keep"
    digit_words: tuple[str, ...] = ()
    apostrophes: Literal["keep", "remove"] = "keep"
    combining_marks: Literal["separate", "joined"] = "separate"

    def __post_init__(self) -> None:
        if self.digits == "spell" and len(self.digit_words) != 10:
            raise ValueError(
                f"digit_words: give ten words, of zero to nine, not {len(self.digit_words)}"
            )
        if any(character.isdecimal() for word in self.digit_words for character in word):
            raise ValueError("digit_words: a word holds a digit; spell it")

    @staticmethod
    def of(values: Mapping[str, Any], source: str) -> TextRules:
        """From what ``dataclasses.asdict`` gave; ``source`` names it in errors."""
        return settings_from_mapping(TextRules, values, source)

    def words(self, text: str) -> list[str]:
        """The words of a text, spelled by the rules; none of them is empty."""
        text = "".join(c for c in text if c.isspace() or not _is_dropped(c))
        text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES))
        text = self._cased(self._with_digits(text)).translate(_APOSTROPHES)
        text = "".join(character if self._is_kept(character) else " " for character in text)
        words = (self._without_loose_characters(word) for word in text.split())
        return [word for word in words if word]

    def can_spell(self, text: str) -> bool:
        """Whether ``text`` may stand inside a word."""
        return all(map(self._is_kept, text)) and self._cased(text) == text

    def graphemes(self, text: str) -> tuple[str, ...]:
        """The graphemes of a word or a part of one, in order.

        A grapheme is a character; a Hangul syllable is its letters, two or three.
        """
        found: list[str] = []
        for character in text:
            if self.combining_marks == "joined" and found and _is_mark(character):
                found[-1] += character
            elif ord(character) in _HANGUL_SYLLABLES:
                found.extend(unicodedata.normalize("NFD", character))
            else:
                found.append(character)
        return tuple(found)

    def _cased(self, text: str) -> str:
        if self.case == "fold":
            # Unicode's toNFKC_Casefold, section 3.13: folding once may undo the normal form.
            text = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold())
            text = text.casefold()
        elif self.case == "upper":
            text = text.upper()
        return unicodedata.normalize("NFKC", text)

    def _with_digits(self, text: str) -> str:
        if self.digits == "keep":
            return text
        return "".join(
            self._said(character) if unicodedata.category(character) == _DIGIT else character
            for character in text
        )

    def _said(self, digit: str) -> str:
        return f" {self.digit_words[unicodedata.decimal(digit)]} " if self.digits == "spell" else ""

    def _is_kept(self, character: str) -> bool:
        """Whether the character may stand in a word; what may not parts words."""
        if character == APOSTROPHE:
            return self.apostrophes == "keep"
        if unicodedata.category(character) == _DIGIT:
            return self.digits == "keep"
        return not _is_dropped(character) and unicodedata.category(character)[0] in "LMN"

    def _without_loose_characters(self, word: str) -> str:
        """The word without apostrophes that touch no letter, and marks that have no base."""
        if not word:
            return word
        neighbours = zip(["", *word[:-1]], word, [*word[1:], ""], strict=True)
        word = "".join(
            character
            for before, character, after in neighbours
            if character != APOSTROPHE
            or _is_letter(before)
            or _is_mark(before)
            or _is_letter(after)
        )
        return self._without_loose_characters(word[1:]) if _is_mark(word[:1]) else word


def check_digit_words(rules: TextRules) -> None:
    """Raise InputError unless the rules leave a word of every digit."""
    for word in rules.digit_words:
        if not rules.words(word):
            raise InputError(f"digit_words: nothing is left of '{word}'; give a word of letters")


def _is_dropped(character: str) -> bool:
    return (
        character in _DROPPED_CHARACTERS or unicodedata.category(character) in _DROPPED_CATEGORIES
    )


def _is_letter(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "LN"


def _is_mark(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] == "M"
