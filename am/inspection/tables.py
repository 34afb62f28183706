"""Columns of text."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], numbers: bool = True) -> list[str]:
    """Lines of columns, the first to the left.

    Args:
        rows: cells, as many in each; the first is the head.
        numbers: the other columns are numbers, to the right; else text, to the left.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [
                cell.rjust(width) if numbers else cell.ljust(width)
                for cell, width in zip(row[1:], widths[1:], strict=True)
            ]
        ).rstrip()
        for row in rows
    ]
