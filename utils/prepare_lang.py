#!/usr/bin/env python3
"""Make a lang folder from a lexicon."""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.lang.prepare import LangSettings, prepare_lang
from commandline import Tool

tool = Tool(
    summary="Make a lang folder (symbols, pronunciations, HMM topology, L) from a lexicon.",
    reads=["LEXICON: 'word phone phone ...' a line; a word may have several"],
    writes=[
        "LANG/phones.txt, words.txt: symbol tables",
        "LANG/lexicon.txt, lexiconp.txt: the lexicon with word-position phones",
        "LANG/phones/*.txt: phone classes, tree roots, questions, disambiguation symbols",
        "LANG/topology.json, oov.txt: HMM states of each phone, the unknown word",
        "LANG/L.fst, L_disambig.fst: the lexicon transducer",
    ],
    example="utils/prepare_lang.py --config conf/lang.yaml data/local/lexicon.txt data/lang",
)
tool.add_config(default="conf/lang.yaml")
tool.add_argument("lexicon", type=Path)
tool.add_argument("lang", type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(LangSettings, options)
    tool.build(
        options.lang,
        [options.lexicon],
        dataclasses.asdict(settings),
        lambda folder: prepare_lang(options.lexicon, settings, folder),
    )


if __name__ == "__main__":
    tool.run(main)
