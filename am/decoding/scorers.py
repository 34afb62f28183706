"""Pseudo log-likelihoods of senones from a GMM or a network, behind one interface."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from lhotse.cut import Cut

from am.errors import InputError
from am.outputs import sha256_of_file

ModelKind = Literal["gmm", "network"]
GMM_FILE = "gmm.safetensors"
NETWORK_FILE = "model.safetensors"


@dataclass(frozen=True)
class ModelFacts:
    """What must fit between a model, its graph and its data.

    Attributes:
        folder: where the model lies.
        kind: ``gmm`` or ``network``.
        num_pdfs: number of senones.
        tree_sha256: fingerprint of tree.json, where known.
        frame_shift: seconds from one row of scores to the next.
        feature_dim: values of an input frame of the data folder.
    """

    folder: Path
    kind: ModelKind
    num_pdfs: int
    tree_sha256: str | None
    frame_shift: float
    feature_dim: int


class Scorer(Protocol):
    """Turns a cut into scores."""

    @property
    def facts(self) -> ModelFacts:
        """What the model is."""

    def scores(self, cut: Cut) -> np.ndarray:
        """(frames, num_pdfs) float32 log-likelihoods up to a constant a frame, higher is better."""


def model_kind(folder: Path) -> ModelKind:
    """Tell the folder of a GMM from that of a network.

    Raises:
        InputError: it is neither.
    """
    if (folder / GMM_FILE).is_file():
        return "gmm"
    if (folder / NETWORK_FILE).is_file():
        return "network"
    raise InputError(
        f"{folder}: holds neither {GMM_FILE} nor {NETWORK_FILE}; give the folder of a trained model"
    )


def load_scorer(model_dir: Path, data_dir: Path, device: torch.device) -> Scorer:
    raise NotImplementedError
