"""Training a network with frame cross-entropy: on hard labels, or on soft ones as well."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from am.errors import InputError
from am.features.feature_data import describe_features
from am.features.low_frame_rate import STACKED_FRAMES, LowFrameRateFrontEnd, estimate_front_end
from am.nnet.audio_augmentation import AudioAugmentationSettings
from am.nnet.checkpoint import TrainingState
from am.nnet.data import BatchingSettings, check_feature_kind
from am.nnet.device import pick_device
from am.nnet.lstm import AcousticModel, LstmSettings
from am.nnet.network import save_network
from am.nnet.schedule import (
    LABELED,
    Pass,
    ScheduleSettings,
    labeled_plan,
    scheduled_plan,
)
from am.nnet.shar_data import ShardedCuts
from am.nnet.sources import (
    DataSource,
    FeaturesOf,
    LabelsWanted,
    open_hard_labelled,
    open_unlabeled_parts,
    size_of_source,
)
from am.nnet.trainer import Trainer, TrainerSettings
from am.nnet.training_plan import TrainingPlan
from am.outputs import sha256_of_file
from am.parallel.process_group import current_group
from am.parallel.settings import ParallelSettings
from am.storage import RaggedStore
from am.tree.context_tree import ContextTree

log = logging.getLogger(__name__)

MAX_PLAN_ROWS = 12  # in the log; utils/show_schedule.py shows all


@dataclass(frozen=True)
class FrontEndSettings:
    """The normalisation's statistics (:mod:`am.features.low_frame_rate`).

    Attributes:
        prior_frames: how many 10 ms frames the global mean counts for in the causal mean.
        max_cuts: estimate on at most so many cuts, spread evenly over the data.
    """

    prior_frames: float = 100.0
    max_cuts: int = 20000


@dataclass(frozen=True)
class CrossEntropySettings:
    """A network and its training on labelled data.

    Attributes:
        lstm: the network's shape.
        trainer: how it is trained.
        batching: how its batches are made.
        front_end: its normalisation.
        audio: changes of the training data's audio.
        parallel: how several processes train it together (:mod:`am.parallel`).
        epochs: passes over the labelled data.
        prior_pseudo_count: frames added to every senone's count before priors are computed, so
            that a senone without training frames has a prior.
    """

    lstm: LstmSettings
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    batching: BatchingSettings = field(default_factory=BatchingSettings)
    front_end: FrontEndSettings = field(default_factory=FrontEndSettings)
    audio: AudioAugmentationSettings = field(default_factory=AudioAugmentationSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)
    epochs: int = 10
    prior_pseudo_count: float = 1.0


@dataclass(frozen=True)
class StudentSettings:
    """A network and its scheduled training; as :class:`CrossEntropySettings`, but for the order."""

    lstm: LstmSettings
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    batching: BatchingSettings = field(default_factory=BatchingSettings)
    front_end: FrontEndSettings = field(default_factory=FrontEndSettings)
    audio: AudioAugmentationSettings = field(default_factory=AudioAugmentationSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)
    prior_pseudo_count: float = 1.0


@dataclass(frozen=True)
class SoftLabelledData:
    """Feature data without transcripts, and a teacher's labels.

    Attributes:
        features: feature data folder, LFBE.
        soft_labels: soft labels, or pdf-ids of the teacher's best paths.
    """

    features: Path
    soft_labels: Path


def train_cross_entropy(
    labeled: Path,
    dev: Path,
    senones: Path,
    labels: Path,
    output: Path,
    settings: CrossEntropySettings,
    device: str = "auto",
) -> None:
    """Train a network on hard labels; of several processes (:mod:`am.parallel`) one writes.

    Args:
        labeled, dev: feature data folders of one kind of features.
        senones: the senone folder, whose tree the labels were made with.
        labels: holds the stores ``labeled`` and ``dev`` of pdf-ids at the low frame rate.
        output: the network folder to write; an unfinished training in it goes on.
        settings: network and training.
        device: auto, cpu, cuda or cuda:N.
    """
    with current_group().main_first():
        prepared = _Preparation(labeled, dev, senones, labels, output, settings)
    plan = labeled_plan(settings.epochs)
    prepared.train(plan, {LABELED: prepared.labeled_cuts}, [labeled], pick_device(device))


def train_student(
    labeled: Path,
    unlabeled: SoftLabelledData,
    dev: Path,
    senones: Path,
    labels: Path,
    output: Path,
    settings: StudentSettings,
    device: str = "auto",
) -> None:
    """Train a network on a teacher's labels of unlabelled data and hard labels of labelled data.

    Args:
        labeled, dev, senones, labels, output, device: as in :func:`train_cross_entropy`.
        unlabeled: LFBE and the teacher's labels of the unlabelled data.
        settings: network, schedule and training.
    """
    group = current_group()
    with group.main_first():
        prepared = _Preparation(labeled, dev, senones, labels, output, settings)
        check_feature_kind([labeled, unlabeled.features])
        parts = open_unlabeled_parts(
            unlabeled.features,
            unlabeled.soft_labels,
            settings.schedule.parts,
            prepared.labels_wanted,
            settings.batching,
            settings.audio,
            output,
        )
    sources = {LABELED: prepared.labeled_cuts, **{part.name: part for part in parts}}
    plan = scheduled_plan(settings.schedule)
    prepared.train(plan, sources, [labeled, unlabeled.features], pick_device(device))
    if group.is_main:
        shutil.rmtree(output / "parts", ignore_errors=True)


def log_priors_of(labels: RaggedStore, num_pdfs: int, pseudo_count: float) -> Tensor:
    """(num_pdfs,) natural log of the senones' relative frequencies in hard labels.

    Raises:
        InputError: a label is no pdf-id of the network.
    """
    counts = np.zeros(num_pdfs)
    for cut_id in labels:
        pdf_ids = labels[cut_id]["pdf_ids"]
        if len(pdf_ids) and not 0 <= pdf_ids.min() <= pdf_ids.max() < num_pdfs:
            raise InputError(
                f"{labels.folder}: cut {cut_id}: a label outside 0 … {num_pdfs - 1}; make the "
                "labels again with this senone folder"
            )
        counts += np.bincount(pdf_ids, minlength=num_pdfs)
    return log_priors_of_counts(counts, pseudo_count)


def log_priors_of_counts(counts: np.ndarray, pseudo_count: float) -> Tensor:
    """(num_pdfs,) natural log of the relative frequencies of (num_pdfs,) senones' frames."""
    log.info("%d of %d senones have labels", (counts > 0).sum(), len(counts))
    smoothed = counts + pseudo_count
    return torch.from_numpy(np.log(smoothed / smoothed.sum())).float()


class _Preparation:
    """The checked inputs that both kinds of training share."""

    def __init__(
        self,
        labeled: Path,
        dev: Path,
        senones: Path,
        labels: Path,
        output: Path,
        settings: CrossEntropySettings | StudentSettings,
    ):
        self._settings = settings
        self._output = output
        self._started = time.monotonic()
        self.num_pdfs = ContextTree.load(senones / "tree.json").num_pdfs
        self.tree_sha256 = sha256_of_file(senones / "tree.json")
        check_feature_kind([labeled, dev])
        settings.trainer.check_augmentation(labeled)
        self._features = describe_features(labeled)
        self.label_frame_shift = STACKED_FRAMES * self._features.frame_shift
        self.labels_wanted = LabelsWanted(self.num_pdfs, self.tree_sha256, self.label_frame_shift)
        self.labeled_cuts, self._dev_cuts = (
            open_hard_labelled(
                name,
                data,
                labels / name,
                self.labels_wanted,
                settings.batching,
                settings.audio if name == LABELED else None,
                output / f"{name}_without_labels.txt",
            )
            for name, data in ((LABELED, labeled), ("dev", dev))
        )
        self._log_priors = self._priors()

    def _priors(self) -> Tensor:
        """(num_pdfs,) log priors of the labelled data."""
        pseudo_count = self._settings.prior_pseudo_count
        if isinstance(self.labeled_cuts, ShardedCuts):
            counts = self.labeled_cuts.data.facts.pdf_counts
            return log_priors_of_counts(np.array(counts, dtype=np.float64), pseudo_count)
        return log_priors_of(self.labeled_cuts.labels, self.num_pdfs, pseudo_count)

    def train(
        self,
        plan: Sequence[Pass],
        sources: Mapping[str, DataSource],
        feature_folders: Sequence[Path],
        device: torch.device,
    ) -> None:
        """Carry the plan out and write the network."""
        settings = self._settings
        group = current_group()
        with group.main_first():
            front_end = self._front_end(feature_folders)
        torch.manual_seed(settings.trainer.seed)
        model = AcousticModel(settings.lstm, front_end.output_dim, self.num_pdfs)
        log.info("%d parameters, %d senones, on %s", model.num_parameters(), self.num_pdfs, device)
        sizes = {
            name: size_of_source(
                source, settings.batching, settings.trainer.chunk_seconds, group.size
            )
            for name, source in sources.items()
        }
        told = TrainingPlan(plan, sizes, settings.trainer, self.label_frame_shift)
        for line in told.lines(at_most=MAX_PLAN_ROWS):
            log.info("plan: %s", line)
        trainer = Trainer(
            model,
            front_end,
            plan,
            sources,
            self._dev_cuts,
            settings.trainer,
            self._output,
            device,
            settings.parallel,
        )
        state = trainer.run()
        dev_scores = trainer.evaluate()
        if group.is_main:
            save_network(self._output, model, front_end, self._log_priors, self.tree_sha256)
            self._write_summary(trainer, state, *dev_scores)

    def _front_end(self, feature_folders: Sequence[Path]) -> LowFrameRateFrontEnd:
        if (self._output / "front_end.json").is_file():
            return LowFrameRateFrontEnd.load(self._output)
        settings = self._settings.front_end
        features = FeaturesOf(feature_folders, settings.max_cuts)
        front_end = estimate_front_end(
            features, settings.prior_frames, self._features.frame_shift, self._features.kind
        )
        front_end.save(self._output)
        return front_end

    def _write_summary(
        self, trainer: Trainer, state: TrainingState, loss: float, accuracy: float
    ) -> None:
        summary = {
            "parameters": trainer.model.num_parameters(),
            "senones": self.num_pdfs,
            "processes": current_group().size,
            "labeled_hours": self.labeled_cuts.num_frames * self.label_frame_shift / 3600,
            "frames": state.frames_done,
            "updates": state.num_updates,
            "skipped_batches": state.skipped_batches,
            "dev_loss": loss,
            "dev_frame_accuracy": accuracy,
            "seconds": round(time.monotonic() - self._started, 1),
        }
        (self._output / "summary.json").write_text(json.dumps(summary, indent=1))
        log.info(
            "best: dev loss %.4f, dev frame accuracy %.2f %%; %d batches skipped",
            loss,
            100 * accuracy,
            state.skipped_batches,
        )
