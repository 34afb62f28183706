"""The questions of a context tree in words."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from am.inspection.phone_names import NONWORD, PhoneNames
from am.tree.context_tree import CENTRE, LEFT, PDF_CLASS, RIGHT

ASKED = {LEFT: "left phone", CENTRE: "phone itself", RIGHT: "right phone", PDF_CLASS: "HMM state"}


class QuestionWords:
    """Says what a node of a tree asks.

    Args:
        names: of the phones.
        extra_questions: the sets of phone-ids that the lang folder itself suggests.
    """

    def __init__(self, names: PhoneNames, extra_questions: Iterable[Iterable[int]]):
        self._names = names
        self._all = frozenset(np.flatnonzero(names.group_of_phone >= 0).tolist())
        self._extra = {
            question: self._extra_words(question) for question in map(frozenset, extra_questions)
        }

    def describe(self, position: int, members: Iterable[int]) -> str:
        """A node's question, to be answered with yes or no.

        Args:
            position: ``LEFT``, ``CENTRE``, ``RIGHT`` or ``PDF_CLASS``.
            members: the set asked for, phone-ids or pdf-classes (HMM states, from 0).
        """
        asked = frozenset(members)
        if position == PDF_CLASS:
            words = _one_of([str(state) for state in sorted(asked)])
        else:
            words = self._extra.get(asked) or self._phones(asked)
        return f"{ASKED[position]} {words}"

    def _phones(self, asked: frozenset[int]) -> str:
        if asked == self._all:
            return "is any, so not the utterance's edge"
        return _one_of(self._names.listed(asked))

    def _extra_words(self, asked: frozenset[int]) -> str:
        """A set of the lang folder by what its phones have in common, if that is all of them."""
        for kind, phones in (
            ("silence", self._names.silence),
            ("speech", self._all - self._names.silence),
        ):
            if asked == phones:
                return f"is a {kind} phone (extra question)"
            for place in sorted(set(self._names.places.values())):
                if asked == {p for p in phones if self._names.places.get(p) == place}:
                    where = "outside words" if place == NONWORD else f"with word position {place}"
                    return f"is a {kind} phone {where} (position question)"
            for number in sorted({self._names.number(phone) for phone in phones}):
                if asked == {p for p in phones if self._names.number(p) == number}:
                    which = f"with number {number}" if number else "without a number"
                    return f"is a {kind} phone {which} (stress question)"
        return f"{self._phones(asked)} (extra question)"


def _one_of(names: list[str]) -> str:
    return f"is {names[0]}" if len(names) == 1 else f"is one of: {' '.join(names)}"
