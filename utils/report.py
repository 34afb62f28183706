#!/usr/bin/env python3
"""Make a page on an experiment."""

import argparse
from dataclasses import asdict
from pathlib import Path

from am.errors import InputError
from am.report.report import write_report
from am.report.sources import ReportSources
from commandline import Tool, named_folders, whole_number

tool = Tool(
    summary="Show an experiment as one HTML page: word error rates, learning curves, the schedule, "
    "soft labels, errors to read and to hear, trees, times.  What is missing is left out.",
    reads=[
        "FOLDER/score_TESTSET and FOLDER/decode_TESTSET of every system, where they are",
        "EXP/*: the logs and trees of trained models",
        "DATA/lang, DATA/TESTSET with its audio, stores of soft labels",
        "lines of 'stage TAB seconds TAB title', if --timings names them",
    ],
    writes=["OUTPUT: the page, which needs no other file"],
    example='utils/report.py --system "teacher=exp/teacher_ce" --system "student=exp/student_ce" '
    '--test-sets "test_clean test_noisy" --exp exp --data data exp/report.html',
)
tool.add_named_folders("--system")
tool.add_argument("--test-sets", default="", help="their names, separated by spaces")
tool.add_argument("--baseline", help="name of the system that the others are compared with")
tool.add_argument("--timings", type=Path, help="how long the stages took")
tool.add_argument("--exp", type=Path, help="folder of the models")
tool.add_argument("--data", type=Path, help="folder of the data")
tool.add_argument(
    "--utterances",
    type=whole_number,
    default=2,
    help="shown and heard of each test set, those with most errors (%(default)s)",
)
tool.add_argument("--title", default=Path.cwd().name, help="of the page (%(default)s)")
tool.add_argument("--seed", type=int, default=1, help="of the bootstrap (%(default)s)")
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    systems = named_folders(options.folders)
    if options.baseline is not None and options.baseline not in systems:
        raise InputError(f"--baseline {options.baseline}: is none of {', '.join(systems)}")
    sources = ReportSources(
        systems=systems,
        test_sets=options.test_sets.split(),
        baseline=options.baseline,
        timings=options.timings,
        exp=options.exp,
        data=options.data,
        seed=options.seed,
        utterances=options.utterances,
    )
    tool.build(
        options.output,
        sources.inputs(),
        {**asdict(sources), "title": options.title},
        lambda path: write_report(sources, options.title, path),
        is_folder=False,
    )


if __name__ == "__main__":
    tool.run(main)
