"""GTC's messages: which elements changed by +τ or −τ, in 32-bit words.

Layout, int32 words, for a bucket of n elements of which k are sent::

    word 0      k ≥ 0: a list follows; −1 − k: a bitmap follows
    word 1      τ, the bits of a float32
    list        k words: index × 2 + (1 where the change is −τ)
    bitmap      ⌈n / 32⌉ words, a bit an element: whether it is sent;
                ⌈k / 32⌉ words, a bit a sent element: whether its change is −τ

The list is that of Strom, "Scalable distributed DNN training using commodity GPU cloud computing"
(Interspeech 2015); the bitmap takes over where it is shorter, from about k = n / 31 on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

HEADER_WORDS = 2
BITS_A_WORD = 32
# An index and a sign share a word.
MAX_BUCKET_SIZE = 2**30


def encode(indices: Tensor, is_negative: Tensor, threshold: float, size: int) -> Tensor:
    """The message of a bucket.

    Args:
        indices: (k,) int64 of the elements that are sent, ascending.
        is_negative: (k,) bool, whether their change is −τ.
        threshold: τ.
        size: n.

    Returns:
        int32 words, on the device of ``indices``.
    """
    count = len(indices)
    is_list = count <= _bitmap_words(size, count)
    header = torch.tensor([count if is_list else -1 - count, 0], dtype=torch.int32)
    header[1] = torch.tensor(threshold, dtype=torch.float32).view(torch.int32)
    header = header.to(indices.device, non_blocking=True)
    if is_list:
        return torch.cat([header, (indices * 2 + is_negative).to(torch.int32)])
    is_sent = torch.zeros(size, dtype=torch.bool, device=indices.device)
    is_sent[indices] = True
    return torch.cat([header, _packed(is_sent), _packed(is_negative)])


def add_messages(message: Tensor, vectors: Sequence[Tensor]) -> None:
    """Add what a process sent, a message for each bucket one after the other, to (n,) vectors."""
    start = 0
    for vector in vectors:
        tag, threshold_bits = message[start : start + HEADER_WORDS].tolist()
        threshold = torch.tensor(threshold_bits, dtype=torch.int32).view(torch.float32).item()
        start += HEADER_WORDS
        if tag >= 0:
            words = message[start : start + tag]
            indices, is_negative = (words >> 1).long(), (words & 1).bool()
            start += tag
        else:
            count = -1 - tag
            middle = start + _words_of_bits(len(vector))
            indices = _unpacked(message[start:middle], len(vector)).nonzero().squeeze(1)
            start = middle + _words_of_bits(count)
            is_negative = _unpacked(message[middle:start], count)
        vector.index_add_(0, indices, changes(is_negative, threshold, vector.dtype))


def changes(is_negative: Tensor, threshold: float, dtype: torch.dtype) -> Tensor:
    """(k,) −τ or +τ."""
    return threshold - 2.0 * threshold * is_negative.to(dtype)


def _bitmap_words(size: int, count: int) -> int:
    return _words_of_bits(size) + _words_of_bits(count)


def _words_of_bits(count: int) -> int:
    return -(-count // BITS_A_WORD)


def _packed(bits: Tensor) -> Tensor:
    """(m,) bool to ⌈m / 32⌉ int32 words, the first bit lowest."""
    padding = _words_of_bits(len(bits)) * BITS_A_WORD - len(bits)
    rows = torch.nn.functional.pad(bits.to(torch.uint8), (0, padding)).view(-1, 8)
    weights = 2 ** torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (rows * weights).sum(-1, dtype=torch.uint8).view(torch.int32)


def _unpacked(words: Tensor, count: int) -> Tensor:
    """The (count,) bool that :func:`_packed` packed."""
    shifts = torch.arange(8, dtype=torch.uint8, device=words.device)
    return ((words.contiguous().view(torch.uint8)[:, None] >> shifts) & 1).flatten()[:count].bool()
