#!/usr/bin/env python3
"""Make the decoding graph HCLG."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.graph.compile import MODEL_FILES, SENONES_NAME, make_graph
from commandline import Tool

tool = Tool(
    summary="Make the decoding graph HCLG of a lang folder with G and a model.",
    reads=[
        "LANG_TEST: a lang folder with G.fst (utils/format_lm.py)",
        f"MODEL: {', '.join(MODEL_FILES)}",
    ],
    writes=[
        "GRAPH/HCLG.fst: pdf-id + 1 in, word-ids out",
        "GRAPH/words.txt, phones.txt: symbol tables",
        "GRAPH/graph.json: number of senones, fingerprint of the tree, sizes",
    ],
    example="utils/mkgraph.py data/lang_test exp/senones exp/senones/graph",
)
tool.add_argument(
    "--self-loop-scale",
    type=float,
    default=0.1,
    help="scale of the transition log probabilities (%(default)s)",
)
tool.add_argument("lang_test", type=Path)
tool.add_argument("model", type=Path)
tool.add_argument("graph", type=Path)


def main(options: argparse.Namespace) -> None:
    inputs = [options.lang_test, *(options.model / name for name in MODEL_FILES)]
    senones = options.model / SENONES_NAME
    tool.build(
        options.graph,
        [*inputs, senones] if senones.is_file() else inputs,
        {"self_loop_scale": options.self_loop_scale},
        lambda folder: make_graph(
            options.lang_test, options.model, folder, options.self_loop_scale
        ),
    )


if __name__ == "__main__":
    tool.run(main)
