"""A language model's text without what a test set says."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from lhotse import CutSet

from am.errors import InputError
from am.features.feature_data import CUTS_NAME
from am.lm.text import read_sentences
from am.scoring.transcripts import reference_words

log = logging.getLogger(__name__)

TEXT_NAME = "text.txt"
WORDS_NAME = "words.txt"
HELD_OUT_NAME = "held_out.txt"


def hold_out(text: Path, data: Path, folder: Path, max_count: int) -> None:
    """Take sentences and words of a test set out of a text.

    First the sentences go that the test set speaks word for word.  Of the rest, the test set's
    words that stand in at most ``max_count`` sentences are held out: these sentences go too.

    Args:
        text: a sentence a line, spelled as the transcripts are.
        data: the test set's cuts.
        folder: gets text.txt, what is left; words.txt, its vocabulary, sorted; held_out.txt, the
            test set's words outside of it; summary.json.
        max_count: 0: no words are held out but those that went with their sentences.

    Raises:
        InputError: nothing is left, or the test set has no words.
    """
    path = data / CUTS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a data folder")
    spoken = [reference_words(cut) for cut in CutSet.from_jsonl_lazy(path)]
    counts = Counter(word for words in spoken for word in words)
    if not counts:
        raise InputError(f"{path}: no cut has words; give transcribed data")
    all_sentences = list(read_sentences(text))
    of_test = {tuple(words) for words in spoken}
    unspoken = [words for words in all_sentences if tuple(words) not in of_test]
    sentences_of = Counter(word for words in unspoken for word in set(words))
    rare = {word for word in counts if sentences_of[word] <= max_count}
    left = [words for words in unspoken if rare.isdisjoint(words)]
    if not left:
        raise InputError(f"{text}: nothing is left of it; lower --max-count, or give more text")
    vocabulary = {word for words in left for word in words}
    outside = sorted(counts.keys() - vocabulary)
    _write_lines(folder / TEXT_NAME, map(" ".join, left))
    _write_lines(folder / WORDS_NAME, sorted(vocabulary))
    _write_lines(folder / HELD_OUT_NAME, outside)
    summary = {
        "sentences": len(all_sentences),
        "sentences_of_test": len(all_sentences) - len(unspoken),
        "sentences_of_held_out_words": len(unspoken) - len(left),
        "words": len(vocabulary),
        "words_outside": len(outside),
        "test_tokens": counts.total(),
        "test_tokens_outside": sum(counts[word] for word in outside),
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1))
    log.info(
        "%d of %d sentences left, %d words; %d of %d words spoken in %s are outside (%.1f %%)",
        len(left),
        len(all_sentences),
        len(vocabulary),
        summary["test_tokens_outside"],
        summary["test_tokens"],
        data,
        100 * summary["test_tokens_outside"] / summary["test_tokens"],
    )


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
