"""The bootstrap against distributions that are known."""

import kaldialign
import numpy as np
import pytest
from scipy import stats

from am.scoring.bootstrap import compare, matched_pairs_p_value, resampled_totals, wer_interval


def test_one_word_utterances_are_binomial() -> None:
    # 400 utterances of a word, 60 of them wrong: a draw's errors are Binomial(400, 0.15).
    errors = np.repeat([1, 0], [60, 340])
    interval = wer_interval(errors, np.ones(400), seed=1)
    low, high = stats.binom(400, 0.15).ppf([0.025, 0.975]) / 400
    assert interval.low == pytest.approx(low, abs=0.004)
    assert interval.high == pytest.approx(high, abs=0.004)


def test_totals_have_the_moments_of_draws_with_replacement() -> None:
    columns = np.array([[3, 10], [0, 4], [7, 12], [1, 1]])
    totals = resampled_totals(columns, seed=5, replications=40_000)
    assert totals.mean(axis=0) == pytest.approx(columns.sum(axis=0), rel=0.02)
    expected = 4 * np.cov(columns.T, bias=True)
    assert np.cov(totals.T) == pytest.approx(expected, rel=0.05)


def test_draws_do_not_depend_on_how_many_are_made_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = np.arange(20).reshape(10, 2)
    at_once = resampled_totals(columns, seed=2, replications=50)
    monkeypatch.setattr("am.scoring.bootstrap._DRAWS_AT_A_TIME", 30)
    np.testing.assert_array_equal(at_once, resampled_totals(columns, seed=2, replications=50))


def test_interval_agrees_with_kaldialign() -> None:
    generator = np.random.default_rng(0)
    references, hypotheses = [], []
    for _ in range(200):
        words = [str(word) for word in generator.integers(0, 50, generator.integers(3, 12))]
        references.append(words)
        hypotheses.append(["x" if generator.random() < 0.2 else word for word in words])
    errors = np.array([hypothesis.count("x") for hypothesis in hypotheses])
    interval = wer_interval(errors, np.array([len(r) for r in references]), seed=1)
    known = kaldialign.bootstrap_wer_ci(references, hypotheses, replications=10_000, seed=3)
    assert interval.low == pytest.approx(known["ci95min"], abs=0.004)
    assert interval.high == pytest.approx(known["ci95max"], abs=0.004)


def test_same_seed_same_interval() -> None:
    errors, words = np.array([1, 2, 0, 4]), np.array([5, 5, 5, 5])
    assert wer_interval(errors, words, seed=1) == wer_interval(errors, words, seed=1)
    assert wer_interval(errors, words, seed=1, replications=50) != wer_interval(
        errors, words, seed=2, replications=50
    )


def test_all_utterances_alike_have_no_spread() -> None:
    interval = wer_interval(np.full(10, 2), np.full(10, 8), seed=1)
    assert (interval.low, interval.high) == (0.25, 0.25)


def test_comparison_of_equals() -> None:
    errors, words = np.array([1, 0, 3]), np.array([5, 6, 7])
    comparison = compare(errors, errors, words, seed=1)
    assert comparison.difference == 0.0
    assert comparison.probability_of_improvement == 0.5
    assert comparison.p_value == 1.0


def test_comparison_sees_a_sure_improvement() -> None:
    generator = np.random.default_rng(1)
    words = np.full(300, 10)
    before = generator.binomial(10, 0.3, 300)
    after = generator.binomial(before, 0.8)
    comparison = compare(before, after, words, seed=1)
    assert comparison.difference == pytest.approx((after.sum() - before.sum()) / 3000)
    assert comparison.interval.low < comparison.difference < comparison.interval.high < 0
    assert comparison.probability_of_improvement > 0.999
    assert comparison.p_value < 0.001
    backwards = compare(after, before, words, seed=1)
    assert backwards.probability_of_improvement < 0.001


def test_probability_of_improvement_is_that_of_a_coin() -> None:
    # One word an utterance; the second system is right in 12 and wrong in 8 where they differ.
    first = np.repeat([1, 0, 1], [12, 8, 80])
    second = np.repeat([0, 1, 1], [12, 8, 80])
    comparison = compare(first, second, np.ones(100), seed=1, replications=40_000)
    # The difference of a draw is approximately normal with mean 4 and variance 20 - 4² / 100.
    expected = stats.norm.cdf(4 / np.sqrt(20 - 0.16))
    assert comparison.probability_of_improvement == pytest.approx(expected, abs=0.01)


def test_matched_pairs_is_the_paired_t_test_of_many_utterances() -> None:
    generator = np.random.default_rng(2)
    first, second = generator.poisson(2.0, 2000), generator.poisson(2.1, 2000)
    known = stats.ttest_rel(first, second).pvalue
    assert matched_pairs_p_value(first, second) == pytest.approx(known, abs=1e-3)


def test_matched_pairs_at_the_edges() -> None:
    assert matched_pairs_p_value(np.array([1, 2]), np.array([1, 2])) == 1.0
    assert matched_pairs_p_value(np.array([1, 2]), np.array([2, 3])) == 0.0
    assert np.isnan(matched_pairs_p_value(np.array([1]), np.array([2])))
