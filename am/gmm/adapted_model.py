"""A speaker-adapted GMM-HMM on disk, with one like it for speech that is not adapted yet.

The folder is that of any GMM-HMM, its features said to be speaker-adapted, and besides::

    speaker_independent/   a GMM folder: the same tree and transitions, and the same Gaussians, one
                           by one, as they are in unadapted features (Kaldi's ``final.alimdl``)
    adaptation.json        the phones whose frames say little of a speaker
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from am.errors import InputError
from am.gmm.model import DiagonalGmms
from am.gmm.model_folder import GmmHmm

SPEAKER_INDEPENDENT = "speaker_independent"
ADAPTATION_NAME = "adaptation.json"


@dataclass(frozen=True)
class AdaptedModel:
    """What ``steps/train_sat.py`` wrote.

    Attributes:
        folder: where it lies.
        adapted: the model of adapted speech.
        unadapted: its Gaussians in unadapted features.
        silence_phones: phone-ids that are not speech.
    """

    folder: Path
    adapted: GmmHmm
    unadapted: DiagonalGmms
    silence_phones: tuple[int, ...]

    @property
    def speaker_independent(self) -> Path:
        """The GMM folder for unadapted speech."""
        return self.folder / SPEAKER_INDEPENDENT

    @staticmethod
    def load(folder: Path) -> AdaptedModel:
        """Read a model folder.

        Raises:
            InputError: a file is missing, or the two models do not fit each other.
        """
        path = folder / ADAPTATION_NAME
        if not path.is_file():
            raise InputError(
                f"{path}: no such file; give a speaker-adapted model (steps/train_sat.py)"
            )
        silence_phones = tuple(json.loads(path.read_text())["silence_phones"])
        adapted = GmmHmm.load(folder)
        unadapted = GmmHmm.load(folder / SPEAKER_INDEPENDENT).gmms
        if not np.array_equal(adapted.gmms.offsets, unadapted.offsets):
            raise InputError(
                f"{folder / SPEAKER_INDEPENDENT}: other Gaussians than {folder}; train again"
            )
        return AdaptedModel(folder, adapted, unadapted, silence_phones)


def save_speaker_independent(
    folder: Path,
    adapted: GmmHmm,
    unadapted: DiagonalGmms,
    silence_phones: Collection[int],
    phones: Path,
) -> None:
    """Write what a speaker-adapted model's folder has besides the model.

    Args:
        folder: of the model; exists.
        adapted, unadapted, silence_phones: see :class:`AdaptedModel`.
        phones: the lang folder's symbol table.
    """
    features = dataclasses.replace(adapted.features, speaker_adapted=False)
    target = folder / SPEAKER_INDEPENDENT
    target.mkdir(exist_ok=True)
    adapted.replace(gmms=unadapted, features=features).save(target)
    shutil.copyfile(phones, target / "phones.txt")
    facts = {"silence_phones": [int(phone) for phone in silence_phones]}
    (folder / ADAPTATION_NAME).write_text(json.dumps(facts))
