"""Pseudo-labels: the senones of a teacher's best path, as hard labels of untranscribed speech."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from am.alignment.senone_labels import FIELD, write_label_store
from am.decoding.decode_data import FAILED_NAME, DecodedCut, decode_cuts
from am.decoding.decoder import Scales, SearchSettings
from am.decoding.scorers import load_scorer
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import count_cuts
from am.processes import ONE_PROCESS
from am.progress import track
from am.storage import Record

log = logging.getLogger(__name__)


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
    facts = load_scorer(model_dir, data_dir, device).facts
    if facts.tree_sha256 is None:
        raise InputError(f"{model_dir}: does not name its tree; train the network again")
    decoded = decode_cuts(
        graph_dir, data_dir, model_dir, scales, settings, executor=executor, device=device
    )
    tracked = track(decoded, "pseudo-labels", total=count_cuts(data_dir), unit="cut")
    failed: list[str] = []
    num_labelled = write_label_store(
        output,
        _records(tracked, failed),
        frame_shift=facts.frame_shift,
        num_pdfs=facts.num_pdfs,
        tree_sha256=facts.tree_sha256,
    )
    (output / FAILED_NAME).write_text("".join(failed), encoding="utf-8")
    if num_labelled == 0:
        raise InputError(f"{data_dir}: not one cut could be decoded; the first is {failed[0]}")
    summary = {"cuts": num_labelled + len(failed), "failed": len(failed)}
    (output / "summary.json").write_text(json.dumps(summary, indent=1))
    if failed:
        log.warning("%d cuts failed (%s)", len(failed), FAILED_NAME)


def _records(decoded: Iterable[DecodedCut], failed: list[str]) -> Iterator[tuple[str, Record]]:
    """The labels of the decoded cuts; the other cuts become lines of ``failed``."""
    for cut in decoded:
        if cut.fault is None:
            yield cut.cut_id, {FIELD: cut.pdf_ids}
        else:
            failed.append(f"{cut.cut_id}\t{cut.fault}\n")
