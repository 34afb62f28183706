"""The Markdown of :func:`am.scoring.results.results_table`, read back as sections.

The report shows these very tables, so that it cannot say other numbers than ``RESULTS.md``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FENCE = "```"
_HEADING = re.compile("##? (.*)")
_CELL_BORDER = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class ResultsSection:
    """A section of the results.

    Attributes:
        note: its text.
        header: of its table; empty where it has none.
        rows: of its table.
        code: lines of its code block.
    """

    note: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    code: tuple[str, ...] = ()


def read_results(markdown: str) -> dict[str, ResultsSection]:
    """Sections by heading, in their order."""
    lines_of: dict[str, list[str]] = {}
    lines: list[str] = []
    in_code = False
    for line in markdown.splitlines():
        in_code ^= line == FENCE
        if not in_code and (heading := _HEADING.fullmatch(line)):
            lines = lines_of.setdefault(heading[1], [])
        else:
            lines.append(line)
    return {heading: _section(lines) for heading, lines in lines_of.items()}


def _section(lines: list[str]) -> ResultsSection:
    note: list[str] = []
    table: list[tuple[str, ...]] = []
    code: list[str] = []
    in_code = False
    for line in lines:
        if line == FENCE:
            in_code = not in_code
        elif in_code:
            code.append(line)
        elif line.startswith("| "):
            table.append(_cells(line))
        elif line:
            note.append(line)
    header, rows = (table[0], table[2:]) if table else ((), [])
    return ResultsSection(" ".join(note), header, tuple(rows), tuple(code))


def _cells(line: str) -> tuple[str, ...]:
    inside = line.strip().removeprefix("|").removesuffix("|")
    return tuple(cell.strip().replace("\\|", "|") for cell in _CELL_BORDER.split(inside))
