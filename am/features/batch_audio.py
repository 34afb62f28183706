"""Features of a training batch computed from audio, where the batch is used.

The processes that load data cannot use a GPU.  Where kaldifeat computes on one, they hand the audio
over, and the training's own process computes the features of the whole batch.

Shapes: B utterances, n samples, T frames, D values a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from am.features.engines import pick_engine
from am.features.extractors import LfbeSettings, shared_extractor


@dataclass(frozen=True)
class BatchAudio:
    """The audio of some utterances.

    Attributes:
        samples: (sum of all n,) float32 in -1 … 1, utterance after utterance.
        num_samples: n of each.
        settings: of the features to compute.
    """

    samples: Tensor
    num_samples: tuple[int, ...]
    settings: LfbeSettings

    @classmethod
    def of(cls, waves: Sequence[np.ndarray], settings: LfbeSettings) -> BatchAudio:
        """The audio of (n,) float32 ``waves``, which must be finite."""
        return cls(torch.from_numpy(np.concatenate(waves)), tuple(map(len, waves)), settings)

    @property
    def waits_for_gpu(self) -> bool:
        """Whether the features should be computed in the process that has the GPU."""
        return torch.cuda.is_available() and pick_engine(self.settings.engine) == "kaldifeat"

    def features(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """(B, T, D) float32, 0 past the end, and (B,) int64 lengths; computed on ``device``."""
        waves = self.samples.to(device, non_blocking=True).split(self.num_samples)
        return pad_features(shared_extractor(self.settings, device).compute(waves))


def pad_features(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(B, T, D) float32, 0 past the end, and (B,) int64 lengths."""
    lengths = torch.tensor([len(matrix) for matrix in features])
    return torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True), lengths
