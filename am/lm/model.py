"""Backoff n-gram models in arrays.

Words are numbered by their place in ``words``.  The n-grams of one order are rows of word
numbers, sorted; each row but a unigram points to the row of its history (the n-gram without its
last word) one order lower.  So (history's row, last word) is a key that is found by bisection,
for many n-grams at once.

Probabilities and backoff weights are logarithms to base 10, as in ARPA files.

Letters for shapes: M n-grams asked for, n their length, N_k n-grams of order k in the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from am.lang.lexicon import SENTENCE_END, SENTENCE_START

# What ARPA files write for probability 0.
LOG10_ZERO = -99.0


@dataclass(frozen=True)
class NgramOrder:
    """The n-grams of one order.

    Attributes:
        history: (N,) int64, row of the history one order lower; 0 in unigrams.
        word: (N,) int64, number of the last word.
        log10_prob: (N,) float64, of the last word after the history.
        log10_backoff: (N,) float64, weight of the shorter history where this n-gram, as a
            history, was not seen before a word; 0 if it has none.
    """

    history: np.ndarray
    word: np.ndarray
    log10_prob: np.ndarray
    log10_backoff: np.ndarray

    def __len__(self) -> int:
        return len(self.word)


@dataclass(frozen=True)
class ArpaModel:
    """A backoff model: what an ARPA file says.

    Attributes:
        words: the vocabulary, in the order of the unigrams; word number -1 is unknown.
        orders: unigrams, bigrams, ...
    """

    words: tuple[str, ...]
    orders: tuple[NgramOrder, ...]

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.orders)

    @cached_property
    def number_of(self) -> dict[str, int]:
        """word → its number."""
        return {word: number for number, word in enumerate(self.words)}

    def numbers(self, words: Sequence[str]) -> list[int]:
        """The words' numbers, -1 for a word outside the model."""
        return [self.number_of.get(word, -1) for word in words]

    def children(self, order: int, histories: np.ndarray, words: np.ndarray) -> np.ndarray:
        """(M,) rows of n-grams of ``order`` by history row and last word, -1 where there is none.

        Args:
            order: from 2.
            histories: (M,) rows one order lower, or -1.
            words: (M,) word numbers, or -1.
        """
        keys, wanted = self._keys[order - 1], histories * len(self.words) + words
        if not len(keys):
            return np.full(len(wanted), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where((keys[place] == wanted) & (histories >= 0) & (words >= 0), place, -1)

    def find(self, ngrams: np.ndarray) -> np.ndarray:
        """(M,) rows of ``ngrams``, (M, n) word numbers, in their order; -1 where absent."""
        rows = ngrams[:, 0].astype(np.int64)
        for place in range(1, ngrams.shape[1]):
            rows = self.children(place + 1, rows, ngrams[:, place].astype(np.int64))
        return rows

    def ngrams(self, order: int) -> np.ndarray:
        """(N, order) word numbers of all n-grams of one order."""
        level = self.orders[order - 1]
        if order == 1:
            return level.word[:, None]
        return np.column_stack([self.ngrams(order - 1)[level.history], level.word])

    def log10_probabilities(self, ngrams: np.ndarray) -> np.ndarray:
        """(M,) log10 probability of each n-gram's last word after the words before it.

        Args:
            ngrams: (M, n) word numbers, n at most the model's order; the last words are known.
        """
        rows = self.find(ngrams)
        order = ngrams.shape[1]
        result = self.orders[order - 1].log10_prob[rows]
        absent = np.flatnonzero(rows < 0)
        if order > 1 and len(absent):
            histories = self.find(ngrams[absent, :-1])
            backoff = np.where(histories >= 0, self.orders[order - 2].log10_backoff[histories], 0.0)
            result[absent] = backoff + self.log10_probabilities(ngrams[absent, 1:])
        return result

    def predicted_words(self) -> np.ndarray:
        """Numbers of the words that can follow a history: all but ``<s>``."""
        start = self.number_of.get(SENTENCE_START, -1)
        return np.array([n for n in range(len(self.words)) if n != start], dtype=np.int64)

    def restricted(self, kept: Sequence[np.ndarray]) -> ArpaModel:
        """The model with some of its n-grams alone, their weights as they are.

        Args:
            kept: by order, (N,) bool; the words and the history of a kept n-gram are kept.
        """
        words = tuple(word for word, keep in zip(self.words, kept[0], strict=True) if keep)
        new_word = np.cumsum(kept[0]) - 1
        new_row = np.zeros(1, dtype=np.int64)
        orders: list[NgramOrder] = []
        for level, keep in zip(self.orders, kept, strict=True):
            orders.append(
                NgramOrder(
                    history=new_row[level.history[keep]],
                    word=new_word[level.word[keep]],
                    log10_prob=level.log10_prob[keep],
                    log10_backoff=level.log10_backoff[keep],
                )
            )
            new_row = np.cumsum(keep) - 1
        while len(orders) > 1 and not len(orders[-1]):
            orders.pop()
        return ArpaModel(words, tuple(orders))

    @cached_property
    def _keys(self) -> list[np.ndarray]:
        return [level.history * len(self.words) + level.word for level in self.orders]


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts a text.

    Attributes:
        sentences, words: what the text holds.
        unknown_words: words outside the model; they are not scored.
        log10_prob: sum over known words and sentence ends.
    """

    sentences: int
    words: int
    unknown_words: int
    log10_prob: float

    @property
    def value(self) -> float:
        """Perplexity a known word or sentence end."""
        scored = self.words - self.unknown_words + self.sentences
        return float(10.0 ** (-self.log10_prob / max(scored, 1)))

    def __str__(self) -> str:
        return (
            f"perplexity {self.value:.2f} over {self.sentences} sentences, {self.words} words, "
            f"{self.unknown_words} of them outside the model"
        )


def perplexity(model: ArpaModel, sentences: Iterator[list[str]]) -> Perplexity:
    """Perplexity of a model on a text; an unknown word also cuts the history of the next ones."""
    words = unknown = count = 0
    total = 0.0
    for block in _blocks(sentences, 10_000):
        rows: dict[int, list[list[int]]] = {}
        for sentence in block:
            numbers = model.numbers([SENTENCE_START, *sentence, SENTENCE_END])
            for end in range(1, len(numbers)):
                if numbers[end] >= 0:
                    window = numbers[max(0, end + 1 - model.order) : end + 1]
                    rows.setdefault(len(window), []).append(window)
            unknown += sum(number < 0 for number in numbers[1:-1])
            words += len(sentence)
            count += 1
        total += sum(float(model.log10_probabilities(np.array(r)).sum()) for r in rows.values())
    return Perplexity(count, words, unknown, total)


def _blocks(items: Iterator[list[str]], size: int) -> Iterator[list[list[str]]]:
    block: list[list[str]] = []
    for item in items:
        block.append(item)
        if len(block) == size:
            yield block
            block = []
    yield block
