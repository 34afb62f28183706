#!/usr/bin/env python3
"""Decode to lattices and score them at every pair of language-model weight and penalty."""

import argparse
import dataclasses
from pathlib import Path

from am.decoding.scale_grid import ScaleGridSettings, decode_grid
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Decode transcribed speech once to lattices and take the word error rate at every "
    "pair of language-model weight and word insertion penalty, as Kaldi's scripts do.",
    reads=[
        "GRAPH: HCLG of the model's senones (utils/mkgraph.py)",
        "DATA: transcribed cuts with the features that the model was trained on",
        "MODEL: a GMM or a network",
        "the transforms of DATA's speakers, if MODEL is speaker-adapted (steps/estimate_fmllr.py)",
    ],
    writes=[
        "OUTPUT/tried.tsv: the word errors of every pair",
        "OUTPUT/best/hypotheses.txt: at the pair that is best on these data themselves",
        "OUTPUT/chosen_on_others/hypotheses.txt: each speaker at the pair best on all the others",
        "OUTPUT/all/: the hypotheses at every pair",
        "OUTPUT/summary.json: both word error rates, counts and times",
    ],
    example="steps/decode_grid.py exp/graph_tri2 data/test/mfcc exp/tri2 exp/tri2/grid_test",
)
tool.add_config()
tool.add_executor()
tool.add_device()
tool.add_transforms()
for name in ("graph", "data", "model", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(ScaleGridSettings, options)
    device = pick_device(options.device)
    tool.build(
        options.output,
        [options.graph, options.data, options.model, options.transforms],
        dataclasses.asdict(settings),
        lambda folder: decode_grid(
            options.graph,
            options.data,
            options.model,
            folder,
            settings,
            executor=options.executor,
            device=device,
            transforms_dir=options.transforms,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
