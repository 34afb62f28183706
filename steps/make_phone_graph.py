#!/usr/bin/env python3
"""Make the denominator of lattice-free training: a graph of phones in place of words."""

import argparse
import dataclasses
from pathlib import Path

from am.sequence.phone_language_model import PhoneGraphSettings, make_phone_graph
from commandline import Tool

tool = Tool(
    summary="Make a decoding graph of a phone n-gram model, trained on an alignment's phones: the "
    "denominator of steps/train_lf.py. steps/decode.py recognises phones with it.",
    reads=[
        "ALIGNMENT: whose phones are counted (steps/align.py)",
        "LANG: the lang folder of both (utils/prepare_lang.py)",
        "SENONES: tree, topology, transitions, phones (steps/cluster_senones.py)",
    ],
    writes=["GRAPH: HCLG.fst, words.txt (the phones), phones.txt, graph.json"],
    example="steps/make_phone_graph.py exp/tri3_ali data/lang exp/senones exp/graph_phones",
)
tool.add_config()
for name in ("alignment", "lang", "senones", "graph"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = tool.settings(PhoneGraphSettings, options)
    inputs = (options.alignment, options.lang, options.senones)
    tool.build(
        options.graph,
        inputs,
        dataclasses.asdict(settings),
        lambda partial: make_phone_graph(*inputs, partial, settings),
    )


if __name__ == "__main__":
    tool.run(main)
