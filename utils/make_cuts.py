#!/usr/bin/env python3
"""Turn a Kaldi-style data folder into checked cuts; see the usage."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from am.manifests.make_cuts import make_cuts
from am.manifests.settings import DataRules
from commandline import Tool

tool = Tool(
    summary="Check a Kaldi-style data folder, audio included, and write its good part as cuts.",
    reads=[
        "SOURCE/{wav.scp,utt2spk}   paths of audio files, speakers",
        "SOURCE/text   transcripts, unless --no-text",
        "SOURCE/{segments,utt2condition}   if there",
    ],
    writes=[
        "OUT/cuts.jsonl.gz   lhotse cuts, one supervision each",
        "OUT/rejected.tsv   id, reason and detail of what was left out",
    ],
    example="utils/make_cuts.py --lexicon data/local/lexicon.txt data/local/labeled data/labeled",
)


def main(options: argparse.Namespace) -> None:
    rules = DataRules(
        sampling_rate=options.sampling_rate,
        min_duration=options.min_duration,
        needs_text=not options.no_text,
        lexicon=options.lexicon,
        unknown_words=options.unknown_words,
        max_rejected=options.max_rejected,
    )
    tool.build(
        options.output,
        [options.source, *([options.lexicon] if options.lexicon else [])],
        asdict(rules),
        lambda partial: make_cuts(options.source, partial, rules, options.jobs),
    )


if __name__ == "__main__":
    add, defaults = tool.add_argument, DataRules()
    add("--sampling-rate", type=int, default=defaults.sampling_rate, help="Hz (%(default)s)")
    add(
        "--min-duration",
        type=float,
        default=defaults.min_duration,
        help="seconds; shorter utterances are rejected (%(default)s)",
    )
    add("--no-text", action="store_true", help="the data have no transcripts, or need none")
    add("--lexicon", type=Path, help="reject utterances with words outside it")
    add(
        "--unknown-words",
        choices=("reject", "keep"),
        default=defaults.unknown_words,
        help="what to do with utterances that hold a word outside the lexicon (%(default)s)",
    )
    add(
        "--max-rejected",
        type=float,
        default=defaults.max_rejected,
        help="stop if a larger part of the utterances is rejected (%(default)s)",
    )
    tool.add_jobs()
    add("source", type=Path, metavar="SOURCE", help="e.g. data/local/labeled")
    add("output", type=Path, metavar="OUT", help="e.g. data/labeled")
    tool.run(main)
