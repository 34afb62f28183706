#!/usr/bin/env python3
"""Plan a corpus of some size: disk, compute, traffic, time and how many workers help."""

import argparse
import dataclasses
from pathlib import Path

from am.scale.figures import as_overrides
from am.scale.plan import PlanSettings
from am.scale.plan_folder import PLAN_NAME, write_plan
from commandline import Tool

tool = Tool(
    summary="Plan a recipe for some hours of speech and some workers: disk, hours of compute, "
    "wall-clock time by stage, traffic, and how ddp, gtc and bmuf scale. Every figure is shown "
    "with its origin; figures of your own machines make the plan yours (docs/scaling.md).",
    reads=["the settings, and figures that benchmarks wrote (--measured)"],
    writes=["PLAN: PLAN.md, the tables; speed_up.svg; stages_HOURS_hours.svg; also printed"],
    example="utils/plan_scale.py --set workers=64 --set figures.link_bits_a_second=1e9 exp/plan",
)
tool.add_config(default="conf/scale.yaml")
tool.add_argument(
    "--measured",
    type=Path,
    action="append",
    default=[],
    help="figures to use instead (benchmarks/network.sh --figures); may be given several times",
)
tool.add_argument("plan", type=Path)


def main(options: argparse.Namespace) -> None:
    given = options.overrides
    options.overrides = [one for path in options.measured for one in as_overrides(path)] + given
    settings = tool.settings(PlanSettings, options)
    tool.build(
        options.plan,
        options.measured,
        dataclasses.asdict(settings),
        lambda folder: write_plan(folder, settings),
    )
    print((options.plan / PLAN_NAME).read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    tool.run(main)
