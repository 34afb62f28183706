#!/usr/bin/env python3
"""Choose other hypotheses from a decoding's lattices: see the usage."""

import argparse
import dataclasses
from pathlib import Path

from am.k2.engine import check_device
from am.k2.rescore_data import RescoringSettings, rescore_lattices
from am.nnet.device import pick_device
from commandline import Tool

tool = Tool(
    summary="Choose hypotheses from a decoding's lattices with k2, without searching again: n-best "
    "lists, another language model, the fewest expected word errors (--set choose=mbr), and the "
    "oracle word error rate.",
    reads=[
        "LATTICES: OUTPUT/lattices of steps/decode.py --decoder k2 --lattices",
        "the language model of the graph and the one that replaces it, ARPA files, if named",
    ],
    writes=[
        "OUTPUT/hypotheses.txt: cut, words; sorted, for steps/score.py",
        "OUTPUT/nbest.txt: cut-rank, score (natural log, higher is better), words",
        "OUTPUT/oracle.json: the lattices' oracle word error rate, with --oracle",
    ],
    example="steps/rescore_lattices.py --old-lm data/local/lm.arpa --new-lm data/local/lm4.arpa "
    "exp/student_ce/decode_dev_k2/lattices exp/student_ce/decode_dev_lm4",
)
tool.add_config(default="conf/rescore.yaml")
tool.add_device()
tool.add_argument("--old-lm", type=Path, help="ARPA file of the graph's language model")
tool.add_argument("--new-lm", type=Path, help="ARPA file of the one that replaces it")
tool.add_argument("--oracle", type=Path, metavar="DATA", help="the decoded data, transcribed")
tool.add_argument("lattices", type=Path)
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(RescoringSettings, options)
    device = pick_device(options.device)
    check_device(device)
    tool.build(
        options.output,
        [options.lattices, options.old_lm, options.new_lm, options.oracle],
        dataclasses.asdict(settings),
        lambda partial: rescore_lattices(
            options.lattices,
            partial,
            settings,
            device,
            old_model=options.old_lm,
            new_model=options.new_lm,
            transcribed=options.oracle,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
