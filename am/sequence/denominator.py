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
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from lhotse.cut import Cut

from am.decoding.decode_data import count_cuts, load_graph_and_scorer
from am.decoding.decoder import fault_of_scores
from am.decoding.lattices import LatticeMaker, LatticeSettings
from am.decoding.processes import map_chunks
from am.decoding.scorers import Scorer
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.graph.arrays import from_fst, to_fst
from am.nnet.network import LoadedNetwork, load_network
from am.progress import track
from am.sequence.lattice import STORE_KIND, STORED_FIELDS, DenominatorLattice, denominator_lattice
from am.storage import RaggedStore, check_store, shard_fault, write_shard, write_store_description

log = logging.getLogger(__name__)

FAILED_NAME = "failed.tsv"


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
    """What became of the cuts of one shard."""

    cuts: int
    frames: int
    arcs: int
    failed: list[tuple[str, str]]


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
    jobs: int = 1,
    device: torch.device | None = None,
) -> None:
    """Write the lattices of every cut of a feature data folder.

    A cut without a lattice is listed in ``failed.tsv``; finished shards of an unfinished run in
    ``output`` are kept.

    Args:
        graph_dir: graph with a weak language model, made for the model's senones.
        data_dir: cuts with the features that the model was trained on.
        model_dir: the network that sequence training starts from.
        output: the folder to write.
        settings: how rich the lattices are.
        jobs: processes.
        device: where scores are computed; the search itself is on the CPU.

    Raises:
        InputError: graph, data and model do not fit together, or no cut has a lattice.
    """
    device = device or torch.device("cpu")
    network = load_network(model_dir)
    make_state = partial(_make_state, graph_dir, data_dir, model_dir, output, settings, device)
    shards = enumerate(_chunks(open_feature_data(data_dir), settings.cuts_per_shard))
    (output / "parts").mkdir(exist_ok=True)
    results = map_chunks(_make_shards, make_state, shards, jobs, chunk_size=1, device=device)
    cuts = frames = arcs = num_shards = 0
    failed: list[tuple[str, str]] = []
    total_shards = -(-count_cuts(data_dir) // settings.cuts_per_shard)
    for shard in track(results, "denominator lattices", total=total_shards, unit="shard"):
        num_shards += 1
        cuts, frames, arcs = cuts + shard.cuts, frames + shard.frames, arcs + shard.arcs
        failed += shard.failed
    if len(failed) == cuts:
        raise InputError(
            f"{data_dir}: not one cut has a lattice; the first: {': '.join(failed[0])}"
        )
    write_store_description(output, _description(network, settings, num_shards))
    (output / FAILED_NAME).write_text("".join(f"{cut}\t{reason}\n" for cut, reason in failed))
    summary = {"cuts": cuts, "failed": len(failed), "frames": frames, "arcs": arcs}
    (output / "summary.json").write_text(json.dumps(summary, indent=1))
    shutil.rmtree(output / "parts")
    if failed:
        log.warning("%d of %d cuts have no lattice (%s)", len(failed), cuts, FAILED_NAME)
    log.info("%d lattices, %.1f arcs a frame", cuts - len(failed), arcs / max(frames, 1))


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
    output: Path


def _make_state(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    output: Path,
    settings: DenominatorSettings,
    device: torch.device,
) -> _State:
    graph, scorer = load_graph_and_scorer(graph_dir, data_dir, model_dir, device)
    # The lattices' arcs carry output labels, and here pdf-ids are wanted, not words.
    arrays = from_fst(graph.fst)
    fst = to_fst(dataclasses.replace(arrays, olabel=arrays.ilabel))
    return _State(scorer, LatticeMaker(fst, settings.acoustic_scale, settings.lattices), output)


def _make_shards(state: _State, shards: list[tuple[int, list[Cut]]]) -> _ShardFacts:
    ((index, cuts),) = shards
    facts_path = state.output / "parts" / f"{index:05d}.json"
    if facts_path.is_file() and shard_fault(state.output, index) is None:
        return _ShardFacts(**json.loads(facts_path.read_text()))
    records: list[tuple[str, dict[str, np.ndarray]]] = []
    failed: list[tuple[str, str]] = []
    frames = arcs = 0
    for cut in cuts:
        lattice, fault = _lattice_of(state, cut)
        if lattice is None:
            failed.append((cut.id, fault))
            continue
        records.append((cut.id, lattice.to_record()))
        frames += lattice.num_frames
        arcs += lattice.num_arcs
    write_shard(state.output, index, records)
    facts = _ShardFacts(len(cuts), frames, arcs, failed)
    facts_path.write_text(json.dumps(asdict(facts)))
    return facts


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


def _chunks(cuts: Iterator[Cut], size: int) -> Iterator[list[Cut]]:
    iterator = iter(cuts)
    while chunk := list(islice(iterator, size)):
        yield chunk
