"""The compact form of soft labels of all senones: logits in equal steps, no pdf-ids.

A block is T frames of P logits each, in the order of the pdf-ids.  A logit's level is how many
steps it lies below 0.  The block is one zlib stream (:mod:`am.soft_labels.byte_stream`) of the
low, then the high bytes of (P, T) numbers: by how much each level differs from the one of the
frame before, of 0 at the block's first frame; d ≥ 0 stands as 2 d, d < 0 as -2 d - 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from am.soft_labels.byte_stream import compress, decompress, high_bytes, join_bytes, low_bytes
from am.soft_labels.quantisation import (
    DEFAULT_LOGIT_STEP,
    MAX_PDFS,
    check_codec,
    check_logit_step,
    from_levels,
    to_levels,
)

NAME = "dense-soft-labels"
VERSION = 1
MAX_LEVEL = (1 << 15) - 1


@dataclass(frozen=True)
class DenseSoftLabelCodec:
    """Encodes and decodes blocks of the logits of all senones.

    Attributes:
        num_pdfs: senones, P.
        logit_step: as in :class:`am.soft_labels.codec.SoftLabelCodec`.
    """

    num_pdfs: int
    logit_step: float = DEFAULT_LOGIT_STEP

    def __post_init__(self) -> None:
        if not 1 <= self.num_pdfs <= MAX_PDFS:
            raise ValueError(f"{self.num_pdfs} senones: must be 1 to {MAX_PDFS}")
        check_logit_step(self.logit_step)

    def describe(self) -> dict[str, Any]:
        """What :meth:`from_description` takes; stands in ``store.json`` and in each shard."""
        return {
            "name": NAME,
            "version": VERSION,
            "num_pdfs": self.num_pdfs,
            "logit_step": self.logit_step,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> DenseSoftLabelCodec:
        """The codec that :meth:`describe` described.

        Raises:
            KeyError, ValueError: another codec or version, or values missing or out of range.
        """
        check_codec(description, NAME, VERSION)
        return cls(int(description["num_pdfs"]), float(description["logit_step"]))

    def encode(self, record: Mapping[str, np.ndarray]) -> bytes:
        """One block.

        Args:
            record: ``pdf_ids`` (T, P) uint16, 0 … P − 1 in every frame; ``logits`` (T, P) float,
                natural log posteriors.

        Raises:
            ValueError: arrays that are not so.
        """
        pdf_ids, logits = record["pdf_ids"], record["logits"]
        if pdf_ids.shape != logits.shape or logits.shape[1:] != (self.num_pdfs,):
            raise ValueError(
                f"pdf-ids {pdf_ids.shape} and logits {logits.shape}, {self.num_pdfs} senones"
            )
        if (pdf_ids != np.arange(self.num_pdfs)).any():
            raise ValueError("pdf-ids must be all senones in order")
        levels = to_levels(logits, self.logit_step)
        if levels.size and not (levels.min() >= 0 and levels.max() <= MAX_LEVEL):
            raise ValueError(f"logits must lie between 0 and {MAX_LEVEL} steps below it")
        changes = np.diff(levels.astype(np.int32), axis=1, prepend=0)
        folded = np.where(changes < 0, -2 * changes - 1, 2 * changes)
        return compress([low_bytes(folded), high_bytes(folded)])

    def decode(self, payload: bytes, num_frames: int) -> dict[str, np.ndarray]:
        """The record of a block of ``num_frames`` frames: ``pdf_ids`` uint16, ``logits`` float32.

        Raises:
            ValueError: the block is damaged.
        """
        content = decompress(payload)
        if len(content) != 2 * self.num_pdfs * num_frames:
            raise ValueError(f"{len(content)} bytes do not fit {num_frames} frames")
        folded = join_bytes(content).astype(np.int32).reshape(self.num_pdfs, num_frames)
        changes = (folded >> 1) ^ -(folded & 1)
        levels = changes.cumsum(axis=1, dtype=np.int32)
        logits = from_levels(levels, self.logit_step)
        return {"pdf_ids": self._pdf_ids(num_frames), "logits": logits}

    def empty(self) -> dict[str, np.ndarray]:
        """A record of 0 frames."""
        return {
            "pdf_ids": self._pdf_ids(0),
            "logits": np.empty((0, self.num_pdfs), np.float32),
        }

    def _pdf_ids(self, num_frames: int) -> np.ndarray:
        return np.tile(np.arange(self.num_pdfs, dtype=np.uint16), (num_frames, 1))
