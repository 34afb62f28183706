"""Transcripts as word-ids of a lang folder."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from am.errors import InputError
from am.lang.lang import Lang

log = logging.getLogger(__name__)


class Transcripts:
    """Turns a cut's text into word-ids; unknown words become the lang folder's unknown word.

    Attributes:
        unknown_words: how often each was met.
    """

    def __init__(self, lang: Lang):
        self.unknown_words: Counter[str] = Counter()
        self._lang = lang
        self._unknown = lang.words.get(lang.unknown_word, -1)
        if self._unknown not in lang.pronunciations:
            raise InputError(
                f"{lang.folder}: the unknown word {lang.unknown_word} has no pronunciation; "
                "run utils/prepare_lang.py"
            )

    def words(self, cut: Any) -> list[str]:
        """The words of the cut's supervision; empty if it has none, or no text."""
        text = cut.supervisions[0].text if cut.supervisions else None
        return self._lang.words_of(text or "")

    def word_ids(self, cut: Any) -> list[int]:
        """The ids of those words, or of their pieces."""
        ids: list[int] = []
        for word in self.words(cut):
            found = self._lang.ids_of(word)
            if not found:
                self.unknown_words[word] += 1
                found = [self._unknown]
            ids += found
        return ids


def log_unknown_words(unknown_words: Counter[str]) -> None:
    """Warn of unknown words, met so many times each, the most frequent by name."""
    if unknown_words:
        log.warning(
            "%d words (%d different) are outside the lexicon and stand as the unknown word: %s",
            unknown_words.total(),
            len(unknown_words),
            ", ".join(word for word, _ in unknown_words.most_common(10)),
        )
