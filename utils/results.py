#!/usr/bin/env python3
"""Make the table of results."""

import argparse
from pathlib import Path

from am.scoring.results import results_table, shown_on_screen
from am.scoring.systems import DEV_SCALES
from commandline import Tool, named_folders

tool = Tool(
    summary="Compare systems: word error rates, significance, times, commands, as Markdown.",
    reads=[
        "FOLDER/score_TESTSET of every system (steps/score.py)",
        f"FOLDER/{DEV_SCALES}, FOLDER/summary.json, FOLDER/done.json, where they are",
        "lines of 'stage TAB seconds TAB title', if --timings names them",
    ],
    writes=["OUTPUT: the table; its rates and times are printed too"],
    example='utils/results.py --system "teacher=exp/teacher_ce" --system "student=exp/student_ce" '
    '--test-sets "test_clean test_noisy" exp/RESULTS.md',
)
tool.add_named_folders("--system")
tool.add_argument("--test-sets", default="", help="their names, separated by spaces")
tool.add_argument("--baseline", help="name of the system that the others are compared with")
tool.add_argument("--timings", type=Path, help="how long the stages took")
tool.add_argument("--seed", type=int, default=1, help="of the bootstrap (%(default)s)")
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    systems = named_folders(options.folders)
    test_sets = options.test_sets.split()
    scores = [folder / f"score_{test}" for folder in systems.values() for test in test_sets]
    timings = [options.timings] if options.timings else []
    tool.build(
        options.output,
        [*(folder for folder in scores if folder.is_dir()), *timings],
        {
            "systems": {name: str(folder) for name, folder in systems.items()},
            "test_sets": test_sets,
            "baseline": options.baseline,
            "seed": options.seed,
        },
        lambda path: path.write_text(
            results_table(
                systems,
                test_sets,
                baseline=options.baseline,
                timings=options.timings,
                seed=options.seed,
            ),
            encoding="utf-8",
        ),
        is_folder=False,
    )
    print(shown_on_screen(options.output.read_text(encoding="utf-8")))


if __name__ == "__main__":
    tool.run(main)
