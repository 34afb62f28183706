"""The speaker-independent GMM trainings of a recipe, from folders to a model folder.

:mod:`am.gmm.train_sat` has the speaker-adaptive one.  In all of them an executor's workers align
and gather statistics; the model does not depend on which it is.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.failures import FAILED_NAME, write_failures
from am.alignment.transcripts import Transcripts
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import describe_features, open_feature_data
from am.features.gmm_features import GmmFeatures, delta_features
from am.gmm.lda import LdaStatistics
from am.gmm.model_folder import write_summary
from am.gmm.start import flat_start, start_from_alignments
from am.gmm.trainer import EmSettings, Trainer, TrainingState
from am.gmm.training_data import TrainingData, prepare_training_data
from am.lang.lang import Lang, check_phones
from am.processes import ONE_PROCESS
from am.tree.grow import TreeSettings

log = logging.getLogger(__name__)

LOG_NAME = "log.jsonl"
# The iterations of Kaldi's steps/train_mono.sh and train_deltas.sh.
MONO_EM = EmSettings(
    num_iterations=39,
    realign_iterations=(*range(1, 11), *range(12, 21, 2), *range(23, 39, 3)),
    num_gaussians=1000,
    num_growing_iterations=30,
)
TRIPHONE_EM = EmSettings(
    num_iterations=34,
    realign_iterations=(10, 20, 30),
    num_gaussians=10000,
    num_growing_iterations=25,
)


@dataclass(frozen=True)
class MonoSettings:
    """Of ``steps/train_mono.py``.

    Attributes:
        em: the iterations.
        normalise_variance: of a speaker's MFCC, besides the mean.
    """

    em: EmSettings = MONO_EM
    normalise_variance: bool = False


@dataclass(frozen=True)
class DeltasSettings:
    """Of ``steps/train_deltas.py``.

    Attributes:
        tree: of the new tree.
        em, normalise_variance: as in :class:`MonoSettings`.
    """

    tree: TreeSettings = field(default_factory=TreeSettings)
    em: EmSettings = TRIPHONE_EM
    normalise_variance: bool = False


@dataclass(frozen=True)
class LdaMlltSettings:
    """Of ``steps/train_lda_mllt.py``.

    Attributes:
        context: frames on either side that are spliced.
        dim: of the features after LDA.
        mllt_iterations: at whose beginning MLLT is estimated.
        tree, em, normalise_variance: as in :class:`DeltasSettings`.
    """

    context: int = 3
    dim: int = 40
    mllt_iterations: tuple[int, ...] = (2, 4, 6, 12)
    tree: TreeSettings = field(default_factory=TreeSettings)
    em: EmSettings = TRIPHONE_EM
    normalise_variance: bool = False


def train_mono(
    data_folder: Path,
    lang_folder: Path,
    output: Path,
    settings: MonoSettings,
    seed: int,
    device: torch.device,
    executor: Executor = ONE_PROCESS,
) -> None:
    """Train monophones on deltas from a flat start; a killed training goes on."""
    lang = Lang.load(lang_folder)
    data = prepare(data_folder, lang, output, settings.normalise_variance, None)
    features = delta_features(data.mfcc.shape[1], settings.normalise_variance)
    trainer = Trainer(data, lang, settings.em, output / "training", seed, device, executor)
    state = trainer.run(lambda trainer: flat_start(trainer, features))
    finish(trainer, state, output)


def train_deltas(
    data_folder: Path,
    lang_folder: Path,
    alignment_folder: Path,
    output: Path,
    settings: DeltasSettings,
    seed: int,
    device: torch.device,
    executor: Executor = ONE_PROCESS,
) -> None:
    """Train triphones on deltas from another model's alignments; a killed training goes on."""
    lang = Lang.load(lang_folder)
    old = open_alignments(alignment_folder, lang)
    data = prepare(data_folder, lang, output, settings.normalise_variance, old)
    features = delta_features(data.mfcc.shape[1], settings.normalise_variance)
    trainer = Trainer(data, lang, settings.em, output / "training", seed, device, executor)
    state = trainer.run(
        lambda trainer: start_from_alignments(trainer, features, old, settings.tree)
    )
    finish(trainer, state, output)


def train_lda_mllt(
    data_folder: Path,
    lang_folder: Path,
    alignment_folder: Path,
    output: Path,
    settings: LdaMlltSettings,
    seed: int,
    device: torch.device,
    executor: Executor = ONE_PROCESS,
) -> None:
    """Train triphones on LDA and MLLT of spliced frames; a killed training goes on."""
    lang = Lang.load(lang_folder)
    old = open_alignments(alignment_folder, lang)
    data = prepare(data_folder, lang, output, settings.normalise_variance, old)

    def start(trainer: Trainer) -> TrainingState:
        features = _lda_features(data, lang, old, settings)
        return start_from_alignments(trainer, features, old, settings.tree)

    trainer = Trainer(
        data,
        lang,
        settings.em,
        output / "training",
        seed,
        device,
        executor,
        settings.mllt_iterations,
    )
    state = trainer.run(start)
    finish(trainer, state, output)


def open_alignments(folder: Path, lang: Lang) -> AlignmentFolder:
    """Alignments whose phones and topology are those of ``lang``."""
    old = AlignmentFolder.open(folder)
    check_phones(lang, folder)
    if dict(old.topology.states_of_phone) != dict(lang.topology.states_of_phone):
        raise InputError(
            f"{folder / 'topology.json'}: differs from {lang.folder / 'topology.json'}; "
            "align again with a model of this topology"
        )
    return old


def prepare(
    data_folder: Path,
    lang: Lang,
    output: Path,
    normalise_variance: bool,
    old: AlignmentFolder | None,
) -> TrainingData:
    """The usable utterances of a feature data folder, made ready in ``output``."""
    description = describe_features(data_folder)
    if description.kind != "mfcc":
        raise InputError(
            f"{data_folder}: holds {description.kind}, GMMs want mfcc; run "
            "steps/make_features.py --kind mfcc"
        )
    data = prepare_training_data(
        open_feature_data(data_folder),
        Transcripts(lang),
        output / "training" / "data",
        normalise_variance,
        old,
    )
    if not data.cut_ids:
        raise InputError(
            f"{data_folder}: no cut can be used; the first, {': '.join(data.failures[0])}; "
            "check transcripts and alignments"
        )
    log.info("%d utterances, %d frames", len(data.cut_ids), data.offsets[-1])
    return data


def _lda_features(
    data: TrainingData, lang: Lang, old: AlignmentFolder, settings: LdaMlltSettings
) -> GmmFeatures:
    mfcc_dim = data.mfcc.shape[1]
    width = (2 * settings.context + 1) * mfcc_dim
    if settings.dim > width:
        raise InputError(f"dim: {settings.dim} is more than the {width} values that are spliced")
    statistics = LdaStatistics(old.transitions.num_pdfs, width)
    for first, last in data.chunks():
        transition_ids = np.concatenate(
            [old.transition_ids(cut_id) for cut_id in data.cut_ids[first:last]]
        )
        speech = ~np.isin(old.transitions.phones_of(transition_ids), lang.silence_phones)
        frames = data.spliced(first, last, settings.context)
        statistics.accumulate(frames[speech], old.transitions.pdf_ids_of(transition_ids[speech]))
    return GmmFeatures(
        "splice",
        mfcc_dim,
        settings.context,
        settings.normalise_variance,
        statistics.estimate(settings.dim),
    )


def finish(trainer: Trainer, state: TrainingState, output: Path) -> None:
    """Write the model folder and remove what the training went on from."""
    state.model.save(output)
    shutil.copyfile(trainer.lang.folder / "phones.txt", output / "phones.txt")
    data = trainer.data
    failures = data.failures + trainer.unaligned(state)
    write_failures(output / FAILED_NAME, failures)
    (output / LOG_NAME).write_text("".join(json.dumps(facts) + "\n" for facts in state.history))
    last = state.history[-1]
    summary = {
        "pdfs": state.model.gmms.num_pdfs,
        "gaussians": state.model.gmms.num_gaussians,
        "dim": state.model.gmms.dim,
        "log_likelihood_per_frame": last["log_likelihood_per_frame"],
        "frames": last["frames"],
        "utterances": len(data.cut_ids),
        "failed": len(failures),
    }
    write_summary(output, summary)
    log.info("%s", ", ".join(f"{name} {value}" for name, value in summary.items()))
    shutil.rmtree(output / "training")
