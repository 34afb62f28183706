"""Training on chunks of utterances with the LSTM's state carried over.

Truncated back-propagation through time: the utterances of a batch are gone through side by side,
``chunk`` vectors at a time.  Each chunk starts from the state that the chunk before it left, but
gradients do not flow back into that one; each makes an update.  Memory then does not grow with an
utterance's length.

Shapes: B utterances, T' vectors of the longest, N = the sum of all T', d the output delay, L
vectors of a chunk, M frames classified in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from am.errors import InputError
from am.nnet.batch import Batch
from am.nnet.lstm import AcousticModel, LstmState


@dataclass(frozen=True)
class Chunk:
    """A stretch of time of a batch.

    Attributes:
        vectors: (B, L, D) what the network reads.
        classified: (B, L) bool, where its output counts: at the utterance's frames, d later.
        batch: the labels of these M frames, utterance after utterance; its features are those of
            the whole batch.
    """

    vectors: Tensor
    classified: Tensor
    batch: Batch


def vectors_of_chunk(chunk_seconds: float, frame_shift: float, model: AcousticModel) -> int:
    """L for a chunk's length in seconds; 0 for whole utterances.

    Raises:
        InputError: the network is bidirectional, or the chunk is no longer than its output delay.
    """
    if chunk_seconds == 0.0:
        return 0
    if model.settings.bidirectional:
        raise InputError(
            "trainer: chunk_seconds: a bidirectional network needs whole utterances; set it to 0"
        )
    size = round(chunk_seconds / frame_shift)
    if size <= model.settings.output_delay:
        raise InputError(
            f"trainer: chunk_seconds: {chunk_seconds} s are {size} vectors, no more than the "
            f"output delay of {model.settings.output_delay}; choose more"
        )
    return size


def chunks_of(
    model: AcousticModel, vectors: Tensor, lengths: Tensor, batch: Batch, size: int
) -> Iterator[Chunk]:
    """Cut a batch into chunks, the first in time first.

    Args:
        model: whose output delay counts.
        vectors: (B, T', D) of whole utterances.
        lengths: (B,) T' of each.
        batch: their labels.
        size: L, more than the output delay; the last chunk may be shorter.
    """
    delay = model.settings.output_delay
    extended = model.extended(vectors, lengths)
    time = torch.arange(extended.shape[1], device=lengths.device) - delay
    classified = (time >= 0) & (time < lengths[:, None])
    frames = (lengths.cumsum(0) - lengths)[:, None] + time
    for start in range(0, extended.shape[1], size):
        stretch = slice(start, start + size)
        inside = classified[:, stretch]
        index = frames[:, stretch][inside]
        yield Chunk(extended[:, stretch], inside, _with_labels(batch, index))


def _with_labels(batch: Batch, index: Tensor) -> Batch:
    """The batch with the labels of (M,) frames alone."""
    logits = batch.stored_logits
    return dataclasses.replace(
        batch,
        pdf_ids=batch.pdf_ids[index],
        stored_logits=None if logits is None else logits[index],
    )


def chunk_logits(
    model: AcousticModel, chunk: Chunk, state: LstmState | None
) -> tuple[Tensor, LstmState]:
    """(M, P) logits of a chunk's frames, and the state after it, without its gradient."""
    hidden, (cell_output, cell) = model.advance(chunk.vectors, state)
    return model.output(hidden[chunk.classified]), (cell_output.detach(), cell.detach())
