"""Sequence training of a network over denominator lattices, after cross-entropy."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from lhotse import CutSet

from am.errors import InputError
from am.features.feature_data import CUTS_NAME, open_feature_data
from am.nnet.data import (
    BatchingSettings,
    LabelledCuts,
    check_labels_fit,
    open_labels,
)
from am.nnet.device import pick_device
from am.nnet.network import (
    FRAME_SHIFT_TOLERANCE,
    LoadedNetwork,
    load_network,
    save_network,
)
from am.nnet.schedule import LABELED, labeled_plan
from am.nnet.trainer import Trainer, TrainerSettings
from am.outputs import sha256_of_file
from am.parallel.process_group import current_group
from am.parallel.settings import ParallelSettings
from am.sequence.denominator import DenominatorStore
from am.sequence.objectives import Criterion
from am.sequence.phone_classes import phone_classes
from am.sequence.trainer import SequenceLoss, SequenceTrainer
from am.shar.index import is_shar

log = logging.getLogger(__name__)

WITH_LATTICES_NAME = "cuts_with_lattices.jsonl.gz"
WITHOUT_LATTICES_NAME = "labeled_without_lattices.txt"


def _trainer_defaults() -> TrainerSettings:
    return TrainerSettings(
        learning_rate=2e-4, final_learning_rate_ratio=0.3, warm_up_updates=10, gradient_clip=1.0
    )


@dataclass(frozen=True)
class SequenceSettings:
    """Sequence training (``conf/smbr.yaml``); the acoustic scale is that of the lattices.

    Attributes:
        criterion: ``smbr``: expected accuracy of senones; ``mpfe``: of phones; ``mmi``: the
            reference's share of the probability (:mod:`am.sequence.objectives`).
        cross_entropy_weight: share of cross-entropy in the loss, 0 … 1.
        epochs: passes over the labelled data.
        keep: weights of the ``last`` pass, or the ``best``: lowest dev cross-entropy, which
            sequence training does not lower.
        trainer: how it is trained.
        batching: how its batches are made.
        parallel: how several processes train it together (:mod:`am.parallel`).
    """

    criterion: Criterion = "smbr"
    cross_entropy_weight: float = 0.1
    epochs: int = 3
    keep: Literal["last", "best"] = "last"
    trainer: TrainerSettings = field(default_factory=_trainer_defaults)
    batching: BatchingSettings = field(default_factory=BatchingSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)

    def __post_init__(self) -> None:
        if not 0.0 <= self.cross_entropy_weight <= 1.0:
            raise ValueError(f"cross_entropy_weight must be 0 … 1, not {self.cross_entropy_weight}")
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")


def train_sequence(
    labeled: Path,
    dev: Path,
    senones: Path,
    labels: Path,
    model: Path,
    denominators: Path,
    output: Path,
    settings: SequenceSettings,
    device: str = "auto",
) -> None:
    """Go on training a network with a sequence criterion; of several processes one writes.

    Labelled cuts without a lattice are counted in the log, listed in
    ``labeled_without_lattices.txt`` and left out.

    Args:
        labeled, dev: feature data folders with the network's features.
        senones: the senone folder, whose tree the labels were made with.
        labels: holds the stores ``labeled`` and ``dev`` of pdf-ids; ``labeled`` is the numerator
            alignment.
        model: the network folder to start from.
        denominators: the labelled cuts' lattices (:mod:`am.sequence.denominator`).
        output: the network folder to write; an unfinished training in it goes on.
        settings: criterion and training.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        InputError: inputs that do not fit together.
    """
    started = time.monotonic()
    for data in filter(is_shar, (labeled, dev)):
        raise InputError(
            f"{data}: sequence training cannot read shards; give the feature data folder that "
            "they were made of"
        )
    torch.manual_seed(settings.trainer.seed)
    place = pick_device(device)
    network = load_network(model, place)
    store = DenominatorStore(denominators)
    group = current_group()
    sources = {}
    with group.main_first():
        if group.is_main:
            check_network_fits(network, model, senones / "tree.json", [labeled, dev])
            settings.trainer.check_augmentation(labeled)
            _check_lattices_fit(network, model, store)
        for name, data in ((LABELED, labeled), ("dev", dev)):
            stored = open_labels(labels / name, "pdf-ids", network.num_pdfs, network.frame_shift)
            if group.is_main:
                check_labels_fit(data, stored, output / f"{name}_without_labels.txt")
            manifest = data / CUTS_NAME
            if name == LABELED:
                manifest = _cuts_with_lattices(data, store, output)
            sources[name] = LabelledCuts(name, manifest, stored, settings.batching)
    classes = None
    if settings.criterion == "mpfe":
        classes = torch.from_numpy(phone_classes(senones / "tree.json")).to(place)
    loss = SequenceLoss(
        store,
        network.log_priors.to(place),
        settings.criterion,
        settings.cross_entropy_weight,
        classes,
    )
    trainer = SequenceTrainer(
        loss,
        settings.keep,
        network.model,
        network.front_end,
        labeled_plan(settings.epochs),
        sources,
        sources["dev"],
        settings.trainer,
        output,
        place,
        settings.parallel,
    )
    if trainer.state.num_updates == 0:
        dev_loss, accuracy = trainer.evaluate()
        log.info("before: dev loss %.4f, dev frame accuracy %.2f %%", dev_loss, 100 * accuracy)
    trainer.run()
    dev_loss, accuracy = trainer.evaluate()
    if group.is_main:
        save_network(
            output, trainer.model, network.front_end, network.log_priors, network.tree_sha256
        )
        write_summary(output, trainer, dev_loss, accuracy, time.monotonic() - started)


def check_network_fits(network: LoadedNetwork, model: Path, tree: Path, data: list[Path]) -> None:
    """Raise InputError unless network, senones and features fit together."""
    if not tree.is_file():
        raise InputError(f"{tree}: no such file; give the folder of steps/cluster_senones.py")
    if sha256_of_file(tree) != network.tree_sha256:
        raise InputError(f"{tree}: not the tree of {model}; give the senones it was trained on")
    for folder in data:
        network.check_features(folder, model)


def _check_lattices_fit(network: LoadedNetwork, model: Path, store: DenominatorStore) -> None:
    """Raise InputError unless lattices and network fit together."""
    if (store.num_pdfs, store.tree_sha256) != (network.num_pdfs, network.tree_sha256):
        raise InputError(
            f"{store.folder}: lattices of {store.num_pdfs} senones of another tree than that of "
            f"{model}; make them with this network"
        )
    if abs(store.frame_shift - network.frame_shift) > FRAME_SHIFT_TOLERANCE:
        raise InputError(
            f"{store.folder}: a frame every {store.frame_shift} s, but {model} has one every "
            f"{network.frame_shift} s; make the lattices with this network"
        )


def _cuts_with_lattices(data: Path, store: DenominatorStore, output: Path) -> Path:
    """The manifest of the cuts that have a lattice; the others are listed beside it."""
    manifest, missing, total = output / WITH_LATTICES_NAME, 0, 0
    if not current_group().is_main:
        return manifest
    with (
        CutSet.open_writer(manifest, overwrite=True) as kept,
        (output / WITHOUT_LATTICES_NAME).open("w", encoding="utf-8") as listed,
    ):
        for cut in open_feature_data(data):
            total += 1
            if cut.id in store:
                kept.write(cut)
            else:
                missing += 1
                listed.write(f"{cut.id}\n")
    if missing == total:
        raise InputError(
            f"{store.folder}: has lattices for none of the {total} cuts of {data / CUTS_NAME}; "
            "make the lattices of this data"
        )
    if missing:
        log.warning("%d of %d cuts have no lattice: %s", missing, total, WITHOUT_LATTICES_NAME)
    return manifest


def write_summary(
    output: Path, trainer: Trainer, dev_loss: float, accuracy: float, seconds: float
) -> None:
    """Write ``summary.json`` of a training that ended, and say how it ended."""
    state = trainer.state
    summary = {
        "parameters": trainer.model.num_parameters(),
        "senones": trainer.model.num_pdfs,
        "frames": state.frames_done,
        "updates": state.num_updates,
        "skipped_batches": state.skipped_batches,
        "dev_loss": dev_loss,
        "dev_frame_accuracy": accuracy,
        "seconds": round(seconds, 1),
    }
    (output / "summary.json").write_text(json.dumps(summary, indent=1))
    log.info("after: dev loss %.4f, dev frame accuracy %.2f %%", dev_loss, 100 * accuracy)
