#!/usr/bin/env python3
"""Make the denominator lattices of labelled data for sequence training."""

import argparse
import dataclasses
from pathlib import Path

from am.nnet.device import pick_device
from am.sequence.denominator import DenominatorSettings, make_denominator_lattices
from commandline import Tool

tool = Tool(
    summary="Store, for every cut, a lattice of the state sequences that a network and a weak "
    "language model take for likely; with --labels also the reference's own, where the search lost "
    "it.  A killed run goes on at the first unfinished shard.",
    reads=[
        "GRAPH: HCLG with a weak language model, e.g. a unigram (utils/mkgraph.py)",
        "DATA: feature data folder of the labelled cuts, with the features of MODEL",
        "MODEL: the network that sequence training starts from (steps/train_ce.py)",
    ],
    writes=[
        "OUTPUT/store.json, shard-*: the lattices by cut (am/sequence/lattice.py)",
        "OUTPUT/failed.tsv: cut, reason, for every cut without a lattice",
        "OUTPUT/summary.json: cuts, frames, arcs; lattices that lacked the reference, and got it",
    ],
    example="steps/make_denominator_lattices.py exp/graph_weak data/labeled/lfbe exp/teacher_ce "
    "exp/teacher_ce_lattices",
)
tool.add_config(default="conf/denominator.yaml")
tool.add_argument(
    "--labels",
    type=Path,
    help="the cuts' senones (steps/make_senone_labels.py): their path is added to lattices that "
    "lack it",
)
tool.add_executor()
tool.add_device()
for name in ("graph", "data", "model", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(DenominatorSettings, options)
    tool.build(
        options.output,
        [options.graph, options.data, options.model, options.labels],
        dataclasses.asdict(settings),
        lambda partial: make_denominator_lattices(
            options.graph,
            options.data,
            options.model,
            partial,
            settings,
            labels=options.labels,
            executor=options.executor,
            device=pick_device(options.device),
        ),
    )


if __name__ == "__main__":
    tool.run(main)
