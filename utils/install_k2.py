#!/usr/bin/env python3
"""Install k2 for the torch of an environment, or make an environment for k2."""

import argparse
from pathlib import Path

from am.k2.install import install_k2
from commandline import Tool

tool = Tool(
    summary="Install the k2 that fits the torch of a Python environment. Where ENVIRONMENT does "
    "not exist it is made, with the torch of the k2 that pip's package index has (1.13.1) and "
    "everything that Megahour needs.",
    reads=[
        "ENVIRONMENT: which Python and torch it has",
        "pip's package index (k2 for torch 1.13.1), or k2's own pages (for later versions)",
    ],
    writes=["ENVIRONMENT: k2"],
    example="utils/install_k2.py .venv_k2 && .venv_k2/bin/python steps/decode.py --decoder k2 "
    "exp/graph_senones data/dev/lfbe exp/student_ce exp/student_ce/decode_dev_k2",
)
tool.add_argument("--wheel", type=Path, help="a wheel of k2 that was downloaded by hand")
tool.add_argument(
    "--with-tests", action="store_true", help="an environment that is made can run the tests too"
)
tool.add_argument("environment", type=Path, help="e.g. .venv, or .venv_k2, which is made")


def main(options: argparse.Namespace) -> None:
    install_k2(options.environment, wheel=options.wheel, with_tests=options.with_tests)


if __name__ == "__main__":
    tool.run(main)
