"""Decode every cut of a data folder."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse.cut import Cut

from am.decoding.decoder import BestPath, Decoder, Scales, SearchSettings, fault_of_scores
from am.decoding.graph import DecodingGraph, check_graph_fits, load_graph
from am.decoding.scorers import Scorer, load_scorer
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import count_cuts, open_feature_data
from am.k2.decoder import BatchDecoder, K2Settings
from am.k2.lattice_store import LatticeWriter
from am.lang.subword_model import copy_description
from am.processes import ONE_PROCESS, map_chunks
from am.progress import track
from am.scoring.transcripts import HYPOTHESES_NAME
from am.storage import Record

log = logging.getLogger(__name__)

FAILED_NAME = "failed.tsv"
LATTICES_NAME = "lattices"
CUTS_A_CHUNK = 4


@dataclass(frozen=True)
class DecodedCut:
    """What became of one cut.

    Attributes:
        cut_id: its id.
        words: the hypothesis; empty if decoding failed.
        pdf_ids: (T',) int32 of the best path; empty if decoding failed.
        fault: why decoding failed, or None.
        reached_final: False if the best path ends in no final state.
        audio_seconds, scoring_seconds, search_seconds: its duration, and the time it took; cuts
            that were searched together have equal shares.
        frame_shift: seconds a frame of the scores.
        lattice: its record (:mod:`am.k2.lattices`), where lattices are kept.
    """

    cut_id: str
    words: list[str]
    pdf_ids: np.ndarray
    fault: str | None
    reached_final: bool
    audio_seconds: float
    scoring_seconds: float
    search_seconds: float
    frame_shift: float
    lattice: Record | None = None


@dataclass
class DecodingSummary:
    """Totals of a decoding."""

    cuts: int = 0
    failed: int = 0
    without_final_state: int = 0
    audio_seconds: float = 0.0
    scoring_seconds: float = 0.0
    search_seconds: float = 0.0

    @property
    def real_time_factor(self) -> float:
        """Seconds of one process a second of audio."""
        return (self.scoring_seconds + self.search_seconds) / max(self.audio_seconds, 1e-9)

    def add(self, decoded: DecodedCut) -> None:
        """Count one more cut."""
        self.cuts += 1
        self.failed += decoded.fault is not None
        self.without_final_state += decoded.fault is None and not decoded.reached_final
        self.audio_seconds += decoded.audio_seconds
        self.scoring_seconds += decoded.scoring_seconds
        self.search_seconds += decoded.search_seconds


def decode_data(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    output: Path,
    scales: Scales,
    settings: SearchSettings,
    *,
    executor: Executor = ONE_PROCESS,
    device: torch.device | None = None,
    transforms_dir: Path | None = None,
    k2: K2Settings | None = None,
) -> DecodingSummary:
    """Decode the cuts of a feature data folder with a GMM or a network.

    A cut that cannot be decoded gets an empty hypothesis and a line in ``failed.tsv``.

    Args:
        graph_dir: graph made for the model's senones.
        data_dir: cuts with the features that the model was trained on.
        model_dir: GMM or network.
        output: gets hypotheses.txt (``cut-id words``, sorted), failed.tsv (cut, reason),
            settings.json, summary.json; from a graph of pieces also subword.json; lattices, a
            store, where ``k2`` keeps them.
        scales: acoustic scale and word insertion penalty.
        settings: of the search.
        executor: what decodes.
        device: where scores are computed; kaldi-decoder itself is on the CPU.
        transforms_dir: the transforms of the data's speakers, for a speaker-adapted GMM.
        k2: decodes with k2, on ``device``; None decodes with kaldi-decoder.

    Raises:
        InputError: graph, data, model and transforms do not fit together, k2 is missing, or no cut
            could be decoded.
    """
    results = decode_cuts(
        graph_dir,
        data_dir,
        model_dir,
        scales,
        settings,
        executor=executor,
        device=device,
        transforms_dir=transforms_dir,
        k2=k2,
    )
    summary = DecodingSummary()
    lines: list[str] = []
    first_fault = ""
    keeps_lattices = k2 is not None and k2.keep_lattices
    lattices = LatticeWriter(output / LATTICES_NAME, graph_dir) if keeps_lattices else None
    with (output / FAILED_NAME).open("w", encoding="utf-8") as failed:
        for decoded in _tracked(results, data_dir, summary):
            lines.append(" ".join([decoded.cut_id, *decoded.words]))
            if lattices is not None and decoded.lattice is not None:
                lattices.write(decoded.cut_id, decoded.lattice)
            if decoded.fault is not None:
                first_fault = first_fault or f"{decoded.cut_id}: {decoded.fault}"
                failed.write(f"{decoded.cut_id}\t{decoded.fault}\n")
    if summary.failed == summary.cuts:
        raise InputError(f"{data_dir}: not one cut could be decoded; the first is {first_fault}")
    if lattices is not None:
        lattices.finish(scales, decoded.frame_shift)
    hypotheses = "".join(f"{line}\n" for line in sorted(lines))
    (output / HYPOTHESES_NAME).write_text(hypotheses, encoding="utf-8")
    copy_description(graph_dir, output)
    _write_facts(
        output, graph_dir, data_dir, model_dir, transforms_dir, scales, settings, k2, summary
    )
    _report(summary, first_fault)
    return summary


def decode_cuts(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    scales: Scales,
    settings: SearchSettings,
    *,
    executor: Executor = ONE_PROCESS,
    device: torch.device | None = None,
    transforms_dir: Path | None = None,
    k2: K2Settings | None = None,
) -> Iterator[DecodedCut]:
    """The cuts of a feature data folder, decoded in their order; :func:`decode_data`'s arguments.

    Raises:
        InputError: graph, data, model and transforms do not fit together.
    """
    device = device or torch.device("cpu")
    make_state = partial(
        _make_state, graph_dir, data_dir, model_dir, scales, settings, device, transforms_dir, k2
    )
    cuts = open_feature_data(data_dir)
    chunk_size = CUTS_A_CHUNK if k2 is None else k2.batch_cuts
    chunks = map_chunks(
        _decode_chunk, make_state, cuts, executor, chunk_size=chunk_size, device=device
    )
    return (decoded for chunk in chunks for decoded in chunk)


@dataclass(frozen=True)
class _State:
    graph: DecodingGraph
    scorer: Scorer
    decoder: Decoder | BatchDecoder
    keeps_lattices: bool


def _make_state(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    scales: Scales,
    settings: SearchSettings,
    device: torch.device,
    transforms_dir: Path | None,
    k2: K2Settings | None,
) -> _State:
    graph, scorer = load_graph_and_scorer(graph_dir, data_dir, model_dir, device, transforms_dir)
    if k2 is None:
        return _State(graph, scorer, Decoder(graph, scales, settings), False)
    decoder = BatchDecoder(graph, scales, settings, k2, device)
    return _State(graph, scorer, decoder, k2.keep_lattices)


def settings_of_decoder(k2: K2Settings | None) -> dict[str, Any]:
    """What the output depends on beside scales and beams."""
    return {} if k2 is None else {"decoder": "k2", **asdict(k2)}


def load_graph_and_scorer(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    device: torch.device,
    transforms_dir: Path | None = None,
) -> tuple[DecodingGraph, Scorer]:
    """Load both and check that they fit together and to the data."""
    scorer = load_scorer(model_dir, data_dir, device, transforms_dir)
    graph = load_graph(graph_dir)
    check_graph_fits(graph, graph_dir, scorer.facts)
    return graph, scorer


def timed_scores(scorer: Scorer, cut: Cut) -> tuple[np.ndarray, float]:
    """The scores of a cut and the seconds they took."""
    started = time.perf_counter()
    scores = scorer.scores(cut)
    return scores, time.perf_counter() - started


def _decode_chunk(state: _State, cuts: list[Cut]) -> list[DecodedCut]:
    scored = [timed_scores(state.scorer, cut) for cut in cuts]
    started = time.perf_counter()
    faults = [fault_of_scores(scores) for scores, _ in scored]
    usable = [place for place, fault in enumerate(faults) if fault is None]
    paths: dict[int, BestPath | None] = {}
    lattices: dict[int, Record | None] = {}
    if usable:
        batch = [scored[place][0] for place in usable]
        if isinstance(state.decoder, BatchDecoder) and state.keeps_lattices:
            found, records = state.decoder.lattices_of_batch(batch)
            lattices = dict(zip(usable, records, strict=True))
        else:
            found = state.decoder.decode_batch(batch)
        paths = dict(zip(usable, found, strict=True))
    search_seconds = (time.perf_counter() - started) / len(cuts)
    decoded = []
    for place, (cut, (_, scoring_seconds)) in enumerate(zip(cuts, scored, strict=True)):
        path = paths.get(place)
        fault = faults[place] or (None if path else "no path through the graph")
        decoded.append(
            DecodedCut(
                cut_id=cut.id,
                words=state.graph.words_of(path.word_ids) if path else [],
                pdf_ids=path.pdf_ids if path else np.zeros(0, np.int32),
                fault=fault,
                reached_final=path.reached_final if path else False,
                audio_seconds=cut.duration,
                scoring_seconds=scoring_seconds,
                search_seconds=search_seconds,
                frame_shift=state.scorer.facts.frame_shift,
                lattice=lattices.get(place),
            )
        )
    return decoded


def _tracked(
    results: Iterator[DecodedCut], data_dir: Path, summary: DecodingSummary
) -> Iterator[DecodedCut]:
    """The decoded cuts, counted in ``summary``, with a progress bar."""
    bar = track(results, "decoding", total=count_cuts(data_dir), unit="cut")
    for decoded in bar:
        summary.add(decoded)
        bar.set_postfix_str(f"real-time factor {summary.real_time_factor:.3f}", refresh=False)
        yield decoded


def _write_facts(
    output: Path,
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    transforms_dir: Path | None,
    scales: Scales,
    settings: SearchSettings,
    k2: K2Settings | None,
    summary: DecodingSummary,
) -> None:
    used = {
        **asdict(scales),
        **asdict(settings),
        **settings_of_decoder(k2),
        "graph": str(graph_dir),
        "data": str(data_dir),
        "model": str(model_dir),
        "transforms": str(transforms_dir) if transforms_dir else None,
    }
    (output / "settings.json").write_text(json.dumps(used, indent=1))
    totals = {**asdict(summary), "real_time_factor": summary.real_time_factor}
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in totals.items()}
    (output / "summary.json").write_text(json.dumps(rounded, indent=1))


def _report(summary: DecodingSummary, first_fault: str) -> None:
    if summary.failed:
        log.warning("%d cuts failed (failed.tsv), the first: %s", summary.failed, first_fault)
    if summary.without_final_state:
        log.warning(
            "%d cuts ended in no final state of the graph; their best unfinished path was taken",
            summary.without_final_state,
        )
    log.info(
        "%d cuts, %.2f h; real-time factor of a process %.4f: %.4f scoring, %.4f search",
        summary.cuts,
        summary.audio_seconds / 3600,
        summary.real_time_factor,
        summary.scoring_seconds / max(summary.audio_seconds, 1e-9),
        summary.search_seconds / max(summary.audio_seconds, 1e-9),
    )
