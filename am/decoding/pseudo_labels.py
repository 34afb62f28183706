"""Pseudo-labels: the senones of a teacher's best path, as hard labels of untranscribed speech."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lhotse.cut import Cut

from am.alignment.senone_labels import FIELD, write_label_store
from am.decoding.decode_data import CUTS_A_CHUNK, FAILED_NAME, count_cuts, load_graph_and_scorer
from am.decoding.decoder import Decoder, Scales, SearchSettings, fault_of_scores
from am.decoding.scorers import Scorer
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import open_feature_data
from am.processes import ONE_PROCESS, map_chunks
from am.progress import track
from am.storage import Record

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _State:
    scorer: Scorer
    decoder: Decoder


@dataclass(frozen=True)
class _LabelledCut:
    """A cut's (T',) int32 pdf-ids, or why there are none."""

    cut_id: str
    pdf_ids: np.ndarray | None
    fault: str


def make_pseudo_labels(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    output: Path,
    scales: Scales,
    settings: SearchSettings,
    *,
    executor: Executor = ONE_PROCESS,
    device: torch.device | None = None,
) -> None:
    """Decode the cuts of a feature data folder and keep the senone of every frame.

    A cut that cannot be decoded has no labels and a line in ``failed.tsv``.

    Args:
        graph_dir: graph made for the model's senones.
        data_dir: feature data folder.
        model_dir: network folder of the teacher.
        output: store of kind ``pdf-ids``: per cut (T',) int32; summary.json: cuts, failures.
        scales: acoustic scale and word insertion penalty.
        settings: of the search.
        executor: what decodes.
        device: where scores are computed.

    Raises:
        InputError: graph, data and model do not fit together, or no cut could be decoded.
    """
    device = device or torch.device("cpu")
    _, scorer = load_graph_and_scorer(graph_dir, data_dir, model_dir, device)
    if scorer.facts.tree_sha256 is None:
        raise InputError(f"{model_dir}: does not name its tree; train the network again")
    make_state = partial(_make_state, graph_dir, data_dir, model_dir, scales, settings, device)
    cuts = open_feature_data(data_dir)
    chunks = map_chunks(
        _label_chunk, make_state, cuts, executor, chunk_size=CUTS_A_CHUNK, device=device
    )
    labelled = (cut for chunk in chunks for cut in chunk)
    tracked = track(labelled, "pseudo-labels", total=count_cuts(data_dir), unit="cut")
    failed: list[str] = []
    num_labelled = write_label_store(
        output,
        _records(tracked, failed),
        frame_shift=scorer.facts.frame_shift,
        num_pdfs=scorer.facts.num_pdfs,
        tree_sha256=scorer.facts.tree_sha256,
    )
    (output / FAILED_NAME).write_text("".join(failed), encoding="utf-8")
    if num_labelled == 0:
        raise InputError(f"{data_dir}: not one cut could be decoded; the first is {failed[0]}")
    summary = {"cuts": num_labelled + len(failed), "failed": len(failed)}
    (output / "summary.json").write_text(json.dumps(summary, indent=1))
    if failed:
        log.warning("%d cuts failed (%s)", len(failed), FAILED_NAME)


def _make_state(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    scales: Scales,
    settings: SearchSettings,
    device: torch.device,
) -> _State:
    graph, scorer = load_graph_and_scorer(graph_dir, data_dir, model_dir, device)
    return _State(scorer, Decoder(graph, scales, settings))


def _label_chunk(state: _State, cuts: list[Cut]) -> list[_LabelledCut]:
    return [_label_cut(state, cut) for cut in cuts]


def _label_cut(state: _State, cut: Cut) -> _LabelledCut:
    scores = state.scorer.scores(cut)
    fault = fault_of_scores(scores)
    if fault is not None:
        return _LabelledCut(cut.id, None, fault)
    path = state.decoder.decode(scores)
    if path is None:
        return _LabelledCut(cut.id, None, "no path through the graph")
    return _LabelledCut(cut.id, path.pdf_ids, "")


def _records(labelled: Iterable[_LabelledCut], failed: list[str]) -> Iterator[tuple[str, Record]]:
    """The cuts with labels; the others become lines of ``failed``."""
    for cut in labelled:
        if cut.pdf_ids is None:
            failed.append(f"{cut.cut_id}\t{cut.fault}\n")
        else:
            yield cut.cut_id, {FIELD: cut.pdf_ids}
