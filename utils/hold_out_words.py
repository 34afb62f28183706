#!/usr/bin/env python3
"""Take a test set's sentences and rare words out of a language model's text."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.features.feature_data import CUTS_NAME
from am.lm.held_out import hold_out
from commandline import Tool, whole_number

tool = Tool(
    summary="Take what a test set says out of a language model's text: its sentences, and those "
    "of its words that the text has seldom.",
    reads=["TEXT: a sentence a line, UTF-8, no ids", "DATA/cuts.jsonl.gz: the test set"],
    writes=[
        "OUTPUT/text.txt: the sentences left",
        "OUTPUT/words.txt: their words",
        "OUTPUT/held_out.txt: the words of DATA outside of these",
        "OUTPUT/summary.json: counts",
    ],
    example="utils/hold_out_words.py --max-count 1 data/local/lm_text.txt data/test "
    "data/subword/lm_text",
)
tool.add_argument(
    "--max-count",
    type=whole_number,
    default=0,
    help="words of DATA that are in at most so many sentences go, with these (%(default)s)",
)
for name in ("text", "data", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    tool.build(
        options.output,
        [options.text, options.data / CUTS_NAME],
        {"max_count": options.max_count},
        lambda folder: hold_out(options.text, options.data, folder, options.max_count),
    )


if __name__ == "__main__":
    tool.run(main)
