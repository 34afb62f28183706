"""Decode every cut of a data folder."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lhotse.cut import Cut

from am.decoding.decoder import Decoder, Scales, SearchSettings, fault_of_scores
from am.decoding.graph import DecodingGraph, check_graph_fits, load_graph
from am.decoding.scorers import Scorer, load_scorer
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import count_cuts, open_feature_data
from am.lang.subword_model import copy_description
from am.processes import ONE_PROCESS, map_chunks
from am.progress import track
from am.scoring.transcripts import HYPOTHESES_NAME

log = logging.getLogger(__name__)

FAILED_NAME = "failed.tsv"
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
        audio_seconds, scoring_seconds, search_seconds: its duration, and the time it took.
    """

    cut_id: str
    words: list[str]
    pdf_ids: np.ndarray
    fault: str | None
    reached_final: bool
    audio_seconds: float
    scoring_seconds: float
    search_seconds: float


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
) -> DecodingSummary:
    """Decode the cuts of a feature data folder with a GMM or a network.

    A cut that cannot be decoded gets an empty hypothesis and a line in ``failed.tsv``.

    Args:
        graph_dir: graph made for the model's senones.
        data_dir: cuts with the features that the model was trained on.
        model_dir: GMM or network.
        output: gets hypotheses.txt (``cut-id words``, sorted), failed.tsv (cut, reason),
            settings.json, summary.json; from a graph of pieces also subword.json.
        scales: acoustic scale and word insertion penalty.
        settings: of the search.
        executor: what decodes.
        device: where scores are computed; decoding itself is on the CPU.
        transforms_dir: the transforms of the data's speakers, for a speaker-adapted GMM.

    Raises:
        InputError: graph, data, model and transforms do not fit together, or no cut could be
            decoded.
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
    )
    summary = DecodingSummary()
    lines: list[str] = []
    first_fault = ""
    with (output / FAILED_NAME).open("w", encoding="utf-8") as failed:
        for decoded in _tracked(results, data_dir, summary):
            lines.append(" ".join([decoded.cut_id, *decoded.words]))
            if decoded.fault is not None:
                first_fault = first_fault or f"{decoded.cut_id}: {decoded.fault}"
                failed.write(f"{decoded.cut_id}\t{decoded.fault}\n")
    if summary.failed == summary.cuts:
        raise InputError(f"{data_dir}: not one cut could be decoded; the first is {first_fault}")
    hypotheses = "".join(f"{line}\n" for line in sorted(lines))
    (output / HYPOTHESES_NAME).write_text(hypotheses, encoding="utf-8")
    copy_description(graph_dir, output)
    _write_facts(output, graph_dir, data_dir, model_dir, transforms_dir, scales, settings, summary)
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
) -> Iterator[DecodedCut]:
    """The cuts of a feature data folder, decoded in their order; :func:`decode_data`'s arguments.

    Raises:
        InputError: graph, data, model and transforms do not fit together.
    """
    device = device or torch.device("cpu")
    make_state = partial(
        _make_state, graph_dir, data_dir, model_dir, scales, settings, device, transforms_dir
    )
    cuts = open_feature_data(data_dir)
    chunks = map_chunks(
        _decode_chunk, make_state, cuts, executor, chunk_size=CUTS_A_CHUNK, device=device
    )
    return (decoded for chunk in chunks for decoded in chunk)


@dataclass(frozen=True)
class _State:
    graph: DecodingGraph
    scorer: Scorer
    decoder: Decoder


def _make_state(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    scales: Scales,
    settings: SearchSettings,
    device: torch.device,
    transforms_dir: Path | None,
) -> _State:
    graph, scorer = load_graph_and_scorer(graph_dir, data_dir, model_dir, device, transforms_dir)
    return _State(graph, scorer, Decoder(graph, scales, settings))


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
    return [_decode_cut(state, cut) for cut in cuts]


def _decode_cut(state: _State, cut: Cut) -> DecodedCut:
    scores, scoring_seconds = timed_scores(state.scorer, cut)
    started = time.perf_counter()
    fault = fault_of_scores(scores)
    path = state.decoder.decode(scores) if fault is None else None
    if fault is None and path is None:
        fault = "no path through the graph"
    return DecodedCut(
        cut_id=cut.id,
        words=state.graph.words_of(path.word_ids) if path else [],
        pdf_ids=path.pdf_ids if path else np.zeros(0, np.int32),
        fault=fault,
        reached_final=path.reached_final if path else False,
        audio_seconds=cut.duration,
        scoring_seconds=scoring_seconds,
        search_seconds=time.perf_counter() - started,
    )


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
    summary: DecodingSummary,
) -> None:
    used = {
        **asdict(scales),
        **asdict(settings),
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
