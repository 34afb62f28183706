#!/usr/bin/env python3
"""Write features and soft labels as lhotse Shar."""

import argparse
from pathlib import Path

from am.soft_labels.shar import write_shar
from commandline import Tool, positive_int

tool = Tool(
    summary="Write cuts with their features and soft labels in lhotse's Shar format, which other "
    "trainers read in order from disk or a store of objects.  It is not compact.",
    reads=[
        "DATA: a feature data folder, LFBE (steps/make_features.py)",
        "SOFT_LABELS: its soft labels (steps/dump_soft_labels.py)",
    ],
    writes=[
        'OUTPUT/shar: for lhotse.CutSet.from_shar(in_dir="OUTPUT/shar"); the cuts have the fields',
        "             soft_label_pdf_ids, soft_label_logits and soft_label_frame_shift",
    ],
    example="utils/soft_labels_to_shar.py data/unlabeled/lfbe data/unlabeled/soft_labels "
    "data/unlabeled/soft_labels_shar",
)
tool.add_argument(
    "--cuts-per-shard", type=positive_int, default=500, help="cuts in one shard (%(default)s)"
)
for name in ("data", "soft_labels", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    tool.build(
        options.output,
        [options.data, options.soft_labels],
        {"cuts_per_shard": options.cuts_per_shard},
        # Shar's folder must hold nothing else.
        lambda partial: write_shar(
            options.data, options.soft_labels, partial / "shar", options.cuts_per_shard
        ),
    )


if __name__ == "__main__":
    tool.run(main)
