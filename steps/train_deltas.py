#!/usr/bin/env python3
"""Train a triphone GMM-HMM on deltas."""

import argparse
import dataclasses
from pathlib import Path

from am.gmm.train import DeltasSettings, train_deltas
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Grow a tree on an older alignment and train triphones on MFCC with deltas.",
    reads=[
        "DATA: MFCC and transcripts (steps/make_features.py --kind mfcc)",
        "LANG: lang folder (utils/prepare_lang.py)",
        "ALIGNMENT: alignment of DATA (steps/align.py)",
    ],
    writes=[
        "MODEL: tree.json, topology.json, transitions.json, gmm.safetensors, features.json",
        "MODEL/log.jsonl: log-likelihood and Gaussians of each iteration",
        "MODEL/failed.tsv: cut, reason, for every cut that could not be used",
    ],
    example="steps/train_deltas.py data/labeled/mfcc data/lang exp/mono_ali exp/tri1",
)
tool.add_config(default="conf/tri1.yaml")
tool.add_executor()
tool.add_device()
tool.add_seed()
for name in ("data", "lang", "alignment", "model"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(DeltasSettings, options)
    device = pick_device(options.device)
    inputs = (options.data, options.lang, options.alignment)
    tool.build(
        options.model,
        inputs,
        {**dataclasses.asdict(settings), "seed": options.seed},
        lambda partial: train_deltas(
            *inputs, partial, settings, options.seed, device, options.executor
        ),
    )


if __name__ == "__main__":
    tool.run(main)
