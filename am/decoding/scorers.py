"""Pseudo log-likelihoods of senones from a GMM or a network, behind one interface."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from lhotse.cut import Cut

from am.errors import InputError
from am.features.gmm_front_end import GmmFrontEnd, check_mfcc_data
from am.gmm import load_gmm
from am.nnet import load_network
from am.nnet.data import load_features
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


class GmmScorer:
    """Log-likelihoods of a GMM; MFCC normalised by the speakers' statistics over the data.

    ``transforms_dir`` has the speakers' transforms, for a speaker-adapted GMM.
    """

    def __init__(
        self,
        folder: Path,
        data_dir: Path,
        device: torch.device,
        transforms_dir: Path | None = None,
    ):
        self._gmm = load_gmm(folder, device)
        features = self._gmm.model.features
        data = check_mfcc_data(data_dir, features, folder)
        tree = folder / "tree.json"
        self.facts = ModelFacts(
            folder=folder,
            kind="gmm",
            num_pdfs=self._gmm.num_pdfs,
            tree_sha256=sha256_of_file(tree) if tree.is_file() else None,
            frame_shift=data.frame_shift,
            feature_dim=features.mfcc_dim,
        )
        self.front_end = GmmFrontEnd.open(folder, data_dir, transforms_dir)

    def scores(self, cut: Cut) -> np.ndarray:
        """(frames, num_pdfs) float32 log-likelihoods, natural log."""
        log_likelihoods = self._gmm.log_likelihoods(cut, self.front_end)
        return np.asarray(log_likelihoods.cpu().numpy(), dtype=np.float32)


class NetworkScorer:
    """Log posteriors of a network minus the senones' log priors."""

    def __init__(self, folder: Path, data_dir: Path, device: torch.device):
        self._network = load_network(folder, device)
        self._log_priors = self._network.log_priors.to(device)
        self._network.check_features(data_dir, folder)
        self.facts = ModelFacts(
            folder=folder,
            kind="network",
            num_pdfs=self._network.num_pdfs,
            tree_sha256=self._network.tree_sha256 or None,
            frame_shift=self._network.frame_shift,
            feature_dim=self._network.front_end.input_dim,
        )

    def scores(self, cut: Cut) -> np.ndarray:
        """(frames, num_pdfs) float32 pseudo log-likelihoods, natural log."""
        features = load_features(cut)
        if len(features) == 0:
            return np.zeros((0, self.facts.num_pdfs), dtype=np.float32)
        scores = self._network.log_posteriors(features) - self._log_priors
        return np.asarray(scores.cpu().numpy(), dtype=np.float32)


def load_scorer(
    model_dir: Path, data_dir: Path, device: torch.device, transforms_dir: Path | None = None
) -> Scorer:
    """The scorer of a GMM or network folder.

    Args:
        model_dir: a GMM or a network.
        data_dir: the data to be scored, with the features that the model was trained on.
        device: where scores are computed.
        transforms_dir: the transforms of the data's speakers, for a speaker-adapted GMM.

    Raises:
        InputError: a folder is incomplete, or model, data and transforms do not fit together.
    """
    if model_kind(model_dir) == "gmm":
        return GmmScorer(model_dir, data_dir, device, transforms_dir)
    if transforms_dir is not None:
        raise InputError(f"{model_dir}: a network; leave the speaker transforms out")
    return NetworkScorer(model_dir, data_dir, device)
