"""Modified Kneser-Ney against the formula written out over strings, and an example by hand."""

import itertools
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from am.errors import InputError
from am.lm.kneser_ney import FALLBACK_DISCOUNTS, NgramSettings, discounts, train_ngram
from am.lm.model import ArpaModel


def random_sentences(seed: int, count: int = 120) -> list[list[str]]:
    """Sentences over twelve words of very different frequencies."""
    chooser = random.Random(seed)
    words = "abcdefghijkl"
    weights = [1.0 / rank**2 for rank in range(1, len(words) + 1)]
    return [chooser.choices(words, weights, k=chooser.randint(1, 7)) for _ in range(count)]


class Formula:
    """Chen and Goodman's p(word | history) by recursion over strings."""

    def __init__(self, sentences: list[list[str]], order: int, vocabulary: set[str]):
        self.order = order
        self.predicted = sorted(vocabulary | {"</s>"})
        raw: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order + 2)]
        for sentence in sentences:
            tokens = ["<s>", *sentence, "</s>"]
            for length in range(1, order + 1):
                for start in range(len(tokens) - length + 1):
                    raw[length][tuple(tokens[start : start + length])] += 1
        self.counts: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order + 1)]
        for length in range(1, order + 1):
            for ngram in raw[length]:
                if length == order or ngram[0] == "<s>":
                    self.counts[length][ngram] = raw[length][ngram]
                else:
                    before = {long[0] for long in raw[length + 1] if long[1:] == ngram}
                    self.counts[length][ngram] = len(before)
        del self.counts[1][("<s>",)]
        self.steps = [(0.0, 0.0, 0.0)] + [self._steps(c) for c in self.counts[1:]]

    @staticmethod
    def _steps(counts: Counter[tuple[str, ...]]) -> tuple[float, ...]:
        n = Counter(counts.values())
        if 0 in (n[1], n[2], n[3]):
            return (0.5, 1.0, 1.5)
        y = n[1] / (n[1] + 2 * n[2])
        found = tuple(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))
        return found if all(0 <= d <= i for i, d in enumerate(found, 1)) else (0.5, 1.0, 1.5)

    def __call__(self, word: str, history: tuple[str, ...]) -> float:
        length = len(history) + 1
        following = {n: c for n, c in self.counts[length].items() if n[:-1] == history}
        if length > 1 and not following:
            return self(word, history[1:])
        total = sum(following.values())
        steps = {n: self.steps[length][min(c, 3) - 1] for n, c in following.items()}
        gamma = sum(steps.values()) / total
        lower = self(word, history[1:]) if history else 1.0 / len(self.predicted)
        ngram = (*history, word)
        own = (following[ngram] - steps[ngram]) / total if ngram in following else 0.0
        return own + gamma * lower


def probability(model: ArpaModel, word: str, history: Sequence[str]) -> float:
    numbers = model.numbers([*history, word])
    return float(10 ** model.log10_probabilities(np.array([numbers]))[0])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_equals_the_formula_for_every_history(order: int) -> None:
    sentences = random_sentences(3)
    vocabulary = {word for sentence in sentences for word in sentence} | {"unseen"}
    formula = Formula(sentences, order, vocabulary)
    model = train_ngram(sentences, NgramSettings(order=order), sorted(vocabulary))
    assert order == 1 or formula.steps[order] != FALLBACK_DISCOUNTS
    histories: list[tuple[str, ...]] = []
    for length in range(order):
        plain = sorted(vocabulary)
        histories += itertools.product(plain, repeat=length)
        if length:
            histories += [("<s>", *h) for h in itertools.product(plain, repeat=length - 1)]
    for history in histories:
        found = [probability(model, word, history) for word in formula.predicted]
        expected = [formula(word, history) for word in formula.predicted]
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        assert sum(found) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("settings", [NgramSettings(4), NgramSettings(3, (0, 1, 2))])
def test_every_history_sums_to_one(settings: NgramSettings) -> None:
    model = train_ngram(random_sentences(7, 300), settings)
    predicted = model.predicted_words()
    assert "<s>" not in [model.words[number] for number in predicted]
    for order in range(1, model.order):
        for history in model.ngrams(order):
            ngrams = np.column_stack([np.tile(history, (len(predicted), 1)), predicted])
            assert (10 ** model.log10_probabilities(ngrams)).sum() == pytest.approx(1.0, abs=1e-9)


def test_by_hand() -> None:
    """Three sentences ``a``, one ``b``: too few counts of counts, so the discounts are the
    fallback's 0.5, 1, 1.5.

    Bigrams: <s> a 3, <s> b 1, a </s> 3, b </s> 1.  Continuation counts: a 1, b 1, </s> 2.
    Unigrams: p(a) = (1 - 0.5) / 4 + (2 / 4) / 3 = 7/24, p(</s>) = 1/4 + 1/6 = 10/24.
    p(a | <s>) = (3 - 1.5) / 4 + (2 / 4) 7/24 = 25/48; p(</s> | a) = 1.5 / 3 + 0.5 10/24 = 17/24.
    """
    model = train_ngram([["a"], ["a"], ["b"], ["a"]], NgramSettings(order=2))
    assert probability(model, "a", []) == pytest.approx(7 / 24)
    assert probability(model, "</s>", []) == pytest.approx(10 / 24)
    assert probability(model, "a", ["<s>"]) == pytest.approx(25 / 48)
    assert probability(model, "</s>", ["a"]) == pytest.approx(17 / 24)
    assert probability(model, "b", ["a"]) == pytest.approx(0.5 * 7 / 24)


def test_discounts() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [100, 40, 20, 12, 5])
    y = 100 / 180
    assert discounts(counts) == pytest.approx((1 - 2 * y * 0.4, 2 - 3 * y * 0.5, 3 - 4 * y * 0.6))
    assert discounts(np.array([1, 1, 2])) == FALLBACK_DISCOUNTS
    # More n-grams seen thrice than twice would make a discount negative.
    assert discounts(np.repeat([1, 2, 3, 4], [9, 1, 8, 1])) == FALLBACK_DISCOUNTS


def test_cutoffs_leave_out_rare_ngrams() -> None:
    sentences = random_sentences(5)
    model = train_ngram(sentences, NgramSettings(3, (0, 0, 1)))
    counts = Counter(
        trigram
        for sentence in sentences
        for trigram in zip(*(["<s>", *sentence, "</s>"][i:] for i in range(3)), strict=False)
    )
    kept = {tuple(model.words[n] for n in row) for row in model.ngrams(3)}
    assert kept == {trigram for trigram, count in counts.items() if count > 1}
    assert len(model.orders[1]) == len(train_ngram(sentences, NgramSettings(2)).orders[1])


def test_words_outside_the_vocabulary_become_the_unknown_word() -> None:
    known = train_ngram([["a", "b"]], NgramSettings(2), ["b", "a", "<UNK>", "c"])
    assert known.words == ("<s>", "</s>", "a", "b", "c")
    unknown = train_ngram([["a", "x"], ["y"]], NgramSettings(2), ["a"])
    assert unknown.words == ("<s>", "</s>", "<UNK>", "a")
    assert probability(unknown, "<UNK>", ["a"]) > probability(unknown, "a", ["a"])


def test_order_is_at_most_the_longest_sentence() -> None:
    assert train_ngram([["a"]], NgramSettings(order=5)).order == 3


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (NgramSettings(order=0), "order"),
        (NgramSettings(cutoffs=(-1,)), "negative"),
        (NgramSettings(cutoffs=(0, 2, 1)), "must not fall"),
    ],
)
def test_refused(settings: NgramSettings, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        train_ngram([["a"]], settings)
    with pytest.raises(InputError, match="no sentence"):
        train_ngram([], NgramSettings())
