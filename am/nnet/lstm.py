"""The acoustic model: stacked LSTM layers and a linear layer to the senones' logits.

Shapes: B utterances, T' low-frame-rate vectors, N = the sum of all T', D values a vector,
H hidden values, P senones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from am.errors import InputError

# Output and cell of each layer, both (layers, B, H).
LstmState = tuple[Tensor, Tensor]


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
        self.lstm: nn.LSTM | _BidirectionalLstm
        dropout = settings.dropout if settings.num_layers > 1 else 0.0
        if settings.bidirectional:
            self.lstm = _BidirectionalLstm(input_dim, settings.cells, settings.num_layers, dropout)
        else:
            self.lstm = nn.LSTM(
                input_dim, settings.cells, settings.num_layers, batch_first=True, dropout=dropout
            )
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(settings.cells * (1 + settings.bidirectional), num_pdfs)
        self._open_forget_gates()

    def _open_forget_gates(self) -> None:
        # A forget gate's bias of 1 (Gers et al., 2000) lets gradients reach far from the start.
        cells = self.settings.cells
        for name, parameter in self.lstm.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            if "bias_ih" in name:
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
        if isinstance(self.lstm, _BidirectionalLstm):
            hidden = self.lstm(vectors, lengths)
        else:
            hidden = self.lstm(self.extended(vectors, lengths))[0]
            hidden = hidden[:, self.settings.output_delay :]
        return self.dropout(hidden)

    def advance(self, vectors: Tensor, state: LstmState | None = None) -> tuple[Tensor, LstmState]:
        """The next vectors of utterances, for a unidirectional network.

        Args:
            vectors: (B, L, D) that follow those before; see :meth:`extended`.
            state: what this returned for those, None at the start.

        Returns:
            (B, L, H) output of the last layer at the time of each vector, which classifies the
            one ``output_delay`` before it, and the state afterwards.
        """
        assert isinstance(self.lstm, nn.LSTM)
        hidden, after = self.lstm(vectors, state)
        return self.dropout(hidden), after

    def extended(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Each utterance's last vector repeated ``output_delay`` times past its end."""
        delay = self.settings.output_delay
        if delay == 0:
            return vectors
        index = torch.arange(vectors.shape[1] + delay, device=vectors.device)
        index = torch.minimum(index, (lengths - 1)[:, None])
        return _reorder(vectors, index)

    def num_parameters(self) -> int:
        """How many values are trained."""
        return sum(parameter.numel() for parameter in self.parameters())


class _BidirectionalLstm(nn.Module):
    """Bidirectional layers whose backward direction starts at each utterance's own last vector.

    ``nn.LSTM`` does so for a PackedSequence, but on a CPU, with utterances of unequal length, its
    backward pass then takes 3 to 6 times as long.  Here the vectors are reversed by index.
    """

    def __init__(self, input_dim: int, cells: int, num_layers: int, dropout: float):
        super().__init__()
        input_dims = [input_dim] + [2 * cells] * (num_layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(dim, cells, batch_first=True) for dim in input_dims)
        self.back = nn.ModuleList(nn.LSTM(dim, cells, batch_first=True) for dim in input_dims)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """(B, T', D) and (B,) lengths to (B, T', 2 H): forward cells, then backward cells."""
        index = torch.arange(vectors.shape[1], device=vectors.device)
        index = torch.where(index < lengths[:, None], lengths[:, None] - 1 - index, index)
        for layer, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            if layer > 0:
                vectors = self.dropout(vectors)
            reversed_output = back(_reorder(vectors, index))[0]
            vectors = torch.cat([ahead(vectors)[0], _reorder(reversed_output, index)], dim=-1)
        return vectors


def _reorder(vectors: Tensor, index: Tensor) -> Tensor:
    """(B, T, D) vectors at (B, S) positions: (B, S, D)."""
    return vectors.gather(1, index[:, :, None].expand(-1, -1, vectors.shape[2]))
