"""The phones of a lang folder: word-position variants, tree roots, questions.

As in Kaldi's ``utils/prepare_lang.sh``: with position-dependent phones the phone ``AH0`` becomes
``AH0_B``, ``AH0_I``, ``AH0_E`` (at a word's beginning, inside, at its end) and ``AH0_S`` (a word
of one phone).  A silence phone keeps its plain form too, which stands between words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from am.errors import InputError

POSITIONS = {"_B": "begin", "_E": "end", "_I": "internal", "_S": "singleton"}
_VARIANT_DIGITS = re.compile(r"(.*\D)(\d+)")


@dataclass(frozen=True)
class PhoneSet:
    """The base phones (sorted), and whether they have word-position variants.

    Attributes:
        silence: base phones that are not speech; the optional silence is the first.
        nonsilence: base phones of speech.
        position_dependent: whether variants ``_B _E _I _S`` stand for the base phone.
    """

    silence: tuple[str, ...]
    nonsilence: tuple[str, ...]
    position_dependent: bool

    def variants(self, phone: str) -> list[str]:
        """The phones that stand for a base phone."""
        if not self.position_dependent:
            return [phone]
        plain = [phone] if phone in self.silence else []
        return plain + [phone + suffix for suffix in POSITIONS]

    def all_phones(self) -> list[str]:
        """Every phone, silence first, in the order of their ids.

        Raises:
            InputError: a variant has the name of another phone.
        """
        phones = [v for phone in self.silence + self.nonsilence for v in self.variants(phone)]
        for phone in phones:
            if phones.count(phone) > 1:
                raise InputError(
                    f"the phone '{phone}' of the lexicon has the name of another phone's "
                    "word-position variant; rename it or set position_dependent_phones: false"
                )
        return phones

    def in_word(
        self, phones: tuple[str, ...], *, begins: bool = True, ends: bool = True
    ) -> tuple[str, ...]:
        """The base phones of a word, or of a part of one, as the variants for their places.

        Args:
            phones: of the part.
            begins, ends: whether the word begins and ends with it.
        """
        if not self.position_dependent or not phones:
            return phones
        places = ["_I"] * len(phones)
        if begins:
            places[0] = "_B"
        if ends:
            places[-1] = "_S" if begins and len(phones) == 1 else "_E"
        return tuple(phone + place for phone, place in zip(phones, places, strict=True))

    def roots(self, *, share_variants: bool) -> list[list[str]]:
        """Groups that share a tree root: a silence phone's variants, then each base phone's.

        Args:
            share_variants: whether phones that differ in a final number alone (stress or tone:
                AH0, AH1, AH2) share their root.
        """
        groups: dict[str, list[str]] = {phone: [phone] for phone in self.silence}
        for phone in self.nonsilence:
            name = without_digits(phone) if share_variants else phone
            # A silence phone is never a root for speech, even if its name differs in digits alone.
            groups.setdefault(f" {name}", []).append(phone)
        return [self._with_variants(group) for group in groups.values()]

    def extra_questions(self) -> list[list[str]]:
        """Groups of phones for the tree to ask about: silence, stress classes, positions."""
        by_digits: dict[str, list[str]] = {}
        for phone in self.nonsilence:
            digits = phone[len(without_digits(phone)) :]
            by_digits.setdefault(digits, []).append(phone)
        classes = [list(self.silence), *(by_digits[digits] for digits in sorted(by_digits))]
        questions = [self._with_variants(group) for group in classes]
        if self.position_dependent:
            questions += [[p + suffix for p in self.nonsilence] for suffix in POSITIONS]
            questions += [[p + suffix for p in self.silence] for suffix in ("", *POSITIONS)]
        return [question for question in questions if question]

    def word_boundary(self) -> list[tuple[str, str]]:
        """(phone, its place in a word) as in Kaldi's ``word_boundary.txt``; needs variants."""
        if not self.position_dependent:
            return []
        places = {"": "nonword", **POSITIONS}
        return [
            (variant, places[variant[len(phone) :]])
            for phone in self.silence + self.nonsilence
            for variant in self.variants(phone)
        ]

    def _with_variants(self, group: Iterable[str]) -> list[str]:
        return [variant for phone in group for variant in self.variants(phone)]


def without_digits(phone: str) -> str:
    """The phone without the number it ends with: ``AH0`` is ``AH``; ``2`` stays."""
    match = _VARIANT_DIGITS.fullmatch(phone)
    return match[1] if match else phone
