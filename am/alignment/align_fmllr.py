"""Forced alignment with a speaker-adapted GMM-HMM, after Kaldi's ``steps/align_fmllr.sh``."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from am.alignment.align_data import align_data
from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.viterbi import AlignmentScales
from am.executors import Executor
from am.features.gmm_front_end import GmmFrontEnd, gather_normalisation
from am.gmm.adapted_model import AdaptedModel
from am.gmm.speaker_adaptation import FmllrSettings, transforms_of_data
from am.processes import ONE_PROCESS


@dataclass(frozen=True)
class AlignFmllrSettings:
    """Of ``steps/align_fmllr.py``.

    Attributes:
        scales: of both alignments.
        fmllr: how a speaker's transform is estimated between them.
    """

    scales: AlignmentScales = field(default_factory=AlignmentScales)
    fmllr: FmllrSettings = field(default_factory=FmllrSettings)


def align_fmllr(
    data_folder: Path,
    lang_folder: Path,
    model_folder: Path,
    output: Path,
    settings: AlignFmllrSettings,
    device: torch.device,
    executor: Executor = ONE_PROCESS,
) -> None:
    """Align without adaptation, estimate each speaker's transform on that, align with it.

    Writes what :func:`am.alignment.align_data.align_data` writes, and the speaker transforms.

    Raises:
        InputError: the model is not speaker-adapted, does not fit the lang folder or the
            features, no cut could be aligned, or shards failed.
    """
    model = AdaptedModel.load(model_folder)
    align = partial(align_data, data_folder, lang_folder, executor=executor)
    first_pass = output / "first_pass"
    # It is there where the second one failed.
    if not first_pass.is_dir():
        unfinished = output / "unfinished_first_pass"
        unfinished.mkdir(exist_ok=True)
        align(model.speaker_independent, unfinished, settings.scales, device)
        unfinished.rename(first_pass)
    alignment = AlignmentFolder.open(first_pass)

    def pdf_ids_of(cut_id: str) -> np.ndarray | None:
        if cut_id not in alignment:
            return None
        return alignment.transitions.pdf_ids_of(alignment.transition_ids(cut_id))

    transforms = transforms_of_data(
        data_folder,
        GmmFrontEnd.open(
            model.speaker_independent,
            data_folder,
            normalisation=gather_normalisation(data_folder, executor),
        ),
        pdf_ids_of,
        model_folder,
        model.silence_phones,
        settings.fmllr,
        executor,
        device,
        model.speaker_independent,
    )
    transforms.save(output)
    align(model_folder, output, settings.scales, device, transforms=output)
    shutil.rmtree(first_pass)
