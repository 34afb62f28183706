"""A trained network on disk: model, front end and log priors in one folder.

::

    model.safetensors       weights
    model.json              shape, number of senones, the tree's checksum
    front_end.safetensors, front_end.json    normalisation statistics
    log_priors.safetensors  natural log of the senones' priors
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from am import config
from am.errors import InputError
from am.features.feature_data import describe_features
from am.features.low_frame_rate import LowFrameRateFrontEnd
from am.nnet.device import pick_device
from am.nnet.lstm import AcousticModel, LstmSettings

MODEL_NAME = "model.json"
WEIGHTS_NAME = "model.safetensors"
PRIORS_NAME = "log_priors.safetensors"
# Frame shifts are stored as decimal seconds.
FRAME_SHIFT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready for use; features in, log posteriors out.

    Attributes:
        model: in evaluation mode, on its device.
        front_end: on the same device.
        log_priors: (num_pdfs,) float32 natural log, on the CPU.
        tree_sha256: of the tree whose senones it classifies.
    """

    model: AcousticModel
    front_end: LowFrameRateFrontEnd
    log_priors: Tensor
    tree_sha256: str

    @property
    def num_pdfs(self) -> int:
        """Senones."""
        return self.model.num_pdfs

    @property
    def frame_shift(self) -> float:
        """Seconds from one row of log posteriors to the next."""
        return self.front_end.output_frame_shift

    @torch.inference_mode()
    def log_posteriors(self, features: np.ndarray | Tensor) -> Tensor:
        """Log posteriors of one utterance.

        Args:
            features: (T, D) raw features at 10 ms, 64 LFBE by default.

        Returns:
            (T', num_pdfs) float32 natural log, on the network's device; T' = ceil(T / 3).
        """
        tensor = torch.as_tensor(features, dtype=torch.float32)
        return self.batch_log_posteriors([tensor])[0]

    @torch.inference_mode()
    def batch_log_posteriors(self, features: Sequence[Tensor]) -> list[Tensor]:
        """:meth:`log_posteriors` of several utterances at once; similar lengths waste least."""
        device = self.device
        lengths = torch.tensor([len(matrix) for matrix in features], device=device)
        padded = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True).to(device)
        vectors, low_rate_lengths = self.front_end(padded, lengths)
        logits = self.model.frame_logits(vectors, low_rate_lengths)
        return list(logits.log_softmax(-1).split(low_rate_lengths.tolist()))

    def check_features(self, data: Path, model: Path) -> None:
        """Raise InputError unless ``data`` has the features that the network was trained on.

        Args:
            data: feature data folder.
            model: folder of the network, for the message.
        """
        found, wanted = describe_features(data), self.front_end.features
        if (found.kind, found.dimension) != (wanted.kind, wanted.dimension) or not math.isclose(
            found.frame_shift, wanted.frame_shift, abs_tol=FRAME_SHIFT_TOLERANCE
        ):
            raise InputError(
                f"{data}: {found}, {model} takes {wanted}; give the data folder with the features "
                "it was trained on"
            )

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.front_end.mean.device


def save_network(
    folder: Path,
    model: AcousticModel,
    front_end: LowFrameRateFrontEnd,
    log_priors: Tensor,
    tree_sha256: str,
) -> None:
    """Write a network folder; the other files in it stay."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file(weights, str(folder / WEIGHTS_NAME))
    save_file({"log_priors": log_priors.float().contiguous().cpu()}, str(folder / PRIORS_NAME))
    front_end.save(folder)
    description = {
        "lstm": dataclasses.asdict(model.settings),
        "input_dim": model.input_dim,
        "num_pdfs": model.num_pdfs,
        "num_parameters": model.num_parameters(),
        "frame_shift": front_end.output_frame_shift,
        "tree_sha256": tree_sha256,
    }
    (folder / MODEL_NAME).write_text(json.dumps(description, indent=1))


def load_network(folder: Path, device: str | torch.device = "cpu") -> LoadedNetwork:
    """Read what :func:`save_network` wrote; no code is executed.

    Raises:
        InputError: a missing, truncated or unfitting file.
    """
    place = pick_device(str(device))
    description = _read_description(folder / MODEL_NAME)
    settings = config.settings_from_mapping(
        LstmSettings, description["lstm"], str(folder / MODEL_NAME)
    )
    model = AcousticModel(settings, description["input_dim"], description["num_pdfs"])
    weights = _read_tensors(folder / WEIGHTS_NAME)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{folder / WEIGHTS_NAME}: does not fit {MODEL_NAME}: {str(error).splitlines()[-1]}"
        ) from error
    log_priors = _read_tensors(folder / PRIORS_NAME)["log_priors"]
    if len(log_priors) != model.num_pdfs:
        raise InputError(
            f"{folder / PRIORS_NAME}: {len(log_priors)} priors for {model.num_pdfs} senones; "
            "train the network again"
        )
    front_end = LowFrameRateFrontEnd.load(folder)
    if front_end.output_dim != model.input_dim:
        raise InputError(
            f"{folder}: the front end gives {front_end.output_dim} values, the model takes "
            f"{model.input_dim}; train the network again"
        )
    return LoadedNetwork(
        model.to(place).eval(), front_end.to(place), log_priors, description["tree_sha256"]
    )


def _read_description(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the folder of a trained network")
    description: dict[str, Any] = json.loads(path.read_text())
    return description


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the folder of a trained network")
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not readable ({error}); train the network again") from error
