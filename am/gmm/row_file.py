"""Rows appended to a file on disk and then read through a memory map."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np


class RowWriter:
    """Writes rows of one type and width; a context manager.

    Args:
        path: the file, replaced.
        dtype: of the values.
    """

    def __init__(self, path: Path, dtype: type):
        self.num_rows = 0
        self._dtype = dtype
        self._stream = path.open("wb")

    def append(self, rows: np.ndarray) -> None:
        """Append (n, ...) rows."""
        self._stream.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
        self.num_rows += len(rows)

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()


def open_rows(path: Path, dtype: type, width: int | None = None, mode: str = "r") -> np.ndarray:
    """Map a file of rows: (n,), or (n, width).  ``mode`` is ``r`` or ``r+`` (changed in place)."""
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.zeros((0,) if width is None else (0, width), dtype=dtype)
    rows = np.memmap(path, dtype=dtype, mode=mode)  # type: ignore[call-overload]
    return rows if width is None else rows.reshape(-1, width)
