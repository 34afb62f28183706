#!/usr/bin/env python3
"""Spell a text in the pieces of a lang folder."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.lang.prepare_subword import text_to_pieces
from commandline import Tool

tool = Tool(
    summary="Spell a text in the pieces of a lang folder, to train a language model over pieces.",
    reads=[
        "LANG: a lang folder of pieces (utils/prepare_subword_lang.py)",
        "TEXT: a sentence a line, UTF-8, no ids",
    ],
    writes=["OUTPUT: the sentences in pieces, separated by spaces"],
    example="utils/text_to_pieces.py data/lang_subword data/local/lm_text.txt "
    "data/local/lm_pieces.txt",
)
for name in ("lang", "text", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    tool.build(
        options.output,
        [options.lang, options.text],
        {},
        lambda path: text_to_pieces(options.lang, options.text, path),
        is_folder=False,
    )


if __name__ == "__main__":
    tool.run(main)
