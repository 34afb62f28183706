#!/usr/bin/env python3
"""Label aligned cuts with senones at the low frame rate."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.alignment.senone_labels import write_senone_labels
from commandline import Tool

tool = Tool(
    summary="Turn a 10 ms alignment into senone labels, one every 30 ms, for network training.",
    reads=[
        "ALIGNMENT: transition-ids at 10 ms (steps/align.py)",
        "SENONES: tree, topology, phones (steps/cluster_senones.py)",
    ],
    writes=["OUTPUT/store.json shard-*: the pdf-ids of each aligned cut, ceil(frames / 3) of them"],
    example="steps/make_senone_labels.py exp/tri2_ali exp/senones exp/senone_labels/labeled",
)
tool.add_argument("alignment", type=Path)
tool.add_argument("senones", type=Path)
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    tool.build(
        options.output,
        [options.alignment, options.senones],
        {},
        lambda partial: write_senone_labels(options.alignment, options.senones, partial),
    )


if __name__ == "__main__":
    tool.run(main)
