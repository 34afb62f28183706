"""Progress with time left, the same everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(
    items: Iterable[Item], description: str, total: int | None = None, unit: str = "it"
) -> tqdm[Item]:
    """Wrap ``items`` in a bar on stderr; a log file gets a line every half minute instead."""
    return tqdm(
        items,
        desc=description,
        total=total,
        unit=unit,
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
        dynamic_ncols=sys.stderr.isatty(),
        leave=False,
    )
