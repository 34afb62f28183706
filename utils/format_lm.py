#!/usr/bin/env python3
"""Turn an ARPA language model into G."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.lm.grammar import format_lm
from commandline import Tool

tool = Tool(
    summary="Turn an ARPA language model into the transducer G over a lang folder's words.",
    reads=[
        "LANG: a lang folder (utils/prepare_lang.py)",
        "ARPA: an n-gram model, gzip if the name ends with .gz",
    ],
    writes=[
        "LANG_TEST: a copy of LANG with G.fst",
        "LANG_TEST/lm.json: n-grams, and how many were dropped for words outside words.txt",
    ],
    example="utils/format_lm.py data/lang data/local/lm.arpa data/lang_test",
)
tool.add_argument("lang", type=Path)
tool.add_argument("arpa", type=Path)
tool.add_argument("lang_test", type=Path)


def main(options: argparse.Namespace) -> None:
    tool.build(
        options.lang_test,
        [options.lang, options.arpa],
        {},
        lambda folder: format_lm(options.lang, options.arpa, folder),
    )


if __name__ == "__main__":
    tool.run(main)
