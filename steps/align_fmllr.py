#!/usr/bin/env python3
"""Align transcripts to speech with a speaker-adapted GMM-HMM."""

import argparse
import dataclasses
from pathlib import Path

from am.alignment.align_fmllr import AlignFmllrSettings, align_fmllr
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Find the best HMM state of every frame, given the transcripts, once without "
    "adaptation and then with each speaker's transform (fMLLR).",
    reads=[
        "DATA: MFCC and transcripts (steps/make_features.py --kind mfcc)",
        "LANG: the lang folder that the model was trained with",
        "MODEL: a speaker-adapted GMM (steps/train_sat.py)",
    ],
    writes=[
        "ALIGNMENT: as steps/align.py writes",
        "ALIGNMENT/speaker_transforms.safetensors, .tsv: each speaker's transform; their frames",
        "          and gains",
    ],
    example="steps/align_fmllr.py data/labeled/mfcc data/lang exp/tri3 exp/tri3_ali",
)
tool.add_config()
tool.add_executor()
tool.add_device()
for name in ("data", "lang", "model", "alignment"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(AlignFmllrSettings, options)
    device = pick_device(options.device)
    inputs = (options.data, options.lang, options.model)
    tool.build(
        options.alignment,
        inputs,
        dataclasses.asdict(settings),
        lambda partial: align_fmllr(*inputs, partial, settings, device, options.executor),
    )


if __name__ == "__main__":
    tool.run(main)
