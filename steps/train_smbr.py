#!/usr/bin/env python3
"""Train a network further with a sequence criterion: sMBR, MPFE or MMI."""

import argparse
import dataclasses
from pathlib import Path

from am.sequence.training import SequenceSettings, train_sequence
from commandline import Tool

tool = Tool(
    summary="Train a network further on labelled data with sMBR: more expected senone accuracy "
    "over the denominator lattices.  --set criterion=mpfe counts phones, criterion=mmi is MMI.",
    reads=[
        "LABELED, DEV: feature data folders, with the features that MODEL was trained on",
        "SENONES/tree.json: the senones (steps/cluster_senones.py)",
        "LABELS/labeled, LABELS/dev: a pdf-id every 30 ms (steps/make_senone_labels.py,",
        "       steps/align_network.py)",
        "MODEL: the network to start from (steps/train_ce.py, steps/train_student.py)",
        "LATTICES: of the labelled cuts (steps/make_denominator_lattices.py)",
    ],
    writes=[
        "OUTPUT: a network folder, as steps/train_ce.py writes",
        "OUTPUT/labeled_without_lattices.txt: cuts left out because they have no lattice",
    ],
    example="steps/train_smbr.py data/labeled/lfbe data/dev/lfbe exp/senones exp/senone_labels "
    "exp/teacher_ce exp/teacher_ce_lattices exp/teacher_smbr",
)
tool.add_config(default="conf/smbr.yaml")
tool.add_device()
tool.add_parallel()
tool.add_argument("--seed", type=int, help="of data order and dropout (default: trainer.seed)")
for name in ("labeled", "dev", "senones", "labels", "model", "lattices", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    if options.seed is not None:
        options.overrides.append(f"trainer.seed={options.seed}")
    settings = tool.settings(SequenceSettings, options)
    labels = options.labels
    tool.build(
        options.output,
        [
            options.labeled,
            options.dev,
            options.senones / "tree.json",
            labels / "labeled",
            labels / "dev",
            options.model,
            options.lattices,
        ],
        dataclasses.asdict(settings),
        lambda partial: train_sequence(
            options.labeled,
            options.dev,
            options.senones,
            labels,
            options.model,
            options.lattices,
            partial,
            settings,
            options.device,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
