"""Speaker-adaptive training: triphones on features that fMLLR has adapted to each speaker.

The iterations are those of Kaldi's ``steps/train_sat.sh``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from am.alignment.alignment_folder import AlignmentFolder
from am.errors import InputError
from am.executors import Executor
from am.features.speaker_transforms import SpeakerTransforms
from am.gmm.adapted_model import save_speaker_independent
from am.gmm.model import DiagonalGmms
from am.gmm.model_folder import GmmHmm
from am.gmm.speaker_adaptation import FmllrSettings, estimate_transforms, training_utterances
from am.gmm.start import start_from_alignments
from am.gmm.train import TRIPHONE_EM, finish, open_alignments, prepare
from am.gmm.trainer import EmSettings, Trainer, TrainingState
from am.gmm.training_data import UNADAPTED_NAME, TrainingData
from am.gmm.update import estimate
from am.lang.lang import Lang, check_phones
from am.outputs import sha256_of_file
from am.processes import ONE_PROCESS
from am.tree.grow import TreeSettings


@dataclass(frozen=True)
class SatSettings:
    """Of ``steps/train_sat.py``; the features are those of the older model.

    Attributes:
        fmllr: how a speaker's transform is estimated.
        fmllr_iterations: at whose beginning it is estimated anew.
        tree: of the new tree.
        em: the iterations.
    """

    fmllr: FmllrSettings = field(default_factory=FmllrSettings)
    fmllr_iterations: tuple[int, ...] = (2, 4, 6, 12)
    tree: TreeSettings = field(default_factory=TreeSettings)
    em: EmSettings = TRIPHONE_EM


def train_sat(
    data_folder: Path,
    lang_folder: Path,
    older_folder: Path,
    alignment_folder: Path,
    output: Path,
    settings: SatSettings,
    seed: int,
    device: torch.device,
    executor: Executor = ONE_PROCESS,
) -> None:
    """Train triphones on the speaker-adapted features of an older model; a killed training goes on.

    Args:
        data_folder: MFCC and transcripts.
        lang_folder: phones, roots, questions, lexicon.
        older_folder: the GMM that made the alignment, speaker-adapted or not.
        alignment_folder: of the data; where it holds speaker transforms, they are the first ones.
        output: the model folder, see :mod:`am.gmm.adapted_model`.
        settings, seed: of the training.
        device: where tensors live.
        executor: what aligns and gathers statistics; the model does not depend on it.

    Raises:
        InputError: data, lang, model and alignment do not belong together, or no cut can be used.
    """
    lang = Lang.load(lang_folder)
    check_phones(lang, older_folder)
    old = open_alignments(alignment_folder, lang)
    older = GmmHmm.load(older_folder)
    _check_made_by(alignment_folder, older_folder)
    data = prepare(data_folder, lang, output, older.features.normalise_variance, old)
    _check_mfcc(data, older, older_folder, data_folder)

    def start(trainer: Trainer) -> TrainingState:
        transforms = _first_transforms(trainer, older, older_folder, old)
        features = dataclasses.replace(older.features, speaker_adapted=True)
        return start_from_alignments(trainer, features, old, settings.tree, transforms)

    trainer = Trainer(
        data,
        lang,
        settings.em,
        output / "training",
        seed,
        device,
        executor,
        fmllr_iterations=settings.fmllr_iterations,
        fmllr=settings.fmllr,
    )
    state = trainer.run(start)
    save_speaker_independent(
        output,
        state.model,
        _unadapted(trainer, state),
        lang.silence_phones,
        lang.folder / "phones.txt",
    )
    finish(trainer, state, output)


def _first_transforms(
    trainer: Trainer, older: GmmHmm, older_folder: Path, old: AlignmentFolder
) -> SpeakerTransforms:
    """Those that the alignment was made with, or else estimated on it with the older model."""
    if older.features.speaker_adapted or SpeakerTransforms.are_in(old.folder):
        return SpeakerTransforms.load(old.folder, older.features)
    data = trainer.data
    inputs = data.write_input(older.features)

    def pdf_ids_of(utterance: int) -> np.ndarray:
        return old.transitions.pdf_ids_of(old.transition_ids(data.cut_ids[utterance]))

    return estimate_transforms(
        older_folder,
        data.speakers,
        training_utterances(data, inputs, pdf_ids_of),
        trainer.lang.silence_phones,
        trainer.fmllr,
        trainer.executor,
        trainer.device,
    )


def _unadapted(trainer: Trainer, state: TrainingState) -> DiagonalGmms:
    """The model's Gaussians as they are in unadapted features, by posteriors in adapted ones."""
    model, data = state.model, trainer.data
    data.write_input(model.features, state.transforms)
    data.write_input(model.features, name=UNADAPTED_NAME)
    statistics = trainer.passes.gather_em(
        model,
        "em-unadapted",
        state.alignment_iteration,
        observed=data.folder / UNADAPTED_NAME,
    )
    return estimate(model.gmms, statistics, trainer.settings.min_occupancy, remove=False)


def _check_made_by(alignment: Path, model: Path) -> None:
    """Raise InputError unless the alignment's transition-ids are of the model."""
    if sha256_of_file(alignment / "tree.json") != sha256_of_file(model / "tree.json"):
        raise InputError(
            f"{alignment / 'tree.json'}: differs from {model / 'tree.json'}; give the model that "
            "made the alignment"
        )


def _check_mfcc(data: TrainingData, older: GmmHmm, model: Path, data_folder: Path) -> None:
    if data.mfcc.shape[1] != older.features.mfcc_dim:
        raise InputError(
            f"{data_folder}: MFCC of {data.mfcc.shape[1]} coefficients, {model} was trained on "
            f"{older.features.mfcc_dim}; compute features with the same configuration"
        )
