"""Small integers as bytes in a zlib stream (RFC 1950), for the codecs of soft labels.

A match with earlier bytes is chance in such data, so only runs and Huffman codes are used.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np


def compress(parts: Iterable[np.ndarray]) -> bytes:
    """One stream of the bytes of ``parts``, each with Huffman codes of its own."""
    # The level means nothing for runs alone; memory level 9 holds 32,767 symbols a code.
    compressor = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    pieces = []
    for part in parts:
        pieces.append(compressor.compress(part.tobytes()))
        pieces.append(compressor.flush(zlib.Z_BLOCK))  # the next part gets another Huffman code
    pieces.append(compressor.flush())
    return b"".join(pieces)


def decompress(payload: bytes) -> np.ndarray:
    """(n,) uint8; a ValueError where the stream is damaged."""
    try:
        return np.frombuffer(zlib.decompress(payload), np.uint8)
    except zlib.error as error:
        raise ValueError(f"not a whole zlib stream: {error}") from error


def low_bytes(values: np.ndarray) -> np.ndarray:
    """uint8 of the same shape."""
    return (values & 0xFF).astype(np.uint8)


def high_bytes(values: np.ndarray) -> np.ndarray:
    """uint8 of the same shape; values are below 65,536."""
    return (values >> 8).astype(np.uint8)


def join_bytes(content: np.ndarray) -> np.ndarray:
    """(2 n,) all low bytes, then all high ones → (n,) uint16."""
    low, high = content.reshape(2, -1)
    return low + (high.astype(np.uint16) << 8)
