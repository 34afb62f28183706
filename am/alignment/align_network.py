"""Senone labels realigned with a network, the numerator of its own sequence training.

Kaldi does the same before sequence training (``steps/nnet/align.sh``): the network that is about
to be trained places the senones better than the GMM from which its first labels came.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from am.alignment.align_shards import write_alignments
from am.alignment.aligner import Aligner, AlignmentEngine
from am.alignment.senone_labels import FIELD, KIND
from am.alignment.viterbi import AlignmentScales
from am.coded_shards import Record
from am.errors import InputError
from am.executors import Executor
from am.features.low_frame_rate import num_low_rate_frames
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang, check_phones
from am.nnet.data import load_features
from am.nnet.network import LoadedNetwork, load_network
from am.outputs import sha256_of_file
from am.processes import ONE_PROCESS
from am.storage import write_store_description
from am.tree.context_tree import ContextTree


@dataclass(frozen=True)
class NetworkAlignmentSettings:
    """Of ``steps/align_network.py`` (``conf/align_network.yaml``).

    Attributes:
        acoustic_scale: factor of the pseudo log-likelihoods; pronunciations have factor 1.
        self_loop_scale: factor of the transitions' logs.
    """

    acoustic_scale: float = 0.5
    self_loop_scale: float = 1.0


def align_network(
    data_folder: Path,
    lang_folder: Path,
    senones: Path,
    model_folder: Path,
    output: Path,
    settings: NetworkAlignmentSettings,
    device: torch.device,
    executor: Executor = ONE_PROCESS,
    engine: AlignmentEngine = "torch",
) -> None:
    """Label every cut with the senones of its best path, a frame every 30 ms.

    Args:
        data_folder: LFBE and transcripts.
        lang_folder: what the senones were made with.
        senones: folder of ``steps/cluster_senones.py``.
        model_folder: a network of these senones.
        output: store of kind ``pdf-ids``, and ``failed.tsv`` with the cuts that have no alignment.
        settings: how acoustics and transitions are weighed.
        device: where the network computes.
        executor: what aligns; the result does not depend on it.
        engine: what searches; nor on this.

    Raises:
        InputError: the folders do not fit each other, no cut could be aligned, or shards failed.
    """
    check_phones(Lang.load(lang_folder), senones)
    network = load_network(model_folder, "cpu")
    _check_fits(network, model_folder, data_folder, senones / "tree.json")
    make_aligner = partial(
        _make_aligner, lang_folder, senones, model_folder, settings, device, engine
    )
    num_shards = write_alignments(make_aligner, data_folder, output, executor, device)
    write_store_description(
        output,
        {
            "kind": KIND,
            "frame_shift": network.frame_shift,
            "fields": [FIELD],
            "num_shards": num_shards,
            "num_pdfs": network.num_pdfs,
            "tree_sha256": network.tree_sha256,
        },
    )


def _make_aligner(
    lang_folder: Path,
    senones: Path,
    model_folder: Path,
    settings: NetworkAlignmentSettings,
    device: torch.device,
    engine: AlignmentEngine,
) -> Aligner:
    model = _NetworkOfSenones(load_network(model_folder, str(device)), senones)
    scales = AlignmentScales(settings.acoustic_scale, settings.self_loop_scale)
    return Aligner(Lang.load(lang_folder), model, scales, engine)


class _NetworkOfSenones:
    """A network and the HMM of its senones, as an alignment model."""

    def __init__(self, network: LoadedNetwork, senones: Path):
        self.tree = ContextTree.load(senones / "tree.json")
        self.topology = Topology.load(senones / "topology.json")
        self.transitions = TransitionModel.load(senones / "transitions.json")
        self.device = network.device
        self._network = network
        self._log_priors = network.log_priors.to(network.device)

    def model_input(self, cut: Any) -> torch.Tensor:
        return torch.from_numpy(load_features(cut))

    def num_frames(self, model_input: torch.Tensor) -> int:
        return num_low_rate_frames(len(model_input))

    def log_likelihoods(self, model_input: torch.Tensor, pdf_ids: np.ndarray) -> torch.Tensor:
        scores = self._network.log_posteriors(model_input) - self._log_priors
        return scores[:, torch.from_numpy(pdf_ids).long().to(self.device)]

    def record(self, transition_ids: np.ndarray) -> Record:
        return {FIELD: self.transitions.pdf_ids_of(transition_ids)}


def _check_fits(network: LoadedNetwork, model: Path, data: Path, tree: Path) -> None:
    if not tree.is_file():
        raise InputError(f"{tree}: no such file; give the folder of steps/cluster_senones.py")
    if sha256_of_file(tree) != network.tree_sha256:
        raise InputError(f"{tree}: not the tree of {model}; give the senones it was trained on")
    network.check_features(data, model)
