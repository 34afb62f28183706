#!/usr/bin/env python3
"""Cluster triphones to senones at the low frame rate."""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.tree.build import build_tree
from am.tree.grow import TreeSettings
from commandline import Tool

tool = Tool(
    summary="Carry a 10 ms alignment to 30 ms, one state a phone, and cluster the triphones to "
    "senones.",
    reads=[
        "DATA/cuts.jsonl.gz: the cuts that were aligned, with MFCC (steps/make_features.py)",
        "LANG: phones, roots, questions (utils/prepare_lang.py)",
        "MODEL: the GMM that aligned; its features are clustered",
        "ALIGNMENT: transition-ids at 10 ms (steps/align.py; steps/align_fmllr.py for a MODEL that",
        "           is speaker-adapted)",
    ],
    writes=[
        "OUTPUT/tree.json topology.json transitions.json phones.txt: the senones",
        "OUTPUT/senones.json: their number, why not as many as asked for, gain, checksum",
    ],
    example="steps/cluster_senones.py --config conf/senones.yaml data/labeled/mfcc data/lang "
    "exp/tri2 exp/tri2_ali exp/senones",
)
tool.add_config(default="conf/senones.yaml")
tool.add_executor()
for name in ("data", "lang", "model", "alignment", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(TreeSettings, options)
    inputs = (options.data, options.lang, options.model, options.alignment)
    tool.build(
        options.output,
        inputs,
        dataclasses.asdict(settings),
        lambda partial: build_tree(
            *inputs, partial, settings, low_frame_rate=True, executor=options.executor
        ),
    )


if __name__ == "__main__":
    tool.run(main)
