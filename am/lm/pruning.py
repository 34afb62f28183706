"""Entropy pruning of backoff models (Stolcke 1998, "Entropy-based pruning of backoff language
models"): an n-gram goes if the model's perplexity hardly rises without it.

With h' the history without its first word and alpha the backoff weights, leaving out ``h w``
changes the model's entropy by::

    - p(h) { p(w|h) [log p(w|h') + log alpha_new(h) - log p(w|h)]
             + backed-off mass of h [log alpha_new(h) - log alpha(h)] }

p(h) comes from the model itself.  Kneser-Ney's lower orders are poor estimates of it (Siivola et
al. 2007), so a pruned Kneser-Ney model loses more than one of another smoothing would.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from am.lang.lexicon import SENTENCE_END, SENTENCE_START
from am.lm.model import LOG10_ZERO, ArpaModel

log = logging.getLogger(__name__)

_LN10 = np.log(10.0)
# Rounding can leave a history's mass a little below zero.
_SMALLEST_MASS = 1e-12


def prune_by_entropy(model: ArpaModel, threshold: float) -> ArpaModel:
    """Leave out n-grams (not unigrams) whose absence raises the model's perplexity by a share
    below ``threshold``; the backoff weights are computed anew.

    As in SRILM, an n-gram that is the history of a kept one stays.

    Args:
        model: normalised.
        threshold: e.g. 1e-7; 0 leaves the model as it is.
    """
    if threshold <= 0.0:
        return model
    kept = [np.ones(len(level), dtype=bool) for level in model.orders]
    for order in range(model.order, 1, -1):
        kept[order - 1] = _perplexity_rise(model, order) >= threshold
        if order < model.order:
            kept[order - 1][model.orders[order].history[kept[order]]] = True
    pruned = with_new_backoffs(model.restricted(kept))
    for order, level in enumerate(model.orders, 1):
        log.info("%d-grams: %d of %d kept", order, int(kept[order - 1].sum()), len(level))
    return pruned


def with_new_backoffs(model: ArpaModel) -> ArpaModel:
    """The model with the backoff weights that make every history's probabilities sum to one."""
    orders = list(model.orders)
    for order in range(2, model.order + 1):
        so_far = ArpaModel(model.words, tuple(orders))
        left, left_lower = _masses(so_far, order)
        backoff = np.maximum(np.log10(left / left_lower), LOG10_ZERO)
        orders[order - 2] = replace(orders[order - 2], log10_backoff=backoff)
    return ArpaModel(model.words, tuple(orders))


def _masses(model: ArpaModel, order: int) -> tuple[np.ndarray, np.ndarray]:
    """For each history of n-grams of ``order``: one minus the sum of their probabilities, and
    one minus the sum of the same words' probabilities after the shorter history."""
    level = model.orders[order - 1]
    num_histories = len(model.orders[order - 2])
    own = 10.0**level.log10_prob
    lower = 10.0 ** model.log10_probabilities(model.ngrams(order)[:, 1:])
    left = 1.0 - np.bincount(level.history, own, num_histories)
    left_lower = 1.0 - np.bincount(level.history, lower, num_histories)
    return np.maximum(left, _SMALLEST_MASS), np.maximum(left_lower, _SMALLEST_MASS)


def _perplexity_rise(model: ArpaModel, order: int) -> np.ndarray:
    """(N,) relative rise of perplexity if each n-gram of ``order`` alone were left out."""
    level = model.orders[order - 1]
    ngrams = model.ngrams(order)
    log_p = level.log10_prob * _LN10
    log_lower = model.log10_probabilities(ngrams[:, 1:]) * _LN10
    left, left_lower = (mass[level.history] for mass in _masses(model, order))
    log_alpha = np.log(left) - np.log(left_lower)
    log_alpha_new = np.log(left + np.exp(log_p)) - np.log(left_lower + np.exp(log_lower))
    change = np.exp(log_p) * (log_lower + log_alpha_new - log_p) + left * (
        log_alpha_new - log_alpha
    )
    entropy = -np.exp(_log_history(model, ngrams[:, :-1])) * change
    return np.expm1(entropy)


def _log_history(model: ArpaModel, histories: np.ndarray) -> np.ndarray:
    """(M,) natural log probability of each history; ``<s>`` is as likely as ``</s>``."""
    first = histories[:, 0].copy()
    start, end = (model.number_of.get(mark, -1) for mark in (SENTENCE_START, SENTENCE_END))
    first[first == start] = end
    total = model.log10_probabilities(first[:, None])
    for length in range(2, histories.shape[1] + 1):
        total = total + model.log10_probabilities(histories[:, :length])
    return total * _LN10
