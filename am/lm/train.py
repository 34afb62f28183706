"""From a text file to an ARPA file."""

from __future__ import annotations

from pathlib import Path

from am.lm.arpa import write_arpa
from am.lm.kneser_ney import NgramSettings, train_ngram
from am.lm.pruning import prune_by_entropy
from am.lm.text import read_sentences, read_vocabulary


def train_arpa(
    text: Path,
    arpa: Path,
    settings: NgramSettings,
    *,
    vocabulary: Path | None = None,
    prune: float = 0.0,
) -> None:
    """Estimate a modified Kneser-Ney model, prune it and write it.

    Args:
        text: a sentence a line, without ids.
        arpa: file to write, gzip if its name ends with ``.gz``.
        settings: order and cutoffs.
        vocabulary: the model's words, one a line (Kaldi's ``words.txt`` serves); None: the text's.
        prune: entropy-pruning threshold, see :func:`am.lm.pruning.prune_by_entropy`.
    """
    words = None if vocabulary is None else read_vocabulary(vocabulary)
    model = train_ngram(read_sentences(text), settings, words)
    write_arpa(prune_by_entropy(model, prune), arpa, compress=arpa.suffix == ".gz")
