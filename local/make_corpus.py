#!/usr/bin/env python3
"""Speak the embedded corpus; see the usage."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from am.corpus.build import make_corpus
from am.corpus.settings import CorpusSettings
from commandline import Tool

tool = Tool(
    summary="Make the embedded corpus: commands to a voice assistant, spoken by espeak-ng.",
    reads=["conf/corpus.yaml   minutes, voices, noise, language-model text"],
    writes=[
        "OUT/{labeled,unlabeled,dev,test_clean,test_noisy,test_very_noisy}   data folders",
        "OUT/unlabeled_clean   the unlabelled speech without rooms and noise, if asked for",
        "OUT/audio   16 kHz FLAC",
        "OUT/lexicon.txt OUT/lm_text.txt",
        "OUT/scoring_only/unlabeled_text   no step but scoring may read it",
    ],
    example="local/make_corpus.py --config conf/corpus.yaml --seed 1 --jobs 2 data/local/embedded",
)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(CorpusSettings, options)
    tool.build(
        options.output,
        [],
        {**asdict(settings), "seed": options.seed},
        lambda partial: make_corpus(settings, options.seed, options.jobs, partial, options.output),
    )


if __name__ == "__main__":
    tool.add_config(default="conf/corpus.yaml")
    tool.add_argument("--seed", type=int, default=1, help="of all that is random (%(default)s)")
    tool.add_jobs()
    tool.add_argument("output", type=Path, metavar="OUT", help="e.g. data/local/embedded")
    tool.run(main)
