"""What all pictures share: their file types, their fonts, their saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from am.errors import InputError

TYPES = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 120
# An Agg canvas has at most 2^16 dots a side.
MAX_INCHES = 540.0


def check_picture_name(path: Path) -> None:
    """Raise InputError unless a picture can be written under this name."""
    if path.suffix not in TYPES:
        raise InputError(f"{path}: not a picture's name; end it with one of {' '.join(TYPES)}")


def save_picture(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure as the type that ``path`` ends with; text in an SVG stays text."""
    import matplotlib

    width, height = figure.get_size_inches()
    if max(width, height) > MAX_INCHES and path.suffix == ".png":
        raise InputError(f"{path}: the picture would be too large; show less or write .svg")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "megahour"}):
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata=_metadata(path), **options)


def _metadata(path: Path) -> dict[str, Any]:
    """No date, so that the same picture is the same file."""
    if path.suffix == ".png":
        return {}
    return {"Date" if path.suffix == ".svg" else "CreationDate": None}
