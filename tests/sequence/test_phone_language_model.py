"""The phone grammar against relative frequencies counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from am.errors import InputError
from am.graph.arrays import FstArrays
from am.sequence.phone_language_model import phone_grammar

SENTENCES = [[1, 2, 1, 2], [1, 2], [2]]


def log_probability(grammar: FstArrays, phones: list[int]) -> float:
    """Of a whole utterance; −inf where the grammar does not accept it."""
    state, total = grammar.start, 0.0
    for phone in phones:
        (arcs,) = np.nonzero((grammar.source == state) & (grammar.ilabel == phone))
        if not len(arcs):
            return -math.inf
        (arc,) = arcs  # deterministic
        total -= float(grammar.weight[arc])
        state = int(grammar.nextstate[arc])
    return total - float(grammar.final[state])


def test_bigrams_by_hand() -> None:
    grammar = phone_grammar(SENTENCES, 2)
    # start: 1 twice, 2 once; after 1: 2 three times; after 2: 1 once, the end three times.
    expected = {(2,): 1 / 3 * 3 / 4, (1, 2): 2 / 3 * 3 / 4, (1, 2, 1, 2): 2 / 3 / 4 * 3 / 4}
    for phones, probability in expected.items():
        found = log_probability(grammar, list(phones))
        assert found == pytest.approx(math.log(probability), rel=1e-6)
    assert log_probability(grammar, [1, 1]) == log_probability(grammar, [1]) == -math.inf
    assert grammar.num_states == 3 and grammar.num_arcs == 4
    np.testing.assert_array_equal(grammar.ilabel, grammar.olabel)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_after_each_history_sum_to_one(order: int) -> None:
    rng = np.random.default_rng(order)
    sentences = [rng.integers(1, 5, rng.integers(1, 9)).tolist() for _ in range(20)]
    grammar = phone_grammar(sentences, order)
    mass = np.exp(-grammar.final.astype(float))
    np.add.at(mass, grammar.source, np.exp(-grammar.weight.astype(float)))
    np.testing.assert_allclose(mass, 1.0, rtol=1e-5)
    assert all(np.isfinite(log_probability(grammar, phones)) for phones in sentences)


def test_bad_order() -> None:
    with pytest.raises(InputError, match="order 0"):
        phone_grammar(SENTENCES, 0)
