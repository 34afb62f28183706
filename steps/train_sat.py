#!/usr/bin/env python3
"""Train a triphone GMM-HMM on speaker-adapted features."""

import argparse
import dataclasses
from pathlib import Path

from am.gmm.train_sat import SatSettings, train_sat
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Grow a tree on an older model's features, adapted to each speaker by fMLLR, and train "
    "triphones on them.",
    reads=[
        "DATA: MFCC and transcripts (steps/make_features.py --kind mfcc)",
        "LANG: lang folder (utils/prepare_lang.py)",
        "OLDER_MODEL: the GMM that made ALIGNMENT; its features are adapted",
        "ALIGNMENT: alignment of DATA (steps/align.py, or steps/align_fmllr.py if OLDER_MODEL is",
        "           speaker-adapted)",
    ],
    writes=[
        "MODEL: tree.json, topology.json, transitions.json, gmm.safetensors, features.json",
        "MODEL/speaker_independent: a GMM like it for speech that is not adapted yet",
        "MODEL/log.jsonl: log-likelihood and Gaussians of each iteration",
        "MODEL/failed.tsv: cut, reason, for every cut that could not be used",
    ],
    example="steps/train_sat.py data/labeled/mfcc data/lang exp/tri2 exp/tri2_ali exp/tri3",
)
tool.add_config(default="conf/tri3.yaml")
tool.add_executor()
tool.add_device()
tool.add_seed()
for name in ("data", "lang", "older_model", "alignment", "model"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(SatSettings, options)
    device = pick_device(options.device)
    inputs = (options.data, options.lang, options.older_model, options.alignment)
    tool.build(
        options.model,
        inputs,
        {**dataclasses.asdict(settings), "seed": options.seed},
        lambda partial: train_sat(
            *inputs, partial, settings, options.seed, device, options.executor
        ),
    )


if __name__ == "__main__":
    tool.run(main)
