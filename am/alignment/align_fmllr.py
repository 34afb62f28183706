"""Forced alignment with a speaker-adapted GMM-HMM, after Kaldi's ``steps/align_fmllr.sh``."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from am.alignment.align_data import align_data
from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.viterbi import AlignmentScales
from am.features.gmm_front_end import GmmFrontEnd
from am.gmm.adapted_model import AdaptedModel
from am.gmm.speaker_adaptation import FmllrSettings, transforms_of_data


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
) -> None:
    """Align without adaptation, estimate each speaker's transform on that, align with it.

    Writes what :func:`am.alignment.align_data.align_data` writes, and the speaker transforms.

    Raises:
        InputError: the model is not speaker-adapted, does not fit the lang folder or the
            features, or no cut could be aligned.
    """
    model = AdaptedModel.load(model_folder)
    first_pass = output / "first_pass"
    shutil.rmtree(first_pass, ignore_errors=True)
    first_pass.mkdir()
    align_data(
        data_folder, lang_folder, model.speaker_independent, first_pass, settings.scales, device
    )
    alignment = AlignmentFolder.open(first_pass)

    def pdf_ids_of(cut_id: str) -> np.ndarray | None:
        if cut_id not in alignment:
            return None
        return alignment.transitions.pdf_ids_of(alignment.transition_ids(cut_id))

    transforms = transforms_of_data(
        data_folder,
        GmmFrontEnd.open(model.speaker_independent, data_folder),
        pdf_ids_of,
        model.adapted,
        model.silence_phones,
        settings.fmllr,
        device,
        model.unadapted,
    )
    transforms.save(output)
    align_data(
        data_folder, lang_folder, model_folder, output, settings.scales, device, transforms=output
    )
    shutil.rmtree(first_pass)
