#!/usr/bin/env python3
"""Write speaker-adapted features (LDA, MLLT, fMLLR), for a teacher to be trained on."""

import argparse
from pathlib import Path

from am.features.adapted import write_adapted_features
from commandline import Tool

tool = Tool(
    summary="Write what a speaker-adapted GMM sees of a data folder, as features for a teacher.",
    reads=[
        "DATA: cuts with MFCC (steps/make_features.py --kind mfcc)",
        "MODEL: a speaker-adapted GMM (steps/train_sat.py)",
        "TRANSFORMS: of the data's speakers (steps/align_fmllr.py, steps/estimate_fmllr.py)",
    ],
    writes=[
        "OUTPUT/cuts.jsonl.gz: the same cuts with adapted features",
        "OUTPUT/features-*: the features themselves",
        "OUTPUT/features.json: what they are",
        "OUTPUT/rejected.tsv: cut, reason, for every cut without features",
    ],
    example="steps/make_fmllr_features.py data/labeled/mfcc exp/tri3 exp/tri3_ali "
    "data/labeled/fmllr",
)
tool.add_executor()
tool.add_argument(
    "--max-rejected", type=float, default=0.05, help="stop above this share (%(default)s)"
)
for name in ("data", "model", "transforms", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    inputs = (options.data, options.model, options.transforms)
    tool.build(
        options.output,
        inputs,
        {"max_rejected": options.max_rejected},
        lambda partial: write_adapted_features(
            *inputs, partial, options.output, options.executor, options.max_rejected
        ),
    )


if __name__ == "__main__":
    tool.run(main)
