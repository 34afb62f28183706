"""Ragged arrays on disk: one variable-length record a cut, in checksummed shards.

Alignments, senone labels and soft labels are all this: for a cut, one or more arrays that share
their first axis (frames).  A store is a folder::

    store.json           what it holds: kind, frame shift in seconds, fields, any other facts
    shard-00000.safetensors   per field the records of all its cuts, one after the other
    shard-00000.json     the cuts in order with their frame counts, and the shard's SHA-256

A shard's JSON is written last, so a shard without it was never finished.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from am.errors import InputError
from am.outputs import sha256_of_file

STORE_NAME = "store.json"
Record = Mapping[str, np.ndarray]


def write_store_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write ``store.json``.

    ``description`` has at least ``kind``, ``frame_shift`` (seconds) and ``fields`` (the names
    of a record's arrays).
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STORE_NAME).write_text(json.dumps(dict(description), indent=1))


def shard_paths(folder: Path, index: int) -> tuple[Path, Path]:
    """The data and the index file of shard ``index`` (from 0)."""
    return folder / f"shard-{index:05d}.safetensors", folder / f"shard-{index:05d}.json"


def write_shard(folder: Path, index: int, records: Iterable[tuple[str, Record]]) -> None:
    """Write one shard: ``records`` are pairs of cut id and field → array (frames, ...)."""
    data_path, index_path = shard_paths(folder, index)
    index_path.unlink(missing_ok=True)
    columns: dict[str, list[np.ndarray]] = {}
    cuts: list[tuple[str, int]] = []
    for cut_id, record in records:
        lengths = {len(array) for array in record.values()}
        assert len(lengths) == 1, f"{cut_id}: fields of different lengths {lengths}"
        cuts.append((cut_id, lengths.pop()))
        for name, array in record.items():
            columns.setdefault(name, []).append(array)
    folder.mkdir(parents=True, exist_ok=True)
    aside = data_path.with_suffix(".tmp")
    save_file({name: np.concatenate(arrays) for name, arrays in columns.items()}, str(aside))
    digest = sha256_of_file(aside)
    aside.replace(data_path)
    aside = index_path.with_suffix(".tmp")
    aside.write_text(json.dumps({"sha256": digest, "cuts": cuts}))
    aside.replace(index_path)


def shard_fault(folder: Path, index: int) -> str | None:
    """Why shard ``index`` cannot be used, or None: it is checked against its checksum."""
    data_path, index_path = shard_paths(folder, index)
    if not index_path.is_file() or not data_path.is_file():
        return "unfinished"
    if sha256_of_file(data_path) != json.loads(index_path.read_text())["sha256"]:
        return "altered or truncated (checksum differs)"
    return None


def check_store(folder: Path) -> None:
    """Raise InputError naming every shard whose checksum does not match."""
    for index in range(count_shards(folder)):
        fault = shard_fault(folder, index)
        if fault:
            raise InputError(
                f"{shard_paths(folder, index)[0]}: {fault}; run the tool that wrote it again, "
                "it regenerates this shard alone"
            )


def count_shards(folder: Path) -> int:
    """How many shards the store's folder has on disk."""
    return len(list(folder.glob("shard-*.json")))


@dataclass(frozen=True)
class _Place:
    shard: int
    offset: int
    num_frames: int


class RaggedStore:
    """Random access to a store by cut id; arrays are read from disk when asked for."""

    def __init__(self, folder: Path):
        if not (folder / STORE_NAME).is_file():
            raise InputError(
                f"{folder}: holds no {STORE_NAME}; run the step that writes this store"
            )
        self.folder = folder
        self.description: dict[str, Any] = json.loads((folder / STORE_NAME).read_text())
        self._places: dict[str, _Place] = {}
        for index in range(count_shards(folder)):
            offset = 0
            for cut_id, num_frames in json.loads(shard_paths(folder, index)[1].read_text())["cuts"]:
                self._places[cut_id] = _Place(index, offset, num_frames)
                offset += num_frames
        self._open: dict[int, Any] = {}

    @property
    def kind(self) -> str:
        """What the records are, e.g. ``transition-ids``, ``pdf-ids`` or ``soft labels``."""
        return str(self.description["kind"])

    @property
    def frame_shift(self) -> float:
        """Seconds from one frame to the next."""
        return float(self.description["frame_shift"])

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, cut_id: str) -> bool:
        return cut_id in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def num_frames(self, cut_id: str) -> int:
        """Frames of one cut's record."""
        return self._places[cut_id].num_frames

    def __getitem__(self, cut_id: str) -> dict[str, np.ndarray]:
        place = self._places[cut_id]
        if place.shard not in self._open:
            path = shard_paths(self.folder, place.shard)[0]
            try:
                self._open[place.shard] = safe_open(str(path), framework="np")
            except (SafetensorError, OSError) as error:
                raise InputError(
                    f"{path}: not readable ({error}); run the tool that wrote it again"
                ) from error
        shard = self._open[place.shard]
        rows = slice(place.offset, place.offset + place.num_frames)
        return {name: shard.get_slice(name)[rows] for name in self.description["fields"]}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}
