#!/usr/bin/env python3
"""Search the acoustic scale and word insertion penalty on dev data."""

import argparse
import dataclasses
from pathlib import Path

from am.decoding.scorers import model_kind
from am.decoding.search_scales import search_scales
from am.decoding.settings import DecodingSettings
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Find the acoustic scale and word insertion penalty with the lowest word error rate.",
    reads=[
        "GRAPH: HCLG of the model's senones (utils/mkgraph.py)",
        "DATA: transcribed cuts with the features that the model was trained on",
        "MODEL: a GMM or a network",
        "the transforms of DATA's speakers, if MODEL is speaker-adapted (steps/estimate_fmllr.py)",
    ],
    writes=[
        "OUTPUT/best_scale.json: the scales, and their word error rate",
        "OUTPUT/tried.tsv: the word error rates of all scales that were tried",
        "OUTPUT/settings.json: the settings",
    ],
    example="steps/search_scales.py exp/graph_senones data/dev/lfbe exp/student_ce "
    "exp/student_ce/decode_dev",
)
tool.add_config(default="conf/decode.yaml")
tool.add_executor()
tool.add_device()
tool.add_transforms()
for name in ("graph", "data", "model", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(DecodingSettings, options).of(model_kind(options.model))
    device = pick_device(options.device)
    tool.build(
        options.output,
        [options.graph, options.data, options.model, options.transforms],
        dataclasses.asdict(settings),
        lambda folder: search_scales(
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
