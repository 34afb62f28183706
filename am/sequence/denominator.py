"""Making the denominator lattices of a data folder, shard by shard.

The output is a store (:mod:`am.storage`) of kind ``denominator lattices`` whose records have an
entry an arc (:meth:`am.sequence.lattice.DenominatorLattice.to_record`), and beside it
``failed.tsv`` (cut, reason) and ``summary.json``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lhotse.cut import Cut

from am.decoding.decode_data import load_graph_and_scorer
from am.decoding.decoder import fault_of_scores
from am.decoding.lattices import LatticeMaker, LatticeSettings
from am.decoding.scorers import Scorer
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import count_cuts, open_feature_data
from am.graph.arrays import from_fst, to_fst
from am.nnet.data import open_labels
from am.nnet.network import LoadedNetwork, load_network
from am.outputs import unfinished_folder
from am.processes import ONE_PROCESS, chunks
from am.sequence.lattice import STORE_KIND, STORED_FIELDS, DenominatorLattice, denominator_lattice
from am.sequence.reference import ReferenceLattices, holds_path, with_paths_of
from am.shards import make_shards
from am.storage import (
    RaggedStore,
    check_store,
    shard_fault,
    shard_paths,
    write_shard,
    write_store_description,
)

log = logging.getLogger(__name__)

FAILED_NAME = "failed.tsv"
PARTS_NAME = "parts"


@dataclass(frozen=True)
class DenominatorSettings:
    """How denominator lattices are made (``conf/denominator.yaml``).

    Attributes:
        acoustic_scale: factor of the pseudo log-likelihoods; training uses the same.
        lattices: how rich they are; beams count after the scale.
        cuts_per_shard: lattices a file.
    """

    acoustic_scale: float = 0.5
    lattices: LatticeSettings = field(
        default_factory=lambda: LatticeSettings(beam=9.0, lattice_beam=7.0)
    )
    cuts_per_shard: int = 64

    def __post_init__(self) -> None:
        if not (self.acoustic_scale > 0 and np.isfinite(self.acoustic_scale)):
            raise ValueError(f"acoustic_scale must be above 0, not {self.acoustic_scale}")
        if self.cuts_per_shard < 1:
            raise ValueError(f"cuts_per_shard must be at least 1, not {self.cuts_per_shard}")


@dataclass(frozen=True)
class _ShardFacts:
    """What became of the cuts of one shard, or of several.

    Attributes:
        cuts: all, with those that failed.
        frames, arcs: of the lattices.
        failed: cut, reason.
        without_reference: lattices that did not hold the reference's path.
        reference_added: those of them that got it.
    """

    cuts: int = 0
    frames: int = 0
    arcs: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    without_reference: int = 0
    reference_added: int = 0

    def __add__(self, other: _ShardFacts) -> _ShardFacts:
        names = (one.name for one in fields(self))
        return _ShardFacts(*(getattr(self, name) + getattr(other, name) for name in names))


class DenominatorStore:
    """Random access to the lattices of a folder by cut id."""

    def __init__(self, folder: Path):
        """Raise InputError unless the folder is a whole, unaltered store of lattices."""
        self.folder = folder
        self._store = RaggedStore(folder)
        if self._store.kind != STORE_KIND:
            raise InputError(f"{folder}: holds {self._store.kind} where {STORE_KIND} are needed")
        check_store(folder)
        self.frame_shift = self._store.frame_shift
        self.num_pdfs = int(self._store.description["num_pdfs"])
        self.tree_sha256 = str(self._store.description["tree_sha256"])
        self.acoustic_scale = float(self._store.description["acoustic_scale"])

    def __contains__(self, cut_id: str) -> bool:
        return cut_id in self._store

    def __getitem__(self, cut_id: str) -> DenominatorLattice:
        return DenominatorLattice.from_record(self._store[cut_id])


def make_denominator_lattices(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    output: Path,
    settings: DenominatorSettings,
    *,
    labels: Path | None = None,
    executor: Executor = ONE_PROCESS,
    device: torch.device | None = None,
) -> None:
    """Write the lattices of every cut of a feature data folder.

    A cut without a lattice is listed in ``failed.tsv``; finished shards of an unfinished run in
    ``output`` are kept.  With labels, a lattice without the reference's path gets it, with the
    graph's score.

    Args:
        graph_dir: graph with a weak language model, made for the model's senones.
        data_dir: cuts with the features that the model was trained on.
        model_dir: the network that sequence training starts from.
        output: the folder to write.
        settings: how rich the lattices are.
        labels: the cuts' senones, the reference of sequence training; None adds nothing.
        executor: what makes the shards.
        device: where scores are computed; the search itself is on the CPU.

    Raises:
        InputError: graph, data, model and labels do not fit together, no cut has a lattice, or
            shards failed.
    """
    device = device or torch.device("cpu")
    network = load_network(model_dir)
    if labels is not None:
        open_labels(labels, "pdf-ids", network.num_pdfs, network.frame_shift)
    make_state = partial(
        _make_state, graph_dir, data_dir, model_dir, labels, output, settings, device
    )
    shards = enumerate(chunks(open_feature_data(data_dir), settings.cuts_per_shard))
    num_shards = -(-count_cuts(data_dir) // settings.cuts_per_shard)
    (output / PARTS_NAME).mkdir(exist_ok=True)
    make_shards(
        _make_shard,
        make_state,
        ((shard_paths(output, index)[0].stem, (index, cuts)) for index, cuts in shards),
        num_shards,
        executor,
        output,
        description="denominator lattices",
        share_state=device.type == "cpu",
    )
    facts = _ShardFacts()
    for index in range(num_shards):
        facts += _ShardFacts(**json.loads(_facts_path(output, index).read_text()))
    if len(facts.failed) == facts.cuts:
        raise InputError(
            f"{data_dir}: not one cut has a lattice; the first: {': '.join(facts.failed[0])}"
        )
    write_store_description(output, _description(network, settings, num_shards))
    failed_lines = [f"{cut}\t{reason}\n" for cut, reason in facts.failed]
    (output / FAILED_NAME).write_text("".join(failed_lines))
    summary = {**asdict(facts), "failed": len(facts.failed)}
    (output / "summary.json").write_text(json.dumps(summary, indent=1))
    shutil.rmtree(output / PARTS_NAME)
    _report(facts)


def _report(facts: _ShardFacts) -> None:
    if facts.failed:
        log.warning(
            "%d of %d cuts have no lattice (%s)", len(facts.failed), facts.cuts, FAILED_NAME
        )
    lattices = facts.cuts - len(facts.failed)
    log.info("%d lattices, %.1f arcs a frame", lattices, facts.arcs / max(facts.frames, 1))
    if facts.without_reference:
        log.info(
            "%d lattices lacked the reference's path, %d of them got it",
            facts.without_reference,
            facts.reference_added,
        )
    lost = facts.without_reference - facts.reference_added
    if lost:
        log.warning("%d references are no path of the graph: other words, or another tree", lost)


def _description(
    network: LoadedNetwork, settings: DenominatorSettings, num_shards: int
) -> dict[str, object]:
    return {
        "kind": STORE_KIND,
        "fields": STORED_FIELDS,
        "frame_shift": network.frame_shift,
        "num_pdfs": network.num_pdfs,
        "tree_sha256": network.tree_sha256,
        "num_shards": num_shards,
        **asdict(settings),
    }


@dataclass(frozen=True)
class _State:
    scorer: Scorer
    maker: LatticeMaker
    labels: RaggedStore | None
    references: ReferenceLattices
    output: Path


def _make_state(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    labels: Path | None,
    output: Path,
    settings: DenominatorSettings,
    device: torch.device,
) -> _State:
    graph, scorer = load_graph_and_scorer(graph_dir, data_dir, model_dir, device)
    # The lattices' arcs carry output labels, and here pdf-ids are wanted, not words.
    arrays = from_fst(graph.fst)
    fst = to_fst(dataclasses.replace(arrays, olabel=arrays.ilabel))
    return _State(
        scorer,
        LatticeMaker(fst, settings.acoustic_scale, settings.lattices),
        RaggedStore(labels) if labels is not None else None,
        ReferenceLattices(fst, scorer.facts.num_pdfs),
        output,
    )


def _facts_path(output: Path, index: int) -> Path:
    return output / PARTS_NAME / f"{index:05d}.json"


def _make_shard(state: _State, shard: tuple[int, list[Cut]]) -> None:
    index, cuts = shard
    facts_path = _facts_path(state.output, index)
    if facts_path.is_file() and shard_fault(state.output, index) is None:
        return
    records: list[tuple[str, dict[str, np.ndarray]]] = []
    facts = _ShardFacts()
    for cut in cuts:
        lattice, fault = _lattice_of(state, cut)
        if lattice is None:
            facts += _ShardFacts(cuts=1, failed=[(cut.id, fault)])
            continue
        lattice, found = _with_reference(state, cut.id, lattice)
        records.append((cut.id, lattice.to_record()))
        facts += found
    write_shard(state.output, index, records)
    with unfinished_folder(facts_path.parent) as aside:
        (aside / facts_path.name).write_text(json.dumps(asdict(facts)))
        (aside / facts_path.name).replace(facts_path)


def _with_reference(
    state: _State, cut_id: str, lattice: DenominatorLattice
) -> tuple[DenominatorLattice, _ShardFacts]:
    """The lattice, with the path of the cut's labels where there are any, and what was missing."""
    lacking = added = False
    if state.labels is not None and cut_id in state.labels:
        pdf_ids = state.labels[cut_id]["pdf_ids"]
        if len(pdf_ids) != lattice.num_frames:
            raise InputError(
                f"{state.labels.folder}: cut {cut_id}: {len(pdf_ids)} labels, but its features "
                f"make {lattice.num_frames} frames; give the labels of this data"
            )
        lacking = not holds_path(lattice, pdf_ids)
        reference = state.references.make(pdf_ids) if lacking else None
        if reference is not None:
            lattice, added = with_paths_of(lattice, reference), True
    return lattice, _ShardFacts(
        cuts=1,
        frames=lattice.num_frames,
        arcs=lattice.num_arcs,
        without_reference=int(lacking),
        reference_added=int(added),
    )


def _lattice_of(state: _State, cut: Cut) -> tuple[DenominatorLattice | None, str]:
    """The lattice of a cut, or None and why there is none."""
    scores = state.scorer.scores(cut)
    fault = fault_of_scores(scores)
    if fault is not None:
        return None, fault
    raw = state.maker.make(scores)
    lattice = denominator_lattice(raw) if raw is not None else None
    if lattice is None or lattice.num_frames != len(scores):
        return None, "no path through the graph"
    return lattice, ""
