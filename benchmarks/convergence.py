#!/usr/bin/env python3
"""What benchmarks/convergence.sh calls when all rows are trained: writes and prints the table."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.errors import InputError
from am.scoring.convergence import convergence_table


def main() -> None:
    """Parse the options and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--command", required=True, help="the script's own")
    add("--test-sets", default="", help="their names, separated by spaces")
    add("--seed", type=int, default=1, help="of the bootstrap (%(default)s)")
    add("--output", type=Path, required=True, help="the table, Markdown")
    add("folders", type=Path, nargs="+", help="trained networks, that of one process first")
    options = parser.parse_args()
    table = convergence_table(
        options.folders, options.test_sets.split(), options.command, options.seed
    )
    options.output.write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"benchmarks/convergence.sh: {error}")
