"""Word errors of one utterance and of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import kaldialign

# The gap's symbol in kaldialign's alignments: no word is empty.
GAP = ""


@dataclass(frozen=True)
class WordErrors:
    """Counts that add up over utterances.

    Attributes:
        words: reference words.
        insertions, deletions, substitutions: of the alignment with the fewest errors.
    """

    words: int = 0
    insertions: int = 0
    deletions: int = 0
    substitutions: int = 0

    @property
    def errors(self) -> int:
        """All three kinds."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def wer(self) -> float:
        """Errors a reference word; infinite if there are errors but no reference words."""
        if self.words == 0:
            return float("inf") if self.errors else 0.0
        return self.errors / self.words

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(
            self.words + other.words,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.substitutions + other.substitutions,
        )

    def as_row(self) -> dict[str, float | int]:
        """For JSON: the error rate in percent, and the counts."""
        return {
            "wer_percent": round(100 * self.wer, 4),
            "words": self.words,
            "insertions": self.insertions,
            "deletions": self.deletions,
            "substitutions": self.substitutions,
        }


def align_words(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of reference and hypothesis word with the fewest errors; ``GAP`` stands for none."""
    return list(kaldialign.align(reference, hypothesis, GAP))


def errors_of_alignment(pairs: Sequence[tuple[str, str]]) -> WordErrors:
    """Count the errors of what :func:`align_words` returned."""
    insertions = sum(reference == GAP for reference, _ in pairs)
    deletions = sum(hypothesis == GAP for _, hypothesis in pairs)
    different = sum(reference != hypothesis for reference, hypothesis in pairs)
    return WordErrors(
        words=len(pairs) - insertions,
        insertions=insertions,
        deletions=deletions,
        substitutions=different - insertions - deletions,
    )


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """The word errors of one utterance."""
    return errors_of_alignment(align_words(reference, hypothesis))
