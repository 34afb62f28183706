#!/usr/bin/env python3
"""Show what a student is going to be trained on, before any training."""

import argparse
import dataclasses
from pathlib import Path

from am.errors import InputError
from am.features.feature_data import CUTS_NAME
from am.nnet.cross_entropy import StudentSettings
from am.nnet.training_plan import plan_of_data
from am.report.schedule_picture import plan_document
from commandline import Tool

tool = Tool(
    summary="Show the plan of scheduled learning before any training: each pass, its hours of "
    "speech, its updates (about) and its learning rate, printed and as a picture.",
    reads=["LABELED, UNLABELED: feature data folders (steps/make_features.py)"],
    writes=["PICTURE: the passes along the updates, the learning rate above them, .svg"],
    example="utils/show_schedule.py --set schedule.schedule=segregated data/labeled/lfbe "
    "data/unlabeled/lfbe exp/schedule.svg",
)
tool.add_config(default="conf/student_scheduled.yaml")
for name in ("labeled", "unlabeled", "picture"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    if options.picture.suffix != ".svg":
        raise InputError(f"{options.picture}: not a picture's name; end it with .svg")
    settings = tool.settings(StudentSettings, options)
    trainer = settings.trainer
    plan = plan_of_data(
        options.labeled,
        options.unlabeled,
        settings.schedule,
        trainer,
        settings.batching,
        trainer.chunk_seconds,
    )
    tool.build(
        options.picture,
        [options.labeled / CUTS_NAME, options.unlabeled / CUTS_NAME],
        dataclasses.asdict(settings),
        lambda path: path.write_text(plan_document(plan), encoding="utf-8"),
        is_folder=False,
    )
    print("\n".join(plan.lines()))


if __name__ == "__main__":
    tool.run(main)
