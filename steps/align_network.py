#!/usr/bin/env python3
"""Align transcripts to speech with a network."""

import argparse
import dataclasses
from pathlib import Path

from am.alignment.align_network import NetworkAlignmentSettings, align_network
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Find the best senone of every 30 ms frame, given the transcripts and a network: "
    "labels for its sequence training, in place of the GMM's.",
    reads=[
        "DATA: LFBE and transcripts (steps/make_features.py --kind lfbe)",
        "LANG: the lang folder that the senones were made with",
        "SENONES: tree, topology, transitions, phones (steps/cluster_senones.py)",
        "MODEL: a network (steps/train_ce.py, steps/train_student.py)",
    ],
    writes=[
        "LABELS/store.json shard-*: pdf-ids by cut, as steps/make_senone_labels.py writes",
        "LABELS/failed.tsv: cut, reason, for every cut that could not be aligned",
    ],
    example="steps/align_network.py data/labeled/lfbe data/lang exp/senones exp/teacher_ce "
    "exp/teacher_ce_labels/labeled",
)
tool.add_config(default="conf/align_network.yaml")
tool.add_executor()
tool.add_device()
tool.add_aligner()
for name in ("data", "lang", "senones", "model", "labels"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(NetworkAlignmentSettings, options)
    device = pick_device(options.device)
    inputs = (options.data, options.lang, options.senones, options.model)
    tool.build(
        options.labels,
        inputs,
        dataclasses.asdict(settings),
        lambda partial: align_network(
            *inputs, partial, settings, device, options.executor, options.aligner
        ),
    )


if __name__ == "__main__":
    tool.run(main)
