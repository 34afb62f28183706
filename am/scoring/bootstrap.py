"""How sure an error rate, or a difference of two, is.

Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
ICASSP 2004: utterances (or speakers) are drawn with replacement, as many as there are, many
times; the error rates of the draws spread as those of other test sets would.

A system that was trained several times, from different seeds, has an error rate that also depends
on the seeds: a draw then also takes as many of its runs as there are, with replacement, and means
their rates over the same drawn units.  Two or three runs show little of the seeds' spread; the
intervals are then too narrow rather than too wide.

Shapes: N units (utterances or speakers), S runs of a system, R replications.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
# Entries drawn at a time: bounds the memory, whatever the size of the test set.
_DRAWS_AT_A_TIME = 4_000_000


@dataclass(frozen=True)
class Interval:
    """Bounds between which 95 % of the replications lie; error rates as fractions."""

    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """One system against another on the same units.

    Attributes:
        difference: error rate of the second minus that of the first, as a fraction; negative
            means the second is better.
        interval: of the difference.
        probability_of_improvement: share of the replications in which the second is better; one
            in which both are equal counts half.
        p_value: two-sided, of the matched-pairs test (:func:`matched_pairs_p_value`).
    """

    difference: float
    interval: Interval
    probability_of_improvement: float
    p_value: float


def wer_interval(
    errors: np.ndarray, words: np.ndarray, *, seed: int, replications: int = 10_000
) -> Interval:
    """95 % interval of the word error rate, or of its mean over runs.

    Args:
        errors: (N,) errors of each unit, or (S, N) of each run.
        words: (N,) reference words of each unit; some.
        seed: of the draws.
        replications: R.
    """
    runs = np.atleast_2d(errors)
    totals = resampled_totals(np.stack([*runs, words], axis=1), seed, replications)
    return _interval(_rate(_mean_of_drawn_runs(totals[:, :-1], seed, 0), totals[:, -1]))


def compare(
    first: np.ndarray,
    second: np.ndarray,
    words: np.ndarray,
    *,
    seed: int,
    replications: int = 10_000,
) -> Comparison:
    """Compare two systems; each draw takes the same units of both, but runs of each by itself.

    Args:
        first, second: (N,) errors of each unit under either system, or (S, N) of each of its runs.
        words: (N,) reference words of each unit.
        seed: of the draws.
        replications: R.
    """
    before, after = np.atleast_2d(first), np.atleast_2d(second)
    totals = resampled_totals(np.stack([*before, *after, words], axis=1), seed, replications)
    errors_before = _mean_of_drawn_runs(totals[:, : len(before)], seed, 0)
    errors_after = _mean_of_drawn_runs(totals[:, len(before) : -1], seed, 1)
    differences = _rate(errors_after - errors_before, totals[:, -1])
    return Comparison(
        difference=float((after.mean(axis=0) - before.mean(axis=0)).sum() / words.sum()),
        interval=_interval(differences),
        probability_of_improvement=float(
            np.mean(differences < 0) + 0.5 * np.mean(differences == 0)
        ),
        p_value=matched_pairs_p_value(first, second),
    )


def matched_pairs_p_value(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p-value that both systems make equally many errors a unit.

    The mean of the units' differences is taken as normally distributed (Gillick and Cox, "Some
    statistical issues in the comparison of speech recognition algorithms", ICASSP 1989, with
    whole utterances as segments).

    Args:
        first, second: (N,) errors of each unit, or (S, N) of each run, whose means are tested:
            the answer holds for these runs, not for others.
    """
    differences = np.atleast_2d(second).mean(axis=0) - np.atleast_2d(first).mean(axis=0)
    if not differences.any():
        return 1.0
    if len(differences) < 2:
        return float("nan")
    standard_error = differences.std(ddof=1) / math.sqrt(len(differences))
    if standard_error == 0.0:
        return 0.0
    return math.erfc(abs(differences.mean()) / standard_error / math.sqrt(2))


def resampled_totals(columns: np.ndarray, seed: int, replications: int) -> np.ndarray:
    """Sums over units drawn with replacement.

    Args:
        columns: (N, C) numbers of each unit.

    Returns:
        (R, C) float64.
    """
    generator = np.random.default_rng(seed)
    units = len(columns)
    values = columns.astype(np.float64)
    at_a_time = max(1, min(replications, _DRAWS_AT_A_TIME // units))
    totals = np.empty((replications, columns.shape[1]))
    for begin in range(0, replications, at_a_time):
        end = min(begin + at_a_time, replications)
        drawn = generator.integers(units, size=(end - begin, units))
        for column in range(columns.shape[1]):
            totals[begin:end, column] = values[drawn, column].sum(axis=1)
    return totals


def _mean_of_drawn_runs(totals: np.ndarray, seed: int, system: int) -> np.ndarray:
    """(R,) means of runs drawn with replacement from the columns of ``totals`` (R, S)."""
    num_runs = totals.shape[1]
    if num_runs == 1:
        return np.asarray(totals[:, 0])
    drawn = np.random.default_rng([seed, system]).integers(num_runs, size=totals.shape)
    means: np.ndarray = np.take_along_axis(totals, drawn, axis=1).mean(axis=1)
    return means


def _rate(errors: np.ndarray, words: np.ndarray) -> np.ndarray:
    # A draw of utterances that are all without reference words has no error rate.
    return errors[words > 0] / words[words > 0]


def _interval(rates: np.ndarray) -> Interval:
    low, high = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))
