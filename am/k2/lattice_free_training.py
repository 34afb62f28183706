"""Lattice-free sequence training of a network, from folders to a network folder."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from am.alignment.training_graph import GraphCompiler, TrainingGraph
from am.alignment.transcripts import Transcripts, log_unknown_words
from am.alignment.viterbi import AlignmentScales, scaled_log_transitions
from am.decoding.graph import check_graph_fits, load_graph
from am.decoding.scorers import ModelFacts
from am.errors import InputError
from am.features.feature_data import CUTS_NAME, open_feature_data
from am.graph.arrays import from_fst
from am.graph.compile import HmmModel, load_hmm_model
from am.k2.alignment import training_fsa
from am.k2.engine import Fsa, check_device, let_lhotse_sample, load_k2
from am.k2.graph import emitting_graph
from am.k2.lattice_free import (
    DenominatorSearch,
    LatticeFreeCriterion,
    LatticeFreeLoss,
    LatticeFreeTrainer,
)
from am.lang.lang import Lang
from am.nnet.data import BatchingSettings, LabelledCuts, check_labels_fit, open_labels
from am.nnet.device import pick_device
from am.nnet.network import LoadedNetwork, load_network, save_network
from am.nnet.schedule import LABELED, labeled_plan
from am.nnet.trainer import TrainerSettings
from am.parallel.process_group import current_group
from am.parallel.settings import ParallelSettings
from am.sequence.training import check_network_fits, write_summary
from am.shar.index import is_shar
from am.storage import RaggedStore, write_shard, write_store_description

log = logging.getLogger(__name__)

GRAPHS_NAME = "transcript_graphs"
GRAPHS_KIND = "transcript graphs"
GRAPHS_FIELD = "graph"
GRAPHS_A_SHARD = 5000


def _trainer_defaults() -> TrainerSettings:
    return TrainerSettings(
        learning_rate=2e-4, final_learning_rate_ratio=0.3, warm_up_updates=10, gradient_clip=1.0
    )


@dataclass(frozen=True)
class LatticeFreeSettings:
    """Of ``steps/train_lf.py`` (``conf/lattice_free.yaml``).

    Attributes:
        criterion: ``mmi`` or ``smbr`` (:mod:`am.k2.lattice_free`).
        numerator: of ``mmi``: the one path of the ``alignment``, or all those of the
            ``transcript``, its pronunciations and silences.
        acoustic_scale: factor of the log-likelihoods.
        self_loop_scale: factor of the transitions of transcripts; that of the phone graph.
        search: through the phone graph.
        cross_entropy_weight: share of cross-entropy in the loss, 0 … 1.
        epochs: passes over the labelled data; the weights of the last are kept.
        trainer, batching, parallel: as in cross-entropy training.
    """

    criterion: LatticeFreeCriterion = "mmi"
    numerator: Literal["alignment", "transcript"] = "alignment"
    acoustic_scale: float = 0.5
    self_loop_scale: float = 1.0
    search: DenominatorSearch = field(default_factory=DenominatorSearch)
    cross_entropy_weight: float = 0.1
    epochs: int = 3
    trainer: TrainerSettings = field(default_factory=_trainer_defaults)
    batching: BatchingSettings = field(default_factory=BatchingSettings)
    parallel: ParallelSettings = field(default_factory=ParallelSettings)

    def __post_init__(self) -> None:
        if not 0.0 <= self.cross_entropy_weight <= 1.0:
            raise InputError(f"cross_entropy_weight {self.cross_entropy_weight}: give 0 … 1")
        if self.epochs < 1:
            raise InputError(f"epochs {self.epochs}: give at least 1")
        if not self.acoustic_scale > 0:
            raise InputError(f"acoustic_scale {self.acoustic_scale}: give more than 0")
        if (self.criterion, self.numerator) == ("smbr", "transcript"):
            raise InputError("numerator: sMBR counts the alignment's senones; leave it alignment")


def train_lattice_free(
    labeled: Path,
    dev: Path,
    lang_folder: Path,
    senones: Path,
    labels: Path,
    model: Path,
    phone_graph: Path,
    output: Path,
    settings: LatticeFreeSettings,
    device: str = "auto",
) -> None:
    """Go on training a network with a lattice-free criterion; of several processes one writes.

    Args:
        labeled, dev: feature data folders with the network's features; transcribed where numerators
            are transcripts.
        lang_folder: of the transcripts.
        senones: the senone folder, whose tree the labels were made with.
        labels: holds the stores ``labeled`` and ``dev`` of pdf-ids.
        model: the network folder to start from.
        phone_graph: folder of ``steps/make_phone_graph.py``, the denominator.
        output: the network folder to write; an unfinished training in it goes on.
        settings: criterion and training.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        InputError: inputs that do not fit together, or k2 is missing.
    """
    started = time.monotonic()
    for data in filter(is_shar, (labeled, dev)):
        raise InputError(f"{data}: sequence training cannot read shards; give the feature data")
    torch.manual_seed(settings.trainer.seed)
    place = pick_device(device)
    check_device(place)
    let_lhotse_sample()
    network = load_network(model, place)
    group = current_group()
    sources = {}
    hmm = load_hmm_model(senones, Lang.load(lang_folder))
    with group.main_first():
        if group.is_main:
            check_network_fits(network, model, senones / "tree.json", [labeled, dev])
            settings.trainer.check_augmentation(labeled)
        for name, data in ((LABELED, labeled), ("dev", dev)):
            stored = open_labels(labels / name, "pdf-ids", network.num_pdfs, network.frame_shift)
            if group.is_main:
                check_labels_fit(data, stored, output / f"{name}_without_labels.txt")
            sources[name] = LabelledCuts(name, data / CUTS_NAME, stored, settings.batching)
        transcripts = None
        if settings.numerator == "transcript":
            if group.is_main:
                _write_transcript_graphs(labeled, lang_folder, hmm, output / GRAPHS_NAME)
            transcripts = _StoredGraphs(output / GRAPHS_NAME, hmm, settings.self_loop_scale, place)
    loss = LatticeFreeLoss(
        _denominator(phone_graph, network, model, place),
        settings.search,
        network.log_priors.to(place),
        settings.criterion,
        settings.acoustic_scale,
        settings.cross_entropy_weight,
        transcripts,
    )
    trainer = LatticeFreeTrainer(
        loss,
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
    trainer.run()
    dev_loss, accuracy = trainer.evaluate()
    if group.is_main:
        save_network(
            output, trainer.model, network.front_end, network.log_priors, network.tree_sha256
        )
        write_summary(output, trainer, dev_loss, accuracy, time.monotonic() - started)


def _denominator(
    phone_graph: Path, network: LoadedNetwork, model: Path, device: torch.device
) -> Fsa:
    graph = load_graph(phone_graph)
    facts = ModelFacts(
        folder=model,
        kind="network",
        num_pdfs=network.num_pdfs,
        tree_sha256=network.tree_sha256 or None,
        frame_shift=network.frame_shift,
        feature_dim=network.front_end.input_dim,
    )
    check_graph_fits(graph, phone_graph, facts)
    return emitting_graph(from_fst(graph.fst)).to_k2(device)


def _write_transcript_graphs(labeled: Path, lang_folder: Path, hmm: HmmModel, output: Path) -> None:
    """The training graph of each transcribed cut; cuts without a transcript have none."""
    lang = Lang.load(lang_folder)
    transcripts = Transcripts(lang)
    compiler = GraphCompiler(lang, hmm.tree, hmm.topology, hmm.transitions)
    cuts = iter(open_feature_data(labeled))
    num_shards = without = 0
    for index in count():
        some = list(islice(cuts, GRAPHS_A_SHARD))
        if not some:
            break
        numbered = [(cut.id, transcripts.word_ids(cut)) for cut in some]
        without += sum(not word_ids for _, word_ids in numbered)
        records = (
            (cut_id, {GRAPHS_FIELD: compiler.compile(word_ids).to_record()})
            for cut_id, word_ids in numbered
            if word_ids
        )
        output.mkdir(exist_ok=True)
        write_shard(output, index, records)
        num_shards = index + 1
    if without:
        raise InputError(
            f"{labeled}: {without} cuts have no transcript; set numerator=alignment, or leave "
            "these cuts out"
        )
    log_unknown_words(transcripts.unknown_words)
    write_store_description(
        output,
        {
            "kind": GRAPHS_KIND,
            "frame_shift": 0.0,
            "fields": [GRAPHS_FIELD],
            "num_shards": num_shards,
        },
    )


class _StoredGraphs:
    """Transcript graphs on disk, as k2 takes them."""

    def __init__(self, folder: Path, hmm: HmmModel, self_loop_scale: float, device: torch.device):
        self._store = RaggedStore(folder)
        self._pdf_ids = hmm.transitions.pdf_ids
        self._log_transitions = scaled_log_transitions(
            hmm.transitions, AlignmentScales(1.0, self_loop_scale)
        )
        self._device = device

    def __call__(self, cut_ids: list[str]) -> Fsa:
        fsas = []
        for cut_id in cut_ids:
            graph = TrainingGraph.from_record(np.asarray(self._store[cut_id][GRAPHS_FIELD]))
            labels = self._pdf_ids[graph.transition_states - 1] + 1
            fsas.append(training_fsa(graph, labels, self._log_transitions))
        return load_k2().create_fsa_vec(fsas).to(self._device)
