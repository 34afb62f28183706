"""The acoustic model: stacked LSTM layers and a linear layer to the senones' logits.

Shapes: B utterances, T' low-frame-rate vectors, N = the sum of all T', D values a vector,
H hidden values, P senones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from am.errors import InputError


@dataclass(frozen=True)
class LstmSettings:
    """The network's shape.

    Attributes:
        num_layers: LSTM layers.
        cells: cells a layer and direction.
        bidirectional: whether each layer also reads backwards in time.
        dropout: between the layers and before the output.
        output_delay: vectors that a unidirectional network waits before it classifies a vector,
            so that it has heard some of what follows.
    """

    num_layers: int
    cells: int
    bidirectional: bool
    dropout: float = 0.0
    output_delay: int = 0

    def __post_init__(self) -> None:
        if self.num_layers < 1 or self.cells < 1:
            raise InputError("lstm: num_layers and cells must be at least 1")
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"lstm: dropout must be in 0 … 1, not {self.dropout}")
        if self.output_delay < 0 or (self.bidirectional and self.output_delay > 0):
            raise InputError(
                "lstm: output_delay must be at least 0, and 0 for a bidirectional network, "
                "which hears all that follows anyway"
            )


class AcousticModel(nn.Module):
    """Low-frame-rate vectors to logits; the output delay is dealt with here and nowhere else."""

    def __init__(self, settings: LstmSettings, input_dim: int, num_pdfs: int):
        super().__init__()
        self.settings = settings
        self.input_dim = input_dim
        self.num_pdfs = num_pdfs
        self.lstm = nn.LSTM(
            input_dim,
            settings.cells,
            settings.num_layers,
            batch_first=True,
            bidirectional=settings.bidirectional,
            dropout=settings.dropout if settings.num_layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(settings.cells * (1 + settings.bidirectional), num_pdfs)
        self._open_forget_gates()

    def _open_forget_gates(self) -> None:
        # A forget gate's bias of 1 (Gers et al., 2000) lets gradients reach far back from the start.
        cells = self.settings.cells
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):
                nn.init.ones_(parameter.detach()[cells : 2 * cells])

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Logits of padded utterances.

        Args:
            vectors: (B, T', D).
            lengths: (B,) int64, T' of each.

        Returns:
            (B, T', P) logits; what stands past an utterance's end is meaningless.
        """
        return self.output(self.hidden(vectors, lengths))

    def frame_logits(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Logits of the frames alone, without padding: (N, P), utterance after utterance."""
        inside = torch.arange(vectors.shape[1], device=lengths.device) < lengths[:, None]
        return self.output(self.hidden(vectors, lengths)[inside])

    def hidden(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """(B, T', H) output of the last LSTM layer, at the frames that it classifies."""
        if self.settings.bidirectional:
            packed = pack_padded_sequence(
                vectors, lengths.cpu(), batch_first=True, enforce_sorted=False
            )
            hidden, _ = pad_packed_sequence(
                self.lstm(packed)[0], batch_first=True, total_length=vectors.shape[1]
            )
        else:
            hidden = self.lstm(self._extended(vectors, lengths))[0]
            hidden = hidden[:, self.settings.output_delay :]
        return self.dropout(hidden)

    def _extended(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Each utterance's last vector repeated ``output_delay`` times past its end."""
        delay = self.settings.output_delay
        if delay == 0:
            return vectors
        index = torch.arange(vectors.shape[1] + delay, device=vectors.device)
        index = torch.minimum(index, (lengths - 1)[:, None])
        return vectors.gather(1, index[:, :, None].expand(-1, -1, vectors.shape[2]))

    def num_parameters(self) -> int:
        """How many values are trained."""
        return sum(parameter.numel() for parameter in self.parameters())
