#!/usr/bin/env python3
"""Check data folders without changing them; see the usage."""

from __future__ import annotations

import argparse
from pathlib import Path

from am.errors import InputError
from am.manifests.validate import problems_of_folder
from am.progress import track
from commandline import Tool

tool = Tool(
    summary="Check data folders and feature data folders: a line for each problem, exit status 1.",
    reads=["DIR/cuts.jsonl.gz   and the audio and features that it names"],
    writes=["nothing"],
    example="utils/validate_data.py data/labeled data/labeled/mfcc",
)


def main(options: argparse.Namespace) -> None:
    num_problems = 0
    for folder in options.folders:
        for problem in track(problems_of_folder(folder), f"{folder}: problems", unit=""):
            print(problem)
            num_problems += 1
    if num_problems:
        raise InputError(f"{num_problems} problems; run the step that made the folder again")


if __name__ == "__main__":
    tool.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="e.g. data/labeled")
    tool.run(main)
