"""A GMM-HMM on disk and in use."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from am.errors import InputError
from am.features.gmm_features import GmmFeatures
from am.features.gmm_front_end import GmmFrontEnd
from am.gmm.model import DiagonalGmms, GmmTables
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.tree.context_tree import ContextTree

HMM_FILES = ("tree.json", "topology.json", "transitions.json", "phones.txt")
SUMMARY_NAME = "summary.json"


@dataclass(frozen=True)
class GmmHmm:
    """Everything a GMM-HMM consists of."""

    tree: ContextTree
    topology: Topology
    transitions: TransitionModel
    gmms: DiagonalGmms
    features: GmmFeatures

    def replace(self, **changes: Any) -> GmmHmm:
        """A copy with some parts exchanged."""
        return dataclasses.replace(self, **changes)

    def pdfs_of(self, phones: Iterable[int]) -> np.ndarray:
        """(pdfs,) bool: whether a state of one of ``phones`` has the pdf-id."""
        found = np.zeros(self.tree.num_pdfs, dtype=bool)
        found[self.transitions.pdf_ids[np.isin(self.transitions.phones, list(phones))]] = True
        return found

    def save(self, folder: Path) -> None:
        """Write all parts; ``folder`` exists."""
        self.tree.save(folder / "tree.json")
        self.topology.save(folder / "topology.json")
        self.transitions.save(folder / "transitions.json")
        self.gmms.save(folder)
        self.features.save(folder)

    @staticmethod
    def load(folder: Path) -> GmmHmm:
        """Read what :meth:`save` wrote, checking that the parts fit each other."""
        model = GmmHmm(
            ContextTree.load(folder / "tree.json"),
            Topology.load(folder / "topology.json"),
            TransitionModel.load(folder / "transitions.json"),
            DiagonalGmms.load(folder),
            GmmFeatures.load(folder),
        )
        if model.gmms.num_pdfs != model.tree.num_pdfs:
            raise InputError(
                f"{folder}: the tree has {model.tree.num_pdfs} pdfs, the GMMs "
                f"{model.gmms.num_pdfs}; train the model again"
            )
        if model.gmms.dim != model.features.dim:
            raise InputError(
                f"{folder}: features of {model.features.dim} values, Gaussians of "
                f"{model.gmms.dim}; train the model again"
            )
        return model


class LoadedGmm:
    """A GMM-HMM ready to score frames.

    Attributes:
        model: its parts.
        device: where scores are computed and stay.
    """

    def __init__(self, model: GmmHmm, device: torch.device):
        self.model = model
        self.device = device
        self._tables = GmmTables(model.gmms, device)
        self._all_pdfs = np.arange(model.gmms.num_pdfs)

    @property
    def num_pdfs(self) -> int:
        """Columns of :meth:`log_likelihoods`."""
        return self.model.gmms.num_pdfs

    def model_input(self, cut: Any, front_end: GmmFrontEnd) -> torch.Tensor:
        """(T, D) float32 model input of a lhotse cut with MFCC, on the device."""
        return torch.from_numpy(front_end.model_input(cut)).to(self.device)

    def log_likelihoods(self, cut: Any, front_end: GmmFrontEnd) -> torch.Tensor:
        """Log-likelihoods (natural log) of all pdfs.

        Args:
            cut: a lhotse cut with MFCC.
            front_end: of this model and the cut's data folder, ``GmmFrontEnd.open(model, data)``.

        Returns:
            (T, pdfs) float32 on the device.
        """
        model_input = self.model_input(cut, front_end)
        return self.log_likelihoods_of(model_input, self._all_pdfs).contiguous()

    def log_likelihoods_of(self, model_input: torch.Tensor, pdf_ids: np.ndarray) -> torch.Tensor:
        """(T, n) natural logs of n distinct pdfs for model input (T, D)."""
        return self._tables.log_likelihoods(model_input, pdf_ids)


def load_gmm(folder: Path, device: torch.device | str = "cpu") -> LoadedGmm:
    """Read a GMM folder (``exp/mono``, ``exp/tri1`` …) for scoring."""
    return LoadedGmm(GmmHmm.load(folder), torch.device(device))


def copy_hmm(source: Path, target: Path) -> None:
    """Copy tree, topology, transitions and phones, so that ``target`` can be read by itself."""
    for name in HMM_FILES:
        shutil.copyfile(source / name, target / name)


def write_summary(folder: Path, facts: dict[str, Any]) -> None:
    """Write ``summary.json``: the facts that tell what a model is."""
    (folder / SUMMARY_NAME).write_text(json.dumps(facts, indent=1))
