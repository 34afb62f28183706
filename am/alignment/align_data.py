"""Forced alignment of a feature data folder with a trained GMM-HMM."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from am.alignment.align_shards import write_alignments
from am.alignment.aligner import Aligner, AlignmentEngine
from am.alignment.alignment_folder import FIELD, KIND
from am.alignment.viterbi import AlignmentScales
from am.coded_shards import Record
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import describe_features
from am.features.gmm_features import SpeakerNormalisation
from am.features.gmm_front_end import GmmFrontEnd, gather_normalisation
from am.gmm.model_folder import LoadedGmm, copy_hmm, load_gmm
from am.lang.lang import Lang, check_phones
from am.processes import ONE_PROCESS
from am.storage import write_store_description

# What the workers read besides the folders that were given.
NORMALISATION_NAME = "normalisation.safetensors"


def align_data(
    data_folder: Path,
    lang_folder: Path,
    model_folder: Path,
    output: Path,
    scales: AlignmentScales,
    device: torch.device,
    transforms: Path | None = None,
    executor: Executor = ONE_PROCESS,
    engine: AlignmentEngine = "torch",
) -> None:
    """Align every cut with its transcript (:class:`am.alignment.aligner.Aligner`).

    Writes a store of transition-ids, the model's tree, topology, transitions and phones, and
    ``failed.tsv`` with the cuts that have no alignment.

    Args:
        data_folder, lang_folder, model_folder: what is aligned, and with what.
        output: gets the files.
        scales: of acoustics and transitions.
        device: where tensors live.
        transforms: folder with the transforms of the speakers, for a speaker-adapted model.
        executor: what aligns; the result does not depend on it.
        engine: what searches; nor on this.

    Raises:
        InputError: the model and the lang folder, the features or the transforms do not fit each
            other, no cut could be aligned, or shards failed.
    """
    check_phones(Lang.load(lang_folder), model_folder)
    description = describe_features(data_folder)
    if description.kind != "mfcc":
        raise InputError(f"{data_folder}: holds {description.kind}; give MFCC for a GMM")
    normalisation = gather_normalisation(data_folder, executor)
    GmmFrontEnd.open(model_folder, data_folder, transforms, normalisation)
    output.mkdir(parents=True, exist_ok=True)
    normalisation.save(output / NORMALISATION_NAME)
    make_aligner = partial(
        _make_aligner,
        lang_folder,
        model_folder,
        data_folder,
        transforms,
        output / NORMALISATION_NAME,
        scales,
        device,
        engine,
    )
    num_shards = write_alignments(make_aligner, data_folder, output, executor, device)
    (output / NORMALISATION_NAME).unlink()
    write_store_description(
        output,
        {
            "kind": KIND,
            "frame_shift": description.frame_shift,
            "fields": [FIELD],
            "num_shards": num_shards,
        },
    )
    copy_hmm(model_folder, output)


def _make_aligner(
    lang_folder: Path,
    model_folder: Path,
    data_folder: Path,
    transforms: Path | None,
    normalisation: Path,
    scales: AlignmentScales,
    device: torch.device,
    engine: AlignmentEngine,
) -> Aligner:
    front_end = GmmFrontEnd.open(
        model_folder, data_folder, transforms, SpeakerNormalisation.load(normalisation)
    )
    model = _GmmWithFrontEnd(load_gmm(model_folder, device), front_end)
    return Aligner(Lang.load(lang_folder), model, scales, engine)


class _GmmWithFrontEnd:
    """A GMM-HMM with the front end of its data folder, as an alignment model."""

    def __init__(self, gmm: LoadedGmm, front_end: GmmFrontEnd):
        self.tree = gmm.model.tree
        self.topology = gmm.model.topology
        self.transitions = gmm.model.transitions
        self.device = gmm.device
        self._gmm = gmm
        self._front_end = front_end

    def model_input(self, cut: Any) -> torch.Tensor:
        return self._gmm.model_input(cut, self._front_end)

    def num_frames(self, model_input: torch.Tensor) -> int:
        return len(model_input)

    def log_likelihoods(self, model_input: torch.Tensor, pdf_ids: np.ndarray) -> torch.Tensor:
        return self._gmm.log_likelihoods_of(model_input, pdf_ids)

    def record(self, transition_ids: np.ndarray) -> Record:
        return {FIELD: transition_ids}
