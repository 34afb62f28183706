#!/usr/bin/env python3
"""Show what is installed, what fits together, and which engine each step will use."""

import argparse
import platform

from am.engine_check import (
    check_packages,
    device_line,
    fit_lines,
    mend_lines,
    package_rows,
    step_rows,
)
from am.errors import InputError
from am.inspection.tables import table
from commandline import Tool

tool = Tool(
    summary="Show the packages that are installed and whether they work, which builds fit the "
    "installed torch, the engine that each step will use, and how to install what is missing.",
    reads=["the environment of the python3 that runs it"],
    writes=["prints tables; exit status 1 where something is missing that every recipe needs"],
    example="utils/check_env.py",
    needs_arguments=False,
)


def main(options: argparse.Namespace) -> None:
    states = check_packages()
    print(f"Python {platform.python_version()}, {platform.platform()}")
    print(device_line(), end="\n\n")
    for rows in (package_rows(states), step_rows(states)):
        print(*table(rows, numbers=False), sep="\n", end="\n\n")
    for title, lines in (
        ("Built for torch", fit_lines(states)),
        ("To install what is missing", mend_lines(states)),
    ):
        if lines:
            print(f"{title}:", *lines, sep="\n  ", end="\n\n")
    unusable = [one.package.name for one in states if one.package.is_needed and not one.works]
    if unusable:
        raise InputError(f"{', '.join(unusable)}: needed, missing or broken; see above")


if __name__ == "__main__":
    tool.run(main)
