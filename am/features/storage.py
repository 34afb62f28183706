"""Feature matrices in one file, as half-precision rows, readable at random.

A lhotse storage (``float16_file``): the file is the matrices' bytes one after the other; a
matrix's key is ``byte offset,frames,dimension``.  Half precision keeps 11 bits: an LFBE or MFCC is
off by less than 0.05 %.  Reading a cut is one read of the bytes that are wanted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lhotse.features.io import FeaturesReader, FeaturesWriter, register_reader, register_writer

ITEM_BYTES = 2


@register_writer
class Float16FileWriter(FeaturesWriter):
    """Writes matrices into one new file."""

    name = "float16_file"

    def __init__(self, storage_path: str | Path, *args: Any, **kwargs: Any):
        path = Path(storage_path)
        self._path = path if path.suffix == ".f16" else path.with_name(path.name + ".f16")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb")

    @property
    def storage_path(self) -> str:
        """The file."""
        return str(self._path)

    def write(self, key: str, value: np.ndarray) -> str:
        """Append ``value`` (frames, dimension) and return where it lies."""
        offset = self._file.tell()
        self._file.write(np.ascontiguousarray(value, dtype="<f2").data)
        return f"{offset},{value.shape[0]},{value.shape[1]}"

    def __exit__(self, *args: object, **kwargs: object) -> None:
        self._file.close()


@register_reader
class Float16FileReader(FeaturesReader):
    """Reads what :class:`Float16FileWriter` wrote."""

    name = "float16_file"

    def __init__(self, storage_path: str | Path, *args: Any, **kwargs: Any):
        self._path = storage_path

    def read(
        self, key: str, left_offset_frames: int = 0, right_offset_frames: int | None = None
    ) -> np.ndarray:
        """Frames ``left_offset_frames`` up to ``right_offset_frames``, (frames, dimension) float32.

        Raises:
            ValueError: the file is shorter than the manifest says.
        """
        offset, frames, dimension = map(int, key.split(","))
        first, last, _ = slice(left_offset_frames, right_offset_frames).indices(frames)
        wanted = max(last - first, 0) * dimension
        with open(self._path, "rb", buffering=0) as stream:  # noqa: PTH123 (hot path)
            stream.seek(offset + first * dimension * ITEM_BYTES)
            data = stream.read(wanted * ITEM_BYTES)
        if len(data) != wanted * ITEM_BYTES:
            raise ValueError(
                f"truncated: {len(data)} of {wanted * ITEM_BYTES} bytes at {key}; "
                "run steps/make_features.py again"
            )
        return np.frombuffer(data, dtype="<f2").astype(np.float32).reshape(-1, dimension)
