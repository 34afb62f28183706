#!/usr/bin/env python3
"""Train a student on a teacher's labels of unlabelled and hard labels of labelled data."""

import argparse
import dataclasses
from pathlib import Path

from am.nnet.cross_entropy import SoftLabelledData, StudentSettings, train_student
from am.nnet.sources import labels_place
from commandline import Tool

tool = Tool(
    summary="Train an LSTM acoustic model by scheduled learning: parts of the unlabelled data "
    "with a teacher's labels, soft or hard, and passes over the labelled data.",
    reads=[
        "LABELED, UNLABELED, DEV: feature data folders, LFBE (steps/make_features.py), or the same "
        "as shards (utils/to_shar.py)",
        "SENONES/tree.json: the senones (steps/cluster_senones.py)",
        "LABELS/labeled, LABELS/dev: a pdf-id every 30 ms (steps/make_senone_labels.py); "
        "shards hold their own",
        "SOFT_LABELS: the unlabelled data's soft labels (steps/dump_soft_labels.py), or hard ones "
        "(steps/make_pseudo_labels.py); UNLABELED again, if it is shards that hold soft labels",
    ],
    writes=[
        "OUTPUT: a network folder, as steps/train_ce.py writes",
    ],
    example="steps/train_student.py --config conf/student_scheduled.yaml data/labeled/lfbe "
    "data/unlabeled/lfbe data/dev/lfbe exp/senones exp/senone_labels "
    "data/unlabeled/soft_labels exp/student_ce",
)
tool.add_config(default="conf/student_scheduled.yaml")
tool.add_device()
tool.add_parallel()
for name in ("labeled", "unlabeled", "dev", "senones", "labels", "soft_labels", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(StudentSettings, options)
    labels = options.labels
    tool.build(
        options.output,
        [
            options.labeled,
            options.unlabeled,
            options.dev,
            options.senones / "tree.json",
            labels_place(options.labeled, labels / "labeled"),
            labels_place(options.dev, labels / "dev"),
            options.soft_labels,
        ],
        dataclasses.asdict(settings),
        lambda partial: train_student(
            options.labeled,
            SoftLabelledData(options.unlabeled, options.soft_labels),
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
