"""Shards of coded records: blocks of whole cuts, decoded when a cut of theirs is read.

Such a shard holds, in place of a tensor a field::

    blocks          uint8, the blocks, one after the other
    block_bytes     int64, the bytes of each
    block_frames    int64, its frames

and as metadata, under ``codec``, the description of the codec (JSON).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from am.errors import InputError
from am.soft_labels import codec as soft_labels
from am.soft_labels import dense_codec as dense_soft_labels

# A block is closed once it has so many frames: smaller ones need more bytes a frame, larger ones
# more time where cuts are read in random order.
BLOCK_FRAMES = 500
Record = Mapping[str, np.ndarray]


class Codec(Protocol):
    """Turns a record (field → array, one row a frame) into bytes and back."""

    def describe(self) -> dict[str, Any]:
        """What makes the same codec again, for JSON; ``name`` is the key in :data:`CODECS`."""

    def encode(self, record: Record) -> bytes:
        """One block; a ValueError where the codec cannot hold it."""

    def decode(self, payload: bytes, num_frames: int) -> dict[str, np.ndarray]:
        """The record of a block; a ValueError where it is damaged."""

    def empty(self) -> dict[str, np.ndarray]:
        """A record of 0 frames."""


CODECS: dict[str, Callable[[Mapping[str, Any]], Codec]] = {
    soft_labels.NAME: soft_labels.SoftLabelCodec.from_description,
    dense_soft_labels.NAME: dense_soft_labels.DenseSoftLabelCodec.from_description,
}


def codec_of(description: Mapping[str, Any], path: Path) -> Codec | None:
    """The codec that a store's description names, if any.

    Raises:
        InputError: it is unknown, or its values are; names ``path``.
    """
    described = description.get("codec")
    if described is None:
        return None
    try:
        return CODECS[described["name"]](described)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: codec {json.dumps(described)} cannot be read ({error}); run the tool that "
            "wrote the store again"
        ) from error


def encode_shard(
    record: Record, cut_frames: Sequence[int], codec: Codec
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors and metadata of a coded shard.

    Args:
        record: of all its cuts, one after the other.
        cut_frames: of each.
        codec: what encodes them.
    """
    bounds = [0]
    ends = np.cumsum(cut_frames, dtype=np.int64).tolist()
    for end in ends:
        if end - bounds[-1] >= BLOCK_FRAMES:
            bounds.append(end)
    if ends and ends[-1] > bounds[-1]:
        bounds.append(ends[-1])
    blocks = [
        codec.encode({name: array[start:end] for name, array in record.items()})
        for start, end in pairwise(bounds)
    ]
    tensors: dict[str, np.ndarray] = {
        "blocks": np.frombuffer(b"".join(blocks), np.uint8),
        "block_bytes": np.array([len(block) for block in blocks], np.int64),
        "block_frames": np.diff(np.array(bounds, np.int64)),
    }
    return tensors, {"codec": json.dumps(codec.describe())}


class CodedShard:
    """Random access to the frames of a coded shard."""

    def __init__(self, tensors: Any, codec: Codec):
        """Read the table of blocks.

        Args:
            tensors: the open safetensors file.
            codec: what the store's description names.

        Raises:
            ValueError: it is no coded shard, or coded otherwise.
        """
        if (tensors.metadata() or {}).get("codec") != json.dumps(codec.describe()):
            raise ValueError("not coded as the store's description says")
        self._tensors = tensors
        self._codec = codec
        self._frame_ends = np.cumsum(tensors.get_tensor("block_frames"))
        self._byte_ends = np.cumsum(tensors.get_tensor("block_bytes"))
        # The last block: the next cut read in order is often in it.
        self._decoded: tuple[int, dict[str, np.ndarray]] = (-1, {})

    def rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """The record of frames ``start`` to ``stop`` of the shard, which one block holds.

        Raises:
            ValueError: the block is damaged.
        """
        if start == stop:
            return self._codec.empty()
        block = int(np.searchsorted(self._frame_ends, start, side="right"))
        if block == len(self._frame_ends):
            raise ValueError(f"frames {start} to {stop} are past its end")
        if self._decoded[0] != block:
            self._decoded = (block, self._decode(block))
        first = int(self._frame_ends[block - 1]) if block else 0
        # Copies, because the block is used again.
        return {
            name: array[start - first : stop - first].copy()
            for name, array in self._decoded[1].items()
        }

    def _decode(self, block: int) -> dict[str, np.ndarray]:
        frames, sizes = (
            (int(ends[block - 1]) if block else 0, int(ends[block]))
            for ends in (self._frame_ends, self._byte_ends)
        )
        payload = self._tensors.get_slice("blocks")[slice(*sizes)].tobytes()
        return self._codec.decode(payload, frames[1] - frames[0])
