"""Ragged arrays on disk: one variable-length record a cut, in checksummed shards.

Alignments, senone labels and soft labels are all this: for a cut, one or more arrays that share
their first axis (frames).  A store is a folder::

    store.json           what it holds: kind, frame shift in seconds, fields, any other facts
    shard-00000.safetensors   per field the records of all its cuts, one after the other
    shard-00000.json     the cuts in order with their frame counts, and the shard's SHA-256

Where ``store.json`` names a ``codec``, the shards hold coded records (:mod:`am.coded_shards`).

A shard's JSON is written last, so a shard without it was never finished.  ``num_shards`` in
``store.json`` is optional; with it, a shard missing at the end is noticed too.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from am.coded_shards import Codec, CodedShard, Record, codec_of, encode_shard
from am.errors import InputError
from am.outputs import sha256_of_file, unfinished_folder

STORE_NAME = "store.json"
# Each open shard is a memory map and a file handle; a store may have thousands.
MAX_OPEN_SHARDS = 64
MEND = "run the tool that wrote the store again, it regenerates this shard alone"


def write_store_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write ``store.json``.

    ``description`` has at least ``kind``, ``frame_shift`` (seconds) and ``fields`` (the names
    of a record's arrays); with ``num_shards``, the store is whole only with so many; with
    ``codec``, its shards are coded (:meth:`am.coded_shards.Codec.describe`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{STORE_NAME}.tmp"
    aside.write_text(json.dumps(dict(description), indent=1))
    aside.replace(folder / STORE_NAME)


def shard_paths(folder: Path, index: int) -> tuple[Path, Path]:
    """The data and the index file of shard ``index`` (from 0)."""
    return folder / f"shard-{index:05d}.safetensors", folder / f"shard-{index:05d}.json"


def write_shard(
    folder: Path, index: int, records: Iterable[tuple[str, Record]], codec: Codec | None = None
) -> None:
    """Write one shard: ``records`` are pairs of cut id and field → array (frames, ...).

    All records have the same fields; a field's arrays differ in their first axis alone.  ``codec``
    is the one that ``store.json`` names, if any.
    """
    data_path, index_path = shard_paths(folder, index)
    index_path.unlink(missing_ok=True)
    columns: dict[str, list[np.ndarray]] = {}
    cuts: list[tuple[str, int]] = []
    for cut_id, record in records:
        lengths = {len(array) for array in record.values()}
        if len(lengths) != 1:
            raise ValueError(f"{cut_id}: fields of different lengths {sorted(lengths)}")
        if columns and record.keys() != columns.keys():
            raise ValueError(f"{cut_id}: fields {list(record)}, before it {list(columns)}")
        cuts.append((cut_id, lengths.pop()))
        for name, array in record.items():
            columns.setdefault(name, []).append(array)
    tensors = {name: np.concatenate(arrays) for name, arrays in columns.items()}
    metadata = None
    if codec is not None:
        tensors, metadata = encode_shard(tensors, [num_frames for _, num_frames in cuts], codec)
    with unfinished_folder(folder) as aside:
        data, index_file = aside / data_path.name, aside / index_path.name
        save_file(tensors, str(data), metadata)
        digest = sha256_of_file(data)
        index_file.write_text(json.dumps({"sha256": digest, "cuts": cuts}))
        data.replace(data_path)
        index_file.replace(index_path)


def shard_fault(folder: Path, index: int) -> str | None:
    """Why shard ``index`` cannot be used, or None: it is checked against its checksum."""
    data_path, index_path = shard_paths(folder, index)
    if not index_path.is_file() or not data_path.is_file():
        return "unfinished"
    try:
        digest = json.loads(index_path.read_text())["sha256"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return f"its index {index_path.name} is altered or truncated"
    if sha256_of_file(data_path) != digest:
        return "altered or truncated (checksum differs)"
    return None


def check_store(folder: Path) -> None:
    """Read every shard and compare checksums.

    Raises:
        InputError: a shard is unfinished, altered or truncated; all such shards are named.
    """
    faults = [(index, shard_fault(folder, index)) for index in range(_expected_shards(folder))]
    named = [f"{shard_paths(folder, index)[0].name}: {fault}" for index, fault in faults if fault]
    if named:
        raise InputError(
            f"{folder}: {'; '.join(named)}; run the tool that wrote it again, "
            "it regenerates these shards alone"
        )


def count_shards(folder: Path) -> int:
    """How many finished shards the store's folder has on disk."""
    return len(list(folder.glob("shard-*.json")))


def _read_description(folder: Path) -> dict[str, Any]:
    """What ``store.json`` says."""
    if not (folder / STORE_NAME).is_file():
        raise InputError(f"{folder}: holds no {STORE_NAME}; run the step that writes this store")
    description: dict[str, Any] = json.loads((folder / STORE_NAME).read_text())
    return description


def _expected_shards(folder: Path) -> int:
    """Shards that should be there: as ``store.json`` says, else up to the highest on disk."""
    description = _read_description(folder)
    found = [int(path.stem.removeprefix("shard-")) for path in folder.glob("shard-*.*")]
    return int(description.get("num_shards", max(found, default=-1) + 1))


@dataclass(frozen=True)
class _Place:
    shard: int
    offset: int
    num_frames: int


class RaggedStore:
    """Random access to a store by cut id; arrays are read from disk when asked for."""

    def __init__(self, folder: Path, shards: Iterable[int] | None = None):
        """Read the shards' indices.

        Args:
            folder: the store.
            shards: only these (from 0), of a store that is read shard by shard; None reads all.

        Raises:
            InputError: there is no store, its codec is unknown, a shard is missing or its index
                unreadable, or a cut stands in it twice.  The data themselves are only checked by
                :func:`check_store`.
        """
        self.folder = folder
        self.description = _read_description(folder)
        self._codec = codec_of(self.description, folder / STORE_NAME)
        self._places: dict[str, _Place] = {}
        for index in range(_expected_shards(folder)) if shards is None else shards:
            self._read_index(index)
        self._open: OrderedDict[int, Any] = OrderedDict()

    def _read_index(self, index: int) -> None:
        path = shard_paths(self.folder, index)[1]
        try:
            cuts = json.loads(path.read_text())["cuts"]
        except FileNotFoundError as error:
            raise InputError(f"{path}: missing, the shard is unfinished; {MEND}") from error
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise InputError(f"{path}: altered or truncated; {MEND}") from error
        offset = 0
        for cut_id, num_frames in cuts:
            if cut_id in self._places:
                raise InputError(f"{path}: cut {cut_id} stands in the store twice; {MEND}")
            self._places[cut_id] = _Place(index, offset, num_frames)
            offset += num_frames

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
        shard = self._opened(place.shard)
        start, stop = place.offset, place.offset + place.num_frames
        if isinstance(shard, CodedShard):
            try:
                return shard.rows(start, stop)
            except ValueError as error:
                path = shard_paths(self.folder, place.shard)[0]
                raise InputError(f"{path}: cut {cut_id}: {error}; {MEND}") from error
        fields = self.description["fields"]
        if place.num_frames == 0:
            # safetensors refuses an empty slice at a tensor's end.
            return {name: shard.get_tensor(name)[:0] for name in fields}
        return {name: shard.get_slice(name)[start:stop] for name in fields}

    def _opened(self, index: int) -> Any:
        """The shard's safetensors file or :class:`am.coded_shards.CodedShard`."""
        if index in self._open:
            self._open.move_to_end(index)
            return self._open[index]
        path = shard_paths(self.folder, index)[0]
        try:
            tensors = safe_open(str(path), framework="np")
            shard = tensors if self._codec is None else CodedShard(tensors, self._codec)
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"{path}: altered or truncated ({error}); {MEND}") from error
        self._open[index] = shard
        if len(self._open) > MAX_OPEN_SHARDS:
            self._open.popitem(last=False)
        return shard

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}
