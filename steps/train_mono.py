#!/usr/bin/env python3
"""Train a monophone GMM-HMM from a flat start."""

import argparse
import dataclasses
from pathlib import Path

from am.gmm.train import MonoSettings, train_mono
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Train monophones on MFCC with deltas, starting from equally long states.",
    reads=[
        "DATA: MFCC and transcripts (steps/make_features.py --kind mfcc)",
        "LANG: lang folder (utils/prepare_lang.py)",
    ],
    writes=[
        "MODEL: tree.json, topology.json, transitions.json, gmm.safetensors, features.json",
        "MODEL/log.jsonl: log-likelihood and Gaussians of each iteration",
        "MODEL/failed.tsv: cut, reason, for every cut that could not be used",
    ],
    example="steps/train_mono.py data/labeled/mfcc data/lang exp/mono",
)
tool.add_config(default="conf/mono.yaml")
tool.add_executor()
tool.add_device()
tool.add_seed()
for name in ("data", "lang", "model"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(MonoSettings, options)
    device = pick_device(options.device)
    inputs = (options.data, options.lang)
    tool.build(
        options.model,
        inputs,
        {**dataclasses.asdict(settings), "seed": options.seed},
        lambda partial: train_mono(
            *inputs, partial, settings, options.seed, device, options.executor
        ),
    )


if __name__ == "__main__":
    tool.run(main)
