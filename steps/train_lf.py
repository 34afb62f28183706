#!/usr/bin/env python3
"""Train a network further with a lattice-free sequence criterion: LF-MMI or LF-sMBR."""

import argparse
import dataclasses
from pathlib import Path

from am.k2.lattice_free_training import LatticeFreeSettings, train_lattice_free
from commandline import Tool

tool = Tool(
    summary="Train a network further on labelled data with LF-MMI (--set criterion=smbr: LF-sMBR) "
    "over a phone graph, with k2: no denominator lattices are made beforehand.",
    reads=[
        "LABELED, DEV: feature data folders, LFBE (steps/make_features.py)",
        "LANG: the lang folder of the senones",
        "SENONES: tree, topology, transitions, phones (steps/cluster_senones.py)",
        "LABELS/labeled, LABELS/dev: a pdf-id every 30 ms (steps/make_senone_labels.py,",
        "       steps/align_network.py), the numerator",
        "MODEL: the network to start from (steps/train_ce.py, steps/train_student.py)",
        "PHONE_GRAPH: the denominator (steps/make_phone_graph.py)",
    ],
    writes=["OUTPUT: a network folder, as steps/train_ce.py writes"],
    example="steps/train_lf.py data/labeled/lfbe data/dev/lfbe data/lang exp/senones "
    "exp/senone_labels exp/teacher_ce exp/graph_phones exp/teacher_lf",
)
tool.add_config(default="conf/lattice_free.yaml")
tool.add_device()
tool.add_parallel()
tool.add_argument("--seed", type=int, help="of data order and dropout (default: trainer.seed)")
for name in (
    "labeled",
    "dev",
    "lang",
    "senones",
    "labels",
    "model",
    "phone_graph",
    "output",
):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    if options.seed is not None:
        options.overrides.append(f"trainer.seed={options.seed}")
    settings = tool.settings(LatticeFreeSettings, options)
    folders = (options.labeled, options.dev, options.lang, options.senones, options.labels)
    start = (options.model, options.phone_graph)
    labels = [options.labels / name for name in ("labeled", "dev")]
    tool.build(
        options.output,
        [*folders[:4], *labels, *start],
        dataclasses.asdict(settings),
        lambda partial: train_lattice_free(*folders, *start, partial, settings, options.device),
    )


if __name__ == "__main__":
    tool.run(main)
