#!/usr/bin/env python3
"""Label unlabelled data with the senones of a teacher's best paths."""

import argparse
import dataclasses
from pathlib import Path

from am.decoding.decoder import Scales
from am.decoding.pseudo_labels import make_pseudo_labels
from am.decoding.settings import DecodingSettings
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Decode unlabelled data with a teacher and keep the senone of every frame of the best "
    "path: hard labels, to compare soft ones with.",
    reads=[
        "GRAPH: HCLG of the teacher's senones (utils/mkgraph.py)",
        "UNLABELED: a feature data folder, LFBE (steps/make_features.py)",
        "MODEL: the teacher, a network folder (steps/train_ce.py)",
        "the scales of steps/search_scales.py",
    ],
    writes=[
        "OUTPUT/store.json, shard-*: a pdf-id every 30 ms, as steps/make_senone_labels.py writes",
        "OUTPUT/failed.tsv: cut, reason, for every cut that could not be decoded",
    ],
    example="steps/make_pseudo_labels.py --scales exp/teacher_ce/decode_dev/best_scale.json "
    "exp/graph_senones data/unlabeled/lfbe exp/teacher_ce data/unlabeled/pseudo_labels",
)
tool.add_config(default="conf/decode.yaml")
tool.add_executor()
tool.add_device()
tool.add_argument(
    "--scales", type=Path, required=True, help="best_scale.json of steps/search_scales.py"
)
for name in ("graph", "unlabeled", "model", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(DecodingSettings, options).of("network")
    scales = Scales.load(options.scales)
    device = pick_device(options.device)
    tool.build(
        options.output,
        [options.graph, options.unlabeled, options.model],
        {**dataclasses.asdict(scales), **dataclasses.asdict(settings.search)},
        lambda folder: make_pseudo_labels(
            options.graph,
            options.unlabeled,
            options.model,
            folder,
            scales,
            settings.search,
            executor=options.executor,
            device=device,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
