#!/usr/bin/env python3
"""Align transcripts to speech with a GMM-HMM."""

import argparse
import dataclasses
from pathlib import Path

from am.alignment.align_data import align_data
from am.alignment.viterbi import AlignmentScales
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Find the best HMM state of every frame, given the transcripts.",
    reads=[
        "DATA: MFCC and transcripts (steps/make_features.py --kind mfcc)",
        "LANG: the lang folder that the model was trained with",
        "MODEL: a GMM (steps/train_mono.py, train_deltas.py, train_lda_mllt.py); a speaker-adapted",
        "       one is for steps/align_fmllr.py",
    ],
    writes=[
        "ALIGNMENT: a transition-id for each frame of each cut, and the model's tree.json,",
        "           topology.json, transitions.json and phones.txt",
        "ALIGNMENT/failed.tsv: cut, reason, for every cut that could not be aligned",
    ],
    example="steps/align.py data/labeled/mfcc data/lang exp/mono exp/mono_ali",
)
tool.add_config()
tool.add_executor()
tool.add_device()
tool.add_aligner()
tool.add_argument("data", type=Path)
tool.add_argument("lang", type=Path)
tool.add_argument("model", type=Path)
tool.add_argument("alignment", type=Path)


def main(options: argparse.Namespace) -> None:
    scales = tool.settings(AlignmentScales, options)
    device = pick_device(options.device)
    tool.build(
        options.alignment,
        [options.data, options.lang, options.model],
        dataclasses.asdict(scales),
        lambda partial: align_data(
            options.data,
            options.lang,
            options.model,
            partial,
            scales,
            device,
            executor=options.executor,
            engine=options.aligner,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
