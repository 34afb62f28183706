"""The phones of a lang folder in words: base phones, places in a word, final numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from am.errors import InputError
from am.lang.lang import Lang
from am.lang.phone_set import POSITIONS, without_digits

_SUFFIX_OF_PLACE = {place: suffix for suffix, place in POSITIONS.items()}
NONWORD = "nonword"


class PhoneNames:
    """Names of phones and of the base phones that they are variants of.

    Args:
        lang: gives phones, roots and silence phones; its ``phones/word_boundary.txt`` is empty
            or missing where phones do not depend on their place in a word.

    Attributes:
        symbols: phone-id → name; 0, the context outside the utterance, is ``<eps>``.
        places: phone-id → ``begin``, ``internal``, ``end``, ``singleton`` or ``nonword``; empty
            where phones have no place.
        silence: the phone-ids that are not speech.
        groups: phone-ids of each base phone's variants.
        base_names: name of each group.
        group_of_phone: (highest phone-id + 1,) int32, place in ``groups``; -1 for phone-id 0.
    """

    def __init__(self, lang: Lang):
        real = lang.real_phones
        self.symbols = {number: symbol for symbol, number in lang.phones.items()}
        self.silence = frozenset(lang.silence_phones)
        self.places = _read_places(lang)
        grouped = {phone for group in lang.roots for phone in group}
        alone: list[tuple[int, ...]] = [(phone,) for phone in real if phone not in grouped]
        self.groups = [tuple(group) for group in lang.roots] + alone
        self.base_names = [self._name_of_group(group) for group in self.groups]
        self.group_of_phone = np.full(max(real) + 1, -1, dtype=np.int32)
        for index, group in enumerate(self.groups):
            self.group_of_phone[list(group)] = index
        self._file = lang.folder / "phones.txt"
        self._by_name = self._phones_by_name(real)

    def phone_of(self, name: str) -> int:
        """The phone-id of a phone, or of the first variant with a name without place or number.

        Raises:
            InputError: there is no such phone.
        """
        if name not in self._by_name:
            raise InputError(
                f"{self._file}: no phone '{name}'; give a phone of the file or one of "
                f"{' '.join(self.base_names)}"
            )
        return self._by_name[name]

    def without_place(self, phone: int) -> str:
        """A phone's name without its place in a word: ``AH0`` for ``AH0_B``."""
        place = self.places.get(phone, NONWORD)
        return self.symbols[phone].removesuffix(_SUFFIX_OF_PLACE.get(place, ""))

    def number(self, phone: int) -> str:
        """The digits that a phone's name ends with, its stress or tone; often empty."""
        name = self.without_place(phone)
        return name[len(without_digits(name)) :]

    def listed(self, phones: Iterable[int]) -> list[str]:
        """Names of a set of phones; all variants of a base phone go by its name."""
        wanted = set(phones)
        names: list[str] = []
        for group, base in zip(self.groups, self.base_names, strict=True):
            inside = [phone for phone in group if phone in wanted]
            if len(inside) == len(group):
                names.append(base)
            else:
                names += [self.symbols[phone] for phone in inside]
        return names

    def _phones_by_name(self, phones: Sequence[int]) -> dict[str, int]:
        """Phones by every name that means variants of one base phone alone."""
        named = {self.symbols[phone]: phone for phone in phones}
        shorter: dict[str, list[int]] = {}
        for phone in phones:
            plain = self.without_place(phone)
            for name in {plain, without_digits(plain)}:
                shorter.setdefault(name, []).append(phone)
        for name, variants in shorter.items():
            if len({int(self.group_of_phone[phone]) for phone in variants}) == 1:
                named.setdefault(name, variants[0])
        return named

    def _name_of_group(self, group: Sequence[int]) -> str:
        """What the names of all variants have in common."""
        plain = {self.without_place(phone) for phone in group}
        if len(plain) > 1:
            plain = {without_digits(name) for name in plain}
        return plain.pop() if len(plain) == 1 else self.symbols[group[0]]


def _read_places(lang: Lang) -> dict[int, str]:
    path = lang.folder / "phones" / "word_boundary.txt"
    if not path.is_file():
        return {}
    places: dict[int, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        symbol, _, place = line.partition(" ")
        if symbol not in lang.phones or place not in (NONWORD, *_SUFFIX_OF_PLACE):
            raise InputError(
                f"{path}: '{line}' is not a phone and its place; run utils/prepare_lang.py"
            )
        places[lang.phones[symbol]] = place
    return places
