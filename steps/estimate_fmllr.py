#!/usr/bin/env python3
"""Estimate the speaker transforms of speech without transcripts, by decoding it."""

import argparse
import dataclasses
from pathlib import Path

from am.decoding.estimate_fmllr import EstimateFmllrSettings, estimate_fmllr
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Decode without adaptation and estimate each speaker's transform (fMLLR) on the best "
    "paths.",
    reads=[
        "GRAPH: HCLG of the model's senones (utils/mkgraph.py)",
        "DATA: cuts with MFCC (steps/make_features.py --kind mfcc)",
        "MODEL: a speaker-adapted GMM (steps/train_sat.py)",
    ],
    writes=[
        "OUTPUT/speaker_transforms.safetensors, .tsv: each speaker's transform; their frames and",
        "       gains.  steps/decode.py and steps/search_scales.py take them as --transforms",
    ],
    example="steps/estimate_fmllr.py exp/graph_tri3 data/dev/mfcc exp/tri3 exp/tri3/transforms_dev",
)
tool.add_config(default="conf/fmllr.yaml")
tool.add_executor()
tool.add_device()
for name in ("graph", "data", "model", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(EstimateFmllrSettings, options)
    device = pick_device(options.device)
    inputs = (options.graph, options.data, options.model)
    tool.build(
        options.output,
        inputs,
        dataclasses.asdict(settings),
        lambda partial: estimate_fmllr(
            *inputs, partial, settings, executor=options.executor, device=device
        ),
    )


if __name__ == "__main__":
    tool.run(main)
