"""Entropy pruning against the entropy of the pruned model, computed over all words."""

import dataclasses

import numpy as np
import pytest
from test_kneser_ney import random_sentences

from am.lm.kneser_ney import NgramSettings, train_ngram
from am.lm.model import ArpaModel
from am.lm.pruning import _perplexity_rise, prune_by_entropy, with_new_backoffs


@pytest.fixture(scope="module")
def model() -> ArpaModel:
    return train_ngram(random_sentences(11), NgramSettings(order=3))


def distribution(model: ArpaModel, history: np.ndarray) -> np.ndarray:
    """p(word | history) for all words that can follow."""
    predicted = model.predicted_words()
    ngrams = np.column_stack([np.tile(history, (len(predicted), 1)), predicted])
    return 10 ** model.log10_probabilities(ngrams)


@pytest.mark.parametrize("order", [2, 3])
def test_estimated_rise_is_that_of_the_model_without_the_ngram(
    model: ArpaModel, order: int
) -> None:
    rises = _perplexity_rise(model, order)
    has_children = np.zeros(len(model.orders[order - 1]), dtype=bool)
    if order < model.order:
        has_children[model.orders[order].history] = True
    for row in np.flatnonzero(~has_children)[::7]:
        kept = [np.ones(len(level), dtype=bool) for level in model.orders]
        kept[order - 1][row] = False
        history = model.ngrams(order)[row, :-1]
        before = distribution(model, history)
        after = distribution(with_new_backoffs(model.restricted(kept)), history)
        # p(h), <s> counting as </s>.
        first = model.words[history[0]].replace("<s>", "</s>")
        p_history = 10 ** model.log10_probabilities(np.array([model.numbers([first])]))[0]
        if len(history) == 2:
            p_history *= 10 ** model.log10_probabilities(history[None])[0]
        entropy = p_history * (before * np.log(before / after)).sum()
        assert rises[row] == pytest.approx(np.expm1(entropy), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("threshold", [1e-5, 1e-3, 1e-2])
def test_pruned_model_is_smaller_and_sums_to_one(model: ArpaModel, threshold: float) -> None:
    pruned = prune_by_entropy(model, threshold)
    assert sum(map(len, pruned.orders)) < sum(map(len, model.orders))
    for order in range(1, pruned.order):
        for history in pruned.ngrams(order):
            assert distribution(pruned, history).sum() == pytest.approx(1.0, abs=1e-9)


def test_limits(model: ArpaModel) -> None:
    assert prune_by_entropy(model, 0.0) is model
    unigrams = prune_by_entropy(model, 1e9)
    assert unigrams.order == 1
    np.testing.assert_array_equal(unigrams.orders[0].log10_prob, model.orders[0].log10_prob)


def test_new_backoffs_of_a_whole_model_are_its_own(model: ArpaModel) -> None:
    without = dataclasses.replace(
        model,
        orders=tuple(
            dataclasses.replace(level, log10_backoff=np.zeros(len(level))) for level in model.orders
        ),
    )
    again = with_new_backoffs(without)
    for order in range(1, model.order):
        for history in model.ngrams(order):
            np.testing.assert_allclose(
                distribution(again, history), distribution(model, history), rtol=1e-9
            )
