#!/usr/bin/env python3
"""Compute LFBE or MFCC of a data folder's cuts."""

import argparse
from pathlib import Path

from am.features.compute import compute_features
from am.features.extractors import SETTINGS_OF_KIND
from commandline import Tool

tool = Tool(
    summary="Compute log mel filter-bank energies (lfbe) or cepstra (mfcc) of a data folder.",
    reads=["DATA/cuts.jsonl.gz: cuts with audio (utils/make_cuts.py)"],
    writes=[
        "OUTPUT/cuts.jsonl.gz: the same cuts with features",
        "OUTPUT/features-*: the features themselves",
        "OUTPUT/features.json: the settings that made them",
        "OUTPUT/rejected.tsv: cut, reason, for every cut without features",
    ],
    example="steps/make_features.py --kind lfbe data/labeled data/labeled/lfbe",
)
tool.add_argument("--kind", choices=sorted(SETTINGS_OF_KIND), required=True)
tool.add_config()
tool.add_executor()
tool.add_device()
tool.add_argument(
    "--max-rejected", type=float, default=0.05, help="stop above this share (%(default)s)"
)
tool.add_argument("data", type=Path)
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    options.config = options.config or Path("conf") / f"{options.kind}.yaml"
    settings = tool.settings(SETTINGS_OF_KIND[options.kind], options)
    tool.build(
        options.output,
        [options.data / "cuts.jsonl.gz"],
        {
            "kind": options.kind,
            "max_rejected": options.max_rejected,
            **settings.to_dict(),
        },
        lambda partial: compute_features(
            options.data,
            partial,
            options.output,
            options.kind,
            settings,
            options.executor,
            options.max_rejected,
            options.device,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
