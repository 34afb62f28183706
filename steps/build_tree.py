#!/usr/bin/env python3
"""Grow a context tree on an alignment."""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.tree.build import build_tree
from am.tree.grow import TreeSettings
from commandline import Tool

tool = Tool(
    summary="Grow a context tree on an alignment, with the alignment's states and frame rate.",
    reads=[
        "DATA/cuts.jsonl.gz: the cuts that were aligned, with MFCC (steps/make_features.py)",
        "LANG: phones, roots, questions (utils/prepare_lang.py)",
        "MODEL: a GMM whose features the tree is grown on",
        "ALIGNMENT: transition-ids at 10 ms (steps/align.py; steps/align_fmllr.py for a MODEL that",
        "           is speaker-adapted)",
    ],
    writes=[
        "OUTPUT/tree.json topology.json transitions.json phones.txt: the tree and its HMM",
        "OUTPUT/senones.json: number of leaves, why not as many as asked for, gain, checksum",
    ],
    example="steps/build_tree.py --set num_leaves=800 data/labeled/mfcc data/lang exp/tri1 "
    "exp/tri1_ali exp/tri1_tree",
)
tool.add_config(default="conf/tree.yaml")
tool.add_executor()
tool.add_argument(
    "--low-frame-rate",
    action="store_true",
    help="one state a phone and a frame every 30 ms, as steps/cluster_senones.py",
)
for name in ("data", "lang", "model", "alignment", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(TreeSettings, options)
    inputs = (options.data, options.lang, options.model, options.alignment)
    tool.build(
        options.output,
        inputs,
        {"low_frame_rate": options.low_frame_rate, **dataclasses.asdict(settings)},
        lambda partial: build_tree(
            *inputs,
            partial,
            settings,
            low_frame_rate=options.low_frame_rate,
            executor=options.executor,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
