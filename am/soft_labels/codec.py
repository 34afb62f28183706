"""The compact form of soft labels: pdf-ids exact, logits in equal steps.

A block is T frames of k logits each, highest first.  It is one zlib stream (RFC 1950) of bytes,
ranks before frames in each part:

====================  ==================================================================
(k, T) uint8          position of the pdf-id in the list of the frame before; 255: not in it
(k, T) uint8, twice   low and high bytes of the gaps: how many steps the logit lies below the
                      one ranked before it, the first one below 0
(n,) uint8, twice     low and high bytes of the n pdf-ids that were not in the frame before
====================  ==================================================================

A position counts only what is left of that list: each pdf-id is taken out of it when found.  The
list of a block's first frame is empty.

Neighbouring frames share most of their pdf-ids, and logits far down lie close together, so the
bytes are small numbers of uneven frequency.  Ranks 0, 1, 2-3, 4-7, ..., whose statistics differ,
have Huffman codes of their own (:mod:`am.soft_labels.byte_stream`).

All logits of a frame are stored otherwise: :mod:`am.soft_labels.dense_codec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from am.soft_labels.byte_stream import compress, decompress, high_bytes, join_bytes, low_bytes
from am.soft_labels.quantisation import (
    DEFAULT_LOGIT_STEP,
    check_codec,
    check_logit_step,
    from_levels,
    to_levels,
)

NAME = "soft-labels"
VERSION = 1
NEW = 255
MAX_TOP_K = 255
MAX_GAP = (1 << 16) - 1


@dataclass(frozen=True)
class SoftLabelCodec:
    """Encodes and decodes blocks of soft labels.

    Attributes:
        top_k: logits a frame, 1 to 255.
        logit_step: the stored logits are its multiples (natural log), so that they differ from
            the teacher's by half of it at most.
    """

    top_k: int
    logit_step: float = DEFAULT_LOGIT_STEP

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= MAX_TOP_K:
            raise ValueError(f"top k {self.top_k}: must be 1 to {MAX_TOP_K}")
        check_logit_step(self.logit_step)

    def describe(self) -> dict[str, Any]:
        """What :meth:`from_description` takes; stands in ``store.json`` and in each shard."""
        return {
            "name": NAME,
            "version": VERSION,
            "top_k": self.top_k,
            "logit_step": self.logit_step,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> SoftLabelCodec:
        """The codec that :meth:`describe` described.

        Raises:
            KeyError, ValueError: another codec or version, or values missing or out of range.
        """
        check_codec(description, NAME, VERSION)
        return cls(int(description["top_k"]), float(description["logit_step"]))

    def encode(self, record: Mapping[str, np.ndarray]) -> bytes:
        """One block.

        Args:
            record: ``pdf_ids`` (T, k) uint16, distinct in a frame; ``logits`` (T, k) float, natural
                log posteriors, highest first.

        Raises:
            ValueError: arrays that are not so.
        """
        pdf_ids, logits = record["pdf_ids"], record["logits"]
        if pdf_ids.shape != logits.shape or logits.shape[1:] != (self.top_k,):
            raise ValueError(f"pdf-ids {pdf_ids.shape} and logits {logits.shape}, k {self.top_k}")
        if pdf_ids.dtype != np.uint16:
            raise ValueError(f"pdf-ids are {pdf_ids.dtype}, not uint16")
        if (np.diff(np.sort(pdf_ids, axis=1), axis=1) == 0).any():
            raise ValueError("a frame has a pdf-id twice")
        by_rank = np.ascontiguousarray(pdf_ids.T)
        gaps = self._gaps(logits)
        positions = _positions(by_rank)
        new = by_rank[positions == NEW]
        groups = [slice(*pair) for pair in pairwise(_group_bounds(self.top_k))]
        parts = [
            *(positions[group] for group in groups),
            *(low_bytes(gaps)[group] for group in groups),
            high_bytes(gaps),
            low_bytes(new),
            high_bytes(new),
        ]
        return compress(parts)

    def decode(self, payload: bytes, num_frames: int) -> dict[str, np.ndarray]:
        """The record of a block of ``num_frames`` frames: ``pdf_ids`` uint16, ``logits`` float32.

        Raises:
            ValueError: the block is damaged.
        """
        content = decompress(payload)
        size = self.top_k * num_frames
        positions = content[:size].reshape(self.top_k, -1)
        if positions.shape[1] != num_frames or len(content) != 3 * size + 2 * _count_new(positions):
            raise ValueError(f"{len(content)} bytes do not fit {num_frames} frames")
        gaps = join_bytes(content[size : 3 * size]).reshape(self.top_k, num_frames)
        levels = gaps.cumsum(axis=0, dtype=np.int32)
        logits = from_levels(levels, self.logit_step)
        pdf_ids = _pdf_ids(positions, join_bytes(content[3 * size :]))
        return {"pdf_ids": np.ascontiguousarray(pdf_ids.T), "logits": logits}

    def empty(self) -> dict[str, np.ndarray]:
        """A record of 0 frames."""
        shape = (0, self.top_k)
        return {"pdf_ids": np.empty(shape, np.uint16), "logits": np.empty(shape, np.float32)}

    def _gaps(self, logits: np.ndarray) -> np.ndarray:
        """(k, T) uint16 steps below the rank before."""
        gaps = np.diff(to_levels(logits, self.logit_step), axis=0, prepend=0)
        if gaps.size and not (gaps.min() >= 0 and gaps.max() <= MAX_GAP):
            raise ValueError(
                "logits must not be above 0, must be sorted, highest first, and neighbours at most "
                f"{MAX_GAP} steps apart"
            )
        return gaps.astype(np.uint16)


def _group_bounds(top_k: int) -> list[int]:
    """0, 1, 2, 4, 8, ... up to k: ranks between two of them share a Huffman code."""
    bounds = [0, 1]
    while bounds[-1] < top_k:
        bounds.append(min(2 * bounds[-1], top_k))
    return bounds


def _positions(pdf_ids: np.ndarray) -> np.ndarray:
    """(k, T) uint8: where in what is left of the previous frame's list each pdf-id stood."""
    top_k = len(pdf_ids)
    before, here = pdf_ids[:, :-1], pdf_ids[:, 1:]
    ranks = np.full(pdf_ids.shape, NEW, np.uint8)
    for rank in range(top_k):
        np.copyto(ranks[:, 1:], rank, where=here == before[rank])
    positions = ranks.copy()
    for rank in range(top_k - 1):
        positions[rank + 1 :] -= ranks[rank + 1 :] > ranks[rank]
    positions[ranks == NEW] = NEW
    return positions


def _pdf_ids(positions: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(k, T) uint16, the inverse of :func:`_positions`."""
    top_k, num_frames = positions.shape
    is_new = positions == NEW
    ranks = positions.copy()
    # From the last taken to the first: what was taken before it and stood above moves it down.
    for rank in range(top_k - 2, -1, -1):
        ranks[rank + 1 :] += ranks[rank + 1 :] >= positions[rank]
    values = np.zeros(positions.size, np.uint16)
    values[is_new.ravel()] = new
    # Each entry points to its source one frame earlier, a new one to itself; doubling the
    # pointers' reach finds where all of them began in log2(T) rounds.
    places = np.arange(positions.size).reshape(positions.shape)
    before = ranks.astype(np.intp) * num_frames + (np.arange(num_frames) - 1)
    sources = np.where(is_new, places, before).ravel()
    while True:
        further = sources[sources]
        if np.array_equal(further, sources):
            return values[sources].reshape(positions.shape)
        sources = further


def _count_new(positions: np.ndarray) -> int:
    return int(np.count_nonzero(positions == NEW))
