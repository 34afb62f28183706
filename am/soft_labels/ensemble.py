"""Several teachers of the same senones as one: their logits averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from am.errors import InputError
from am.nnet.network import LoadedNetwork, load_network


@dataclass(frozen=True)
class Ensemble:
    """Teachers that hear the same features.

    Attributes:
        networks: of the same senones, input and frame rate; at least one.
    """

    networks: tuple[LoadedNetwork, ...]

    @staticmethod
    def load(folders: Sequence[Path], device: str) -> Ensemble:
        """Read the network folders, which must fit the first of them, or raise InputError."""
        networks = tuple(load_network(folder, device) for folder in folders)
        first = networks[0]
        for folder, network in zip(folders[1:], networks[1:], strict=True):
            if (network.num_pdfs, network.tree_sha256) != (first.num_pdfs, first.tree_sha256):
                raise InputError(
                    f"{folder}: {network.num_pdfs} senones of another tree than that of "
                    f"{folders[0]}; give teachers of the same senones"
                )
            if network.front_end.features != first.front_end.features:
                raise InputError(
                    f"{folder}: takes {network.front_end.features}, but {folders[0]} takes "
                    f"{first.front_end.features}; give teachers trained on the same features"
                )
        return Ensemble(networks)

    @torch.inference_mode()
    def batch_log_posteriors(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Log posteriors of several utterances, in the form of :class:`LoadedNetwork`'s.

        The mean of log posteriors and the mean of logits differ by a constant a frame, which the
        last normalisation takes away: it is the geometric mean of the teachers' posteriors.
        """
        if len(self.networks) == 1:
            return self.networks[0].batch_log_posteriors(features)
        of_networks = [network.batch_log_posteriors(features) for network in self.networks]
        return [
            torch.stack(of_utterance).mean(0).log_softmax(-1)
            for of_utterance in zip(*of_networks, strict=True)
        ]
