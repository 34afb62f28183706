#!/usr/bin/env python3
"""Decode a data folder with a GMM or a network."""

import argparse
import dataclasses
from pathlib import Path

from am.decoding.decode_data import decode_data, settings_of_decoder
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
        "OUTPUT/lattices: with --lattices, for steps/rescore_lattices.py",
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
tool.add_argument(
    "--decoder",
    choices=("kaldi", "k2"),
    default="kaldi",
    help="kaldi-decoder, or k2: batched, on CPU or GPU (utils/install_k2.py; docs/engines.md)",
)
tool.add_argument("--lattices", action="store_true", help="keep lattices too (--decoder k2)")
for name in ("graph", "data", "model", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    all_settings = tool.settings(DecodingSettings, options)
    settings = all_settings.of(model_kind(options.model))
    if options.lattices and options.decoder != "k2":
        tool.parser.error("--lattices needs --decoder k2")
    given = (options.acoustic_scale, options.word_insertion_penalty)
    if options.scales is not None:
        if given != (None, None):
            tool.parser.error("give --scales, or the two scales themselves")
        scales = Scales.load(options.scales)
    else:
        scales = settings.scales(*given)
    k2 = dataclasses.replace(all_settings.k2, keep_lattices=options.lattices)
    decoder = k2 if options.decoder == "k2" else None
    device = pick_device(options.device)
    tool.build(
        options.output,
        [options.graph, options.data, options.model, options.transforms],
        {
            **dataclasses.asdict(scales),
            **dataclasses.asdict(settings.search),
            **settings_of_decoder(decoder),
        },
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
            k2=decoder,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
