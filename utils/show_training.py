#!/usr/bin/env python3
"""Draw the curves of trainings."""

import argparse
from pathlib import Path

from am.gmm.train import LOG_NAME
from am.inspection.pictures import check_picture_name
from am.inspection.training_curves import draw_histories, load_histories
from commandline import Tool

tool = Tool(
    summary="Show how trainings went: log-likelihood and Gaussians of GMMs, or loss, accuracy and "
    "learning rate of networks.",
    reads=["FOLDER/log.jsonl: of one or more GMMs, or of one or more networks"],
    writes=["PICTURE: their curves, .png, .svg or .pdf, and prints the numbers as tables"],
    example="utils/show_training.py exp/mono exp/tri1 exp/tri2 exp/gmm_training.svg",
)
tool.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
tool.add_argument("picture", type=Path)


def main(options: argparse.Namespace) -> None:
    check_picture_name(options.picture)
    histories = load_histories(options.folders)
    tool.build(
        options.picture,
        [folder / LOG_NAME for folder in options.folders],
        {},
        lambda path: draw_histories(histories, path),
        is_folder=False,
    )
    print("\n\n".join(history.table() for history in histories))


if __name__ == "__main__":
    tool.run(main)
