#!/usr/bin/env python3
"""Compare two alignments of the same data."""

import argparse
from pathlib import Path

from am.inspection.alignment_comparison import REPORT_NAME, compare_alignments
from commandline import Tool

tool = Tool(
    summary="Compare two alignments: frames that agree, distances of phone boundaries, the phones "
    "and cuts that agree least.",
    reads=[
        "LANG: that both were made with (utils/prepare_lang.py)",
        "ALIGNMENT: transition-ids (steps/align.py), or senones (steps/make_senone_labels.py)",
        "REFERENCE: another such folder, or a CTM file with the times of phones",
    ],
    writes=[
        "OUTPUT/report.txt: the comparison, which is printed too",
        "OUTPUT/comparison.json phones.tsv utterances.tsv: the same, for every phone and cut",
    ],
    example="utils/compare_alignments.py data/lang exp/tri2_ali exp/tri1_ali exp/tri2_and_tri1",
)
tool.add_argument("lang", type=Path)
tool.add_argument("alignment", type=Path)
tool.add_argument("reference", type=Path)
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    tool.build(
        options.output,
        [options.lang, options.alignment, options.reference],
        {},
        lambda partial: compare_alignments(
            options.lang, options.alignment, options.reference, partial
        ),
    )
    print((options.output / REPORT_NAME).read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    tool.run(main)
