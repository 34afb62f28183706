"""Systems of words and of pieces beside each other, on words outside a vocabulary too."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from lhotse import CutSet

from am.errors import InputError
from am.features.feature_data import CUTS_NAME
from am.lang.subword_model import SubwordDescription
from am.lm.text import read_vocabulary
from am.scoring.bootstrap import compare, wer_interval
from am.scoring.results import (
    comparison_cells,
    machine_section,
    markdown_table,
    percent_interval,
)
from am.scoring.score import error_columns
from am.scoring.systems import NOTHING, System, check_same_utterances, read_system
from am.scoring.transcripts import HYPOTHESES_NAME, read_transcripts, reference_words
from am.scoring.word_errors import GAP, align_words

WORDS, PIECES = "words", "pieces"


@dataclass(frozen=True)
class OutsideCounts:
    """Words of one utterance, or of many, by whether they are outside a vocabulary.

    Attributes:
        spoken: reference words outside.
        recovered: of these, those that the alignment sets beside the same word.
        claimed: hypothesis words outside.
        known: reference words inside.
        known_right: of these, those that the alignment sets beside the same word.
    """

    spoken: int
    recovered: int
    claimed: int
    known: int
    known_right: int


def count_outside(
    reference: Sequence[str], hypothesis: Sequence[str], vocabulary: Collection[str]
) -> OutsideCounts:
    """The counts of one utterance, by the alignment with the fewest errors."""
    pairs = [pair for pair in align_words(reference, hypothesis) if pair[0] != GAP]
    outside = [heard == spoken for spoken, heard in pairs if spoken not in vocabulary]
    known = [heard == spoken for spoken, heard in pairs if spoken in vocabulary]
    return OutsideCounts(
        spoken=len(outside),
        recovered=sum(outside),
        claimed=sum(word not in vocabulary for word in hypothesis),
        known=len(known),
        known_right=sum(known),
    )


def open_vocabulary_table(
    words: Mapping[str, Path],
    pieces: Mapping[str, Path],
    *,
    test_set: str,
    data: Path,
    vocabulary: Path,
    seed: int = 1,
) -> str:
    """Compare each system of words with the system of pieces of the same name.

    Args:
        words, pieces: name → folder with ``decode_TESTSET`` and ``score_TESTSET``.
        test_set: its name.
        data: its cuts.
        vocabulary: the words of both language models' text, one a line.
        seed: of the bootstrap.

    Returns:
        Markdown.

    Raises:
        InputError: the names differ, a system is not scored, or the two were scored on different
            utterances or words.
    """
    if not words or set(words) != set(pieces):
        raise InputError("give --words and --pieces the same names, at least one")
    known = set(read_vocabulary(vocabulary))
    references = _references(data)
    rates, comparisons = [], []
    counts = np.zeros((0, 5), np.int64)
    for name in words:
        of_words = read_system(f"{name}, {WORDS}", words[name], [test_set])
        of_pieces = read_system(f"{name}, {PIECES}", pieces[name], [test_set])
        check_same_utterances([of_words, of_pieces], test_set)
        for system in (of_words, of_pieces):
            counts = _counts(system, test_set, references, known)
            rates.append([system.name, *_rate_cells(system, test_set, counts, seed)])
        comparisons.append([name, *_comparison(of_words, of_pieces, test_set, seed)])
    outside, inside = (int(total) for total in counts.sum(axis=0)[[0, 3]])
    sections = [
        "# Words and pieces",
        f"{outside} of the {outside + inside} words spoken in {test_set} "
        f"({100 * outside / max(outside + inside, 1):.1f} %) are outside the {len(known)} words of "
        "the language models' text. Rates in percent, [95 % bootstrap interval]. “known words "
        "wrong”: reference words inside that vocabulary which the alignment does not set beside "
        "the same word; “recovered”: those outside which it does; “precision”: the share of these "
        "among all words outside that were put out.",
        markdown_table(
            ["system", "dev", "word errors", "known words wrong", "recovered", "precision"], rates
        ),
        "## Significance",
        "Pieces against words: the difference of word error rates in percent points [95 % "
        "interval], the bootstrap probability that pieces are better (Bisani and Ney, 2004), and "
        "the two-sided p-value of the matched-pairs test over utterances.",
        markdown_table(["system", "difference", "P(better)", "p-value"], comparisons),
        machine_section(seed),
    ]
    return "\n\n".join(sections) + "\n"


def _references(data: Path) -> dict[str, list[str]]:
    path = data / CUTS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a data folder")
    return {cut.id: reference_words(cut) for cut in CutSet.from_jsonl_lazy(path)}


def _counts(
    system: System, test_set: str, references: Mapping[str, list[str]], known: Collection[str]
) -> np.ndarray:
    """(utterances, 5) int64, the columns of :class:`OutsideCounts`."""
    decoded = system.folder / f"decode_{test_set}"
    hypotheses = read_transcripts(decoded / HYPOTHESES_NAME)
    description = SubwordDescription.load(decoded)
    rows = []
    for cut_id, words in references.items():
        if description is not None:
            words = description.text_rules.words(" ".join(words))
        rows.append(astuple(count_outside(words, hypotheses.get(cut_id, []), known)))
    return np.array(rows, dtype=np.int64)


def _rate_cells(system: System, test_set: str, counts: np.ndarray, seed: int) -> list[str]:
    errors, num_words = error_columns(u.errors for u in system.utterances[test_set])
    spoken, recovered, claimed, known, known_right = counts.T
    return [
        f"{system.dev['wer_percent']:.1f}" if "wer_percent" in system.dev else NOTHING,
        _rate_cell(errors, num_words, seed),
        _rate_cell(known - known_right, known, seed),
        _rate_cell(recovered, spoken, seed),
        _rate_cell(recovered, claimed, seed),
    ]


def _rate_cell(part: np.ndarray, whole: np.ndarray, seed: int) -> str:
    if whole.sum() == 0:
        return NOTHING
    # Draws without the words counted have no rate.
    kept = whole > 0
    interval = wer_interval(part[kept], whole[kept], seed=seed)
    return f"{100 * part.sum() / whole.sum():.1f} {percent_interval(interval)}"


def _comparison(words: System, pieces: System, test_set: str, seed: int) -> list[str]:
    before, after = words.errors_by_cut([test_set]), pieces.errors_by_cut([test_set])
    cuts = sorted(before)
    errors_before, num_words = error_columns(before[cut] for cut in cuts)
    errors_after, _ = error_columns(after[cut] for cut in cuts)
    return comparison_cells(compare(errors_before, errors_after, num_words, seed=seed))
