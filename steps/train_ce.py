#!/usr/bin/env python3
"""Train a network with cross-entropy on hard labels."""

import argparse
import dataclasses
from pathlib import Path

from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from am.nnet.sources import labels_place
from commandline import Tool

tool = Tool(
    summary="Train an LSTM acoustic model with cross-entropy on labelled data.",
    reads=[
        "LABELED, DEV: feature data folders, LFBE (steps/make_features.py) or adapted to speakers "
        "(steps/make_fmllr_features.py), or the same as shards (utils/to_shar.py)",
        "SENONES/tree.json: the senones (steps/cluster_senones.py)",
        "LABELS/labeled, LABELS/dev: a pdf-id every 30 ms (steps/make_senone_labels.py); "
        "shards hold their own",
    ],
    writes=[
        "OUTPUT/model.safetensors, model.json, front_end.*: the network with the lowest dev loss",
        "OUTPUT/log_priors.safetensors: natural log of the senones' priors in the labels",
        "OUTPUT/log.jsonl, tensorboard/, summary.json: how the training went",
        "OUTPUT/checkpoints/: a killed training goes on from here",
        "OUTPUT/*_without_labels.txt: cuts left out because they have no labels",
    ],
    example="steps/train_ce.py --config conf/teacher.yaml data/labeled/lfbe data/dev/lfbe "
    "exp/senones exp/senone_labels exp/teacher_ce",
)
tool.add_config(default="conf/teacher.yaml")
tool.add_device()
tool.add_parallel()
for name in ("labeled", "dev", "senones", "labels", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(CrossEntropySettings, options)
    labels = options.labels
    tree = options.senones / "tree.json"
    tool.build(
        options.output,
        [
            options.labeled,
            options.dev,
            tree,
            labels_place(options.labeled, labels / "labeled"),
            labels_place(options.dev, labels / "dev"),
        ],
        dataclasses.asdict(settings),
        lambda partial: train_cross_entropy(
            options.labeled,
            options.dev,
            options.senones,
            labels,
            partial,
            settings,
            options.device,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
