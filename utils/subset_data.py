#!/usr/bin/env python3
"""Make a data folder with a random part of another's cuts."""

import argparse
from fractions import Fraction
from pathlib import Path

from am.features.feature_data import CUTS_NAME
from am.manifests.subset import subset_data
from commandline import Tool

tool = Tool(
    summary="Take a random share of the cuts of a data folder; with one seed, a smaller share "
    "lies within a larger one.",
    reads=["DATA/cuts.jsonl.gz: cuts, with features or without"],
    writes=["OUTPUT/cuts.jsonl.gz, features.json: a data folder; the features stay where they are"],
    example="utils/subset_data.py --share 1/4 data/unlabeled/lfbe data/unlabeled_1_4/lfbe",
)
tool.add_argument("--share", required=True, help="of the cuts, e.g. 1/4 or 0.25")
tool.add_seed()
tool.add_argument("data", type=Path)
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    try:
        share = Fraction(options.share)
    except (ValueError, ZeroDivisionError):
        tool.parser.error(f"--share {options.share}: not a share such as 1/4 or 0.25")
    tool.build(
        options.output,
        [options.data / CUTS_NAME],
        {"share": str(share), "seed": options.seed},
        lambda folder: subset_data(options.data, folder, share, options.seed),
    )


if __name__ == "__main__":
    tool.run(main)
