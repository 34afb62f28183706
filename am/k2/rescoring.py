"""Other choices among a lattice's hypotheses: another language model, minimum Bayes risk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import kaldialign
import numpy as np

from am.errors import InputError
from am.k2.nbest import Hypothesis
from am.lang.lexicon import SENTENCE_END, SENTENCE_START
from am.lm.model import ArpaModel

LN_10 = float(np.log(10.0))


@dataclass(frozen=True)
class LanguageModelChange:
    """Takes one language model's score from hypotheses and gives them another's.

    Attributes:
        old: the model of the graph that the lattices were made with.
        new: the model to come in its place.
        words: word by word-id.
        scale: factor of both models' scores.
    """

    old: ArpaModel
    new: ArpaModel
    words: dict[int, str]
    scale: float = 1.0

    def rescored(self, hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
        """The hypotheses with their new scores, the best first.

        Raises:
            InputError: the new model lacks a word.
        """
        sentences = [[self.words[word] for word in one.word_ids] for one in hypotheses]
        new = sentence_scores(self.new, sentences, "the new language model")
        old = sentence_scores(self.old, sentences, "the old language model")
        changes = (self.scale * (new - old)).tolist()
        changed = [
            replace(one, score=one.score + change, total_score=one.total_score + change)
            for one, change in zip(hypotheses, changes, strict=True)
        ]
        return sorted(changed, key=lambda one: -one.score)


def sentence_scores(model: ArpaModel, sentences: Sequence[Sequence[str]], name: str) -> np.ndarray:
    """(sentences,) natural log probability of each sentence, its end included.

    Raises:
        InputError: the model, called ``name``, lacks a word.
    """
    windows: dict[int, list[list[int]]] = {}
    owners: dict[int, list[int]] = {}
    for sentence, words in enumerate(sentences):
        numbers = model.numbers([SENTENCE_START, *words, SENTENCE_END])
        if -1 in numbers[1:]:
            unknown = [*words, SENTENCE_END][numbers[1:].index(-1)]
            raise InputError(f"{name}: lacks the word '{unknown}'; train it with that vocabulary")
        for end in range(1, len(numbers)):
            window = numbers[max(0, end + 1 - model.order) : end + 1]
            windows.setdefault(len(window), []).append(window)
            owners.setdefault(len(window), []).append(sentence)
    scores = np.zeros(len(sentences))
    for length, rows in windows.items():
        np.add.at(scores, owners[length], LN_10 * model.log10_probabilities(np.array(rows)))
    return scores


def minimum_bayes_risk(hypotheses: Sequence[Hypothesis], scale: float = 1.0) -> Hypothesis:
    """The hypothesis with the fewest expected word errors.

    Its errors are counted against each hypothesis in turn, weighed with that one's probability
    (Stolcke et al., "Explicit word error minimization in N-best list rescoring", Eurospeech 1997).

    Args:
        hypotheses: at least one; of equals the first is taken.
        scale: factor of the scores that make the probabilities; below 1 flattens them.
    """
    totals = scale * np.array([one.total_score for one in hypotheses])
    weights = np.exp(totals - totals.max())
    risks = [
        sum(
            weight * kaldialign.edit_distance(other.word_ids, one.word_ids)["total"]
            for other, weight in zip(hypotheses, weights.tolist(), strict=True)
        )
        for one in hypotheses
    ]
    return hypotheses[int(np.argmin(risks))]
