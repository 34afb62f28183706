#!/usr/bin/env python3
"""Write an alignment as CTM and Praat TextGrid files."""

import argparse
import dataclasses
from pathlib import Path

from am.inspection.export_alignment import ExportSettings, export_alignment
from commandline import Tool

tool = Tool(
    summary="Write an alignment with times in seconds: CTM files for scoring tools, TextGrids for "
    "Praat.",
    reads=[
        "LANG: that the alignment was made with (utils/prepare_lang.py)",
        "DATA/cuts.jsonl.gz: the cuts that were aligned, with their transcripts",
        "ALIGNMENT: transition-ids (steps/align.py), or senones (steps/make_senone_labels.py)",
    ],
    writes=[
        "OUTPUT/{words,phones,states,senones}.ctm: utterance, channel, start, duration, token",
        "OUTPUT/textgrid/CUT.TextGrid: the same as tiers",
        "OUTPUT/failed.tsv: cuts whose words could not be found among the phones",
    ],
    example="utils/export_alignment.py data/lang data/labeled/mfcc exp/tri2_ali exp/tri2_ali_times",
)
tool.add_argument(
    "--format", choices=("ctm", "textgrid", "both"), default="both", help="(%(default)s)"
)
tool.add_argument("lang", type=Path)
tool.add_argument("data", type=Path)
tool.add_argument("alignment", type=Path)
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    settings = ExportSettings(ctm=options.format != "textgrid", textgrid=options.format != "ctm")
    tool.build(
        options.output,
        [options.lang, options.data, options.alignment],
        dataclasses.asdict(settings),
        lambda partial: export_alignment(
            options.lang, options.data, options.alignment, partial, settings
        ),
    )


if __name__ == "__main__":
    tool.run(main)
