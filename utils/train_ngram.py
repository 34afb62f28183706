#!/usr/bin/env python3
"""Train an n-gram language model."""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.lm.arpa import read_arpa
from am.lm.kneser_ney import NgramSettings
from am.lm.model import perplexity
from am.lm.text import read_sentences
from am.lm.train import train_arpa
from commandline import Tool, positive_int


def counts(text: str) -> tuple[int, ...]:
    """An option's value that must be whole numbers, separated by commas."""
    return tuple(int(count) for count in text.split(","))


tool = Tool(
    summary="Train an n-gram model with interpolated modified Kneser-Ney smoothing.",
    reads=[
        "TEXT: a sentence a line, UTF-8, no ids",
        "--vocabulary WORDS: the model's words (data/lang/words.txt serves)",
    ],
    writes=["ARPA: the model, gzip if the name ends with .gz"],
    example="utils/train_ngram.py --order 3 data/local/lm_text.txt data/local/lm.arpa",
)
tool.add_argument("--order", type=positive_int, default=3, help="longest n-grams (%(default)s)")
tool.add_argument(
    "--cutoffs",
    type=counts,
    default=(),
    metavar="COUNT,COUNT,...",
    help="by order, n-grams seen at most so often are left out, e.g. 0,0,1 (none)",
)
tool.add_argument(
    "--prune", type=float, default=0.0, help="entropy-pruning threshold, e.g. 1e-7 (none)"
)
tool.add_argument("--vocabulary", type=Path, help="file of the model's words (those of TEXT)")
tool.add_argument(
    "--unknown-word", default="<UNK>", help="for words outside --vocabulary (%(default)s)"
)
tool.add_argument("--perplexity-on", type=Path, metavar="FILE", help="text to measure it on")
tool.add_argument("text", type=Path)
tool.add_argument("arpa", type=Path)


def main(options: argparse.Namespace) -> None:
    settings = NgramSettings(options.order, options.cutoffs, options.unknown_word)
    tool.build(
        options.arpa,
        [path for path in (options.text, options.vocabulary) if path],
        {"prune": options.prune, **dataclasses.asdict(settings)},
        lambda arpa: train_arpa(
            options.text, arpa, settings, vocabulary=options.vocabulary, prune=options.prune
        ),
        is_folder=False,
    )
    if options.perplexity_on:
        print(perplexity(read_arpa(options.arpa), read_sentences(options.perplexity_on)))


if __name__ == "__main__":
    tool.run(main)
