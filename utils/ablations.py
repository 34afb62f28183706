#!/usr/bin/env python3
"""Make the table of ablations and its pictures."""

import argparse
from collections.abc import Callable
from pathlib import Path

from am.report.ablation_pictures import TABLE_NAME, ablation_files
from am.scoring.ablations import read_rows
from commandline import Tool

tool = Tool(
    summary="Compare systems that were trained from several seeds: mean word error rates, "
    "significance, curves over hours of speech and stored logits.",
    reads=[
        "ROWS: system, curves, unlabelled data, its labels, folder; a line a run "
        "(local/run_ablations.sh writes it)",
        "FOLDER/score_TESTSET of every run (steps/score.py)",
    ],
    writes=[
        "OUTPUT/ABLATIONS.md: the table; it is printed too",
        "OUTPUT/hours.svg, top_k.svg: the curves of which ROWS has two points",
    ],
    example='utils/ablations.py --test-sets "test_clean test_noisy" '
    '--against "student, labelled alone" exp/ablations/rows.tsv exp/ablations',
)
tool.add_argument("--test-sets", default="", help="their names, separated by spaces")
tool.add_argument(
    "--against",
    action="append",
    default=[],
    help="system that the others are compared with; may be given several times, the first one is "
    "that of the relative changes",
)
tool.add_seed()
tool.add_argument("rows", type=Path)
tool.add_argument("output", type=Path)


def writer_of(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content, encoding="utf-8")


def main(options: argparse.Namespace) -> None:
    test_sets = options.test_sets.split()
    rows = read_rows(options.rows, test_sets)
    runs = [run for row in rows for run in row.runs]
    scores = [run.folder / f"score_{test}" for run in runs for test in run.scores]
    files = ablation_files(rows, test_sets, options.against, options.seed)
    for name, content in files.items():
        tool.build(
            options.output / name,
            [options.rows, *scores],
            {"test_sets": test_sets, "against": options.against, "seed": options.seed},
            writer_of(content),
            is_folder=False,
        )
    print(files[TABLE_NAME].partition("\n## ")[0])


if __name__ == "__main__":
    tool.run(main)
