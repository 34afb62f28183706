#!/usr/bin/env python3
"""Make a table of GMM-HMMs."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.scoring.gmm_results import GRID, gmm_table
from commandline import Tool, named_folders

tool = Tool(
    summary="Compare GMM-HMMs: sizes, log-likelihoods, times, word error rates, as Markdown.",
    reads=[
        "FOLDER: of every model (steps/train_mono.py, train_deltas.py, …)",
        f"FOLDER/{GRID}: its word error rates (steps/decode_grid.py), where it is",
        "reference figures, tab-separated under a heading line, if --reference names them",
    ],
    writes=["OUTPUT: the table and the commands of its rows; it is printed too"],
    example='utils/gmm_results.py --model "tri1=exp/tri1" --model "tri2=exp/tri2" exp/GMM.md',
)
tool.add_named_folders("--model")
tool.add_argument("--reference", type=Path, help="figures to stand beside")
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    models = named_folders(options.folders)
    reference = [options.reference] if options.reference else []
    grids = [folder / GRID for folder in models.values() if (folder / GRID).is_dir()]
    tool.build(
        options.output,
        [*models.values(), *grids, *reference],
        {"models": {name: str(folder) for name, folder in models.items()}},
        lambda path: path.write_text(gmm_table(models, options.reference), encoding="utf-8"),
        is_folder=False,
    )
    print(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    tool.run(main)
