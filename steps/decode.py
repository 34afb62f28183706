#!/usr/bin/env python3
"""Decode a data folder with a GMM or a network."""

import argparse
import dataclasses
from pathlib import Path

from am.decoding.decode_data import decode_data
from am.decoding.decoder import Scales
from am.decoding.scorers import model_kind
from am.decoding.settings import DecodingSettings
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Decode every cut of a data folder with a GMM or a network.",
    reads=[
        "GRAPH: HCLG of the model's senones (utils/mkgraph.py)",
        "DATA: cuts with the features that the model was trained on (steps/make_features.py), or "
        "the same as shards (utils/to_shar.py)",
        "MODEL: a GMM or a network",
        "the scales of steps/search_scales.py, if --scales names them",
        "the transforms of DATA's speakers, if MODEL is speaker-adapted (steps/estimate_fmllr.py)",
    ],
    writes=[
        "OUTPUT/hypotheses.txt: cut, words; sorted",
        "OUTPUT/failed.tsv: cut, reason, for every cut that could not be decoded",
        "OUTPUT/settings.json, summary.json: the scales and beams; counts and real-time factors",
    ],
    example="steps/decode.py --scales exp/student_ce/decode_dev/best_scale.json "
    "exp/graph_senones data/test_noisy/lfbe exp/student_ce exp/student_ce/decode_test_noisy",
)
tool.add_config(default="conf/decode.yaml")
tool.add_executor()
tool.add_device()
tool.add_argument("--scales", type=Path, help="best_scale.json of steps/search_scales.py")
tool.add_argument(
    "--acoustic-scale", type=float, help="instead of --scales (default: by the kind of model)"
)
tool.add_argument("--word-insertion-penalty", type=float, help="instead of --scales (default: 0)")
tool.add_transforms()
for name in ("graph", "data", "model", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(DecodingSettings, options).of(model_kind(options.model))
    given = (options.acoustic_scale, options.word_insertion_penalty)
    if options.scales is not None:
        if given != (None, None):
            tool.parser.error("give --scales, or the two scales themselves")
        scales = Scales.load(options.scales)
    else:
        scales = settings.scales(*given)
    device = pick_device(options.device)
    tool.build(
        options.output,
        [options.graph, options.data, options.model, options.transforms],
        {**dataclasses.asdict(scales), **dataclasses.asdict(settings.search)},
        lambda folder: decode_data(
            options.graph,
            options.data,
            options.model,
            folder,
            scales,
            settings.search,
            executor=options.executor,
            device=device,
            transforms_dir=options.transforms,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
