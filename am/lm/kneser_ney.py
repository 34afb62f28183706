"""Interpolated modified Kneser-Ney smoothing (Chen and Goodman 1998, TR-10-98, section 4.1).

With c(h w) the count of word w after history h, h' the history without its first word, and
c(h) = sum over w of c(h w)::

    p(w | h) = (c(h w) - D(c(h w))) / c(h)  +  gamma(h) p(w | h')
    gamma(h) = the mass that the discounts D took from h

Counts of n-grams shorter than the longest are continuation counts (how many different words were
seen before them), except of those that begin with ``<s>``, before which nothing can stand.  The
unigrams are interpolated with a uniform distribution over the vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from am.errors import InputError
from am.lang.lexicon import SENTENCE_END, SENTENCE_START
from am.lm.model import LOG10_ZERO, ArpaModel, NgramOrder

log = logging.getLogger(__name__)

# Where the counts of counts allow no estimate: lmplz's --discount_fallback.
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class NgramSettings:
    """How an n-gram model is estimated.

    Attributes:
        order: length of the longest n-grams.
        cutoffs: by order from 1: n-grams of at most this count are left out (0: none).  The
            last one holds for the orders above.  Never applied to unigrams.
        unknown_word: stands for words outside a given vocabulary; in the model only if the text
            has such words.
    """

    order: int = 3
    cutoffs: tuple[int, ...] = ()
    unknown_word: str = "<UNK>"

    def cutoff(self, order: int) -> int:
        """Highest count that is left out."""
        if order == 1 or not self.cutoffs:
            return 0
        return self.cutoffs[min(order, len(self.cutoffs)) - 1]

    def check(self) -> None:
        """Raise InputError for a value outside its range."""
        if self.order < 1:
            raise InputError(f"order must be at least 1, not {self.order}")
        if any(cutoff < 0 for cutoff in self.cutoffs):
            raise InputError("cutoffs must not be negative")
        if list(self.cutoffs) != sorted(self.cutoffs):
            raise InputError("cutoffs must not fall with the order: histories would be lost")


@dataclass(frozen=True)
class _CountedOrder:
    """The different n-grams of one order, sorted by history and word.

    Attributes:
        history, suffix: (N,) rows one order lower of the n-gram without its last, first word.
        word: (N,) number of the last word.
        count: (N,) how often it stands in the text.
        starts_sentence: (N,) bool, whether its first word is ``<s>``.
    """

    history: np.ndarray
    suffix: np.ndarray
    word: np.ndarray
    count: np.ndarray
    starts_sentence: np.ndarray


def train_ngram(
    sentences: Iterable[list[str]],
    settings: NgramSettings,
    vocabulary: Sequence[str] | None = None,
) -> ArpaModel:
    """Estimate a model.

    Args:
        sentences: words, without sentence marks.
        settings: order and cutoffs.
        vocabulary: the words of the model, seen or not; words of the text outside it become the
            unknown word.  None: the words of the text.

    Raises:
        InputError: a setting is out of range, or there is no sentence.
    """
    settings.check()
    words, tokens, starts = _number_tokens(sentences, settings, vocabulary)
    counted = _count(tokens, starts, len(words), settings.order)
    if len(counted) < settings.order:
        log.warning(
            "no sentence holds an n-gram of order %d; the model has order %d",
            settings.order,
            len(counted),
        )
    orders: list[NgramOrder] = []
    lower = np.empty(0)
    for order, level in enumerate(counted, 1):
        higher = counted[order] if order < len(counted) else None
        counts = _adjusted_counts(order, level, higher)
        estimate = _Estimate(order, level, counts, level.count > settings.cutoff(order))
        if order == 1:
            lower = estimate.unigrams()
        else:
            gamma = estimate.leftover_mass(len(lower))
            orders[-1] = replace(orders[-1], log10_backoff=_log10(gamma))
            lower = estimate.interpolated(gamma, lower)
        log10_prob = _log10(lower)
        orders.append(NgramOrder(level.history, level.word, log10_prob, np.zeros(len(lower))))
    kept = [
        (level.count > settings.cutoff(order)) | (order == 1)
        for order, level in enumerate(counted, 1)
    ]
    return ArpaModel(tuple(words), tuple(orders)).restricted(kept)


def _number_tokens(
    sentences: Iterable[list[str]], settings: NgramSettings, vocabulary: Sequence[str] | None
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The model's words (sorted, marks first), the text as word numbers, where sentences start."""
    numbers: dict[str, int] = {SENTENCE_START: 0, SENTENCE_END: 1}
    known = None if vocabulary is None else set(vocabulary) - {settings.unknown_word}
    tokens: list[int] = []
    starts: list[int] = []
    unknown = 0
    for sentence in sentences:
        starts.append(len(tokens))
        tokens.append(0)
        for word in sentence:
            if known is not None and word not in known:
                word = settings.unknown_word
                unknown += 1
            tokens.append(numbers.setdefault(word, len(numbers)))
        tokens.append(1)
    if not starts:
        raise InputError("the text of the language model holds no sentence; give one a line")
    log.info("%d sentences, %d words", len(starts), len(tokens) - 2 * len(starts))
    if unknown:
        log.warning("%d words outside the vocabulary became %s", unknown, settings.unknown_word)
    marks, seen = list(numbers)[:2], list(numbers)[2:]
    words = marks + sorted({*seen, *(known or ())})
    number_of = {word: number for number, word in enumerate(words)}
    final_number = np.array([number_of[word] for word in numbers], dtype=np.int64)
    return words, final_number[np.array(tokens)], np.array(starts)


def _count(
    tokens: np.ndarray, starts: np.ndarray, num_words: int, order: int
) -> list[_CountedOrder]:
    """Count the n-grams of every order up to ``order``, or to the longest that there is."""
    lengths = np.diff(np.append(starts, len(tokens)))
    place = np.arange(len(tokens)) - np.repeat(starts, lengths)
    words = np.arange(num_words)
    levels = [
        _CountedOrder(
            history=np.zeros(num_words, dtype=np.int64),
            suffix=np.zeros(num_words, dtype=np.int64),
            word=words,
            count=np.bincount(tokens, minlength=num_words),
            starts_sentence=words == 0,
        )
    ]
    # By place in the text, the row of the n-gram of the current order that ends there.
    rows = tokens
    for length in range(2, order + 1):
        ends = np.flatnonzero(place >= length - 1)
        if not len(ends):
            break
        keys, first, inverse, count = np.unique(
            rows[ends - 1] * num_words + tokens[ends],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        history, word = np.divmod(keys, num_words)
        suffix = rows[ends[first]]
        started = levels[-1].starts_sentence[history]
        levels.append(_CountedOrder(history, suffix, word, count, started))
        rows = np.full(len(tokens), -1, dtype=np.int64)
        rows[ends] = inverse
    return levels


def _adjusted_counts(order: int, level: _CountedOrder, higher: _CountedOrder | None) -> np.ndarray:
    """(N,) Kneser-Ney's counts of the n-grams of one order."""
    counts = level.count
    if higher is not None:
        continuations = np.bincount(higher.suffix, minlength=len(counts))
        counts = np.where(level.starts_sentence, counts, continuations)
    if order == 1:
        # <s> is never predicted.
        counts = np.where(level.starts_sentence, 0, counts)
    return counts


def discounts(counts: np.ndarray, order: int = 0) -> tuple[float, float, float]:
    """D1, D2, D3+ of Chen and Goodman's equation 26, or the fallback if they are no discounts.

    Args:
        counts: of the n-grams of one order.
        order: for the log.
    """
    n1, n2, n3, n4 = (int((counts == value).sum()) for value in (1, 2, 3, 4))
    if min(n1, n2, n3) > 0:
        ratio = n1 / (n1 + 2.0 * n2)
        found = (
            1.0 - 2.0 * ratio * n2 / n1,
            2.0 - 3.0 * ratio * n3 / n2,
            3.0 - 4.0 * ratio * n4 / n3,
        )
        if all(0.0 <= value <= limit for limit, value in enumerate(found, 1)):
            return found
    log.warning(
        "%d-grams: counts of counts %s allow no discounts; using %s",
        order,
        (n1, n2, n3, n4),
        FALLBACK_DISCOUNTS,
    )
    return FALLBACK_DISCOUNTS


class _Estimate:
    """Probabilities of the n-grams of one order."""

    def __init__(self, order: int, level: _CountedOrder, counts: np.ndarray, kept: np.ndarray):
        self._level = level
        self._counts = counts
        steps = np.array([0.0, *discounts(counts[counts > 0], order)])
        discounted = counts - steps[np.minimum(counts, 3)]
        # What is left out by a cutoff gives all its mass to the shorter history.
        self._discounted = discounted if order == 1 else np.where(kept, discounted, 0.0)
        log.info("%d-grams: %d, discounts %.3f %.3f %.3f", order, len(counts), *steps[1:])

    def unigrams(self) -> np.ndarray:
        """(words,) probabilities, ``<s>`` 0."""
        total = self._counts.sum()
        leftover = (total - self._discounted.sum()) / total
        probs = self._discounted / total + leftover / (len(self._counts) - 1)
        return np.where(self._level.starts_sentence, 0.0, probs)

    def leftover_mass(self, num_histories: int) -> np.ndarray:
        """(histories,) gamma; 1 for a history that no word follows."""
        taken = np.bincount(self._level.history, self._counts - self._discounted, num_histories)
        total = self._totals(num_histories)
        return np.where(total > 0, taken / np.maximum(total, 1), 1.0)

    def interpolated(self, gamma: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """(N,) probabilities; ``lower``: those of one order lower."""
        own = self._discounted / self._totals(len(gamma))[self._level.history]
        return own + gamma[self._level.history] * lower[self._level.suffix]

    def _totals(self, num_histories: int) -> np.ndarray:
        return np.bincount(self._level.history, self._counts, num_histories)


def _log10(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log10(values), LOG10_ZERO)
