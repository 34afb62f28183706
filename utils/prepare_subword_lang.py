#!/usr/bin/env python3
"""Make a lang folder of pieces and graphemes from text."""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.lang.prepare_subword import SubwordSettings, prepare_subword_lang
from commandline import Tool

tool = Tool(
    summary="Make a lang folder whose words are pieces and whose phones are graphemes, without a "
    "lexicon.",
    reads=[
        "TEXT: of the language model, a sentence a line, UTF-8, no ids",
        "a sentencepiece model, if --model names one; otherwise one is trained on TEXT",
    ],
    writes=[
        "LANG: what utils/prepare_lang.py writes; words.txt are the pieces, phones.txt the "
        "graphemes",
        "LANG/sentencepiece.model: the model of the pieces",
        "LANG/subword.json: its fingerprint, and the rules by which text becomes words",
    ],
    example="utils/prepare_subword_lang.py --config conf/subword.yaml data/local/lm_text.txt "
    "data/lang_subword",
)
tool.add_config(default="conf/subword.yaml")
tool.add_argument("--model", type=Path, help="a sentencepiece model, instead of training one")
tool.add_argument("text", type=Path)
tool.add_argument("lang", type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(SubwordSettings, options)
    tool.build(
        options.lang,
        [options.text, options.model],
        dataclasses.asdict(settings),
        lambda folder: prepare_subword_lang(options.text, settings, folder, model=options.model),
    )


if __name__ == "__main__":
    tool.run(main)
