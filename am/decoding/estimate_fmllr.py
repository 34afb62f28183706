"""Speaker transforms of speech without transcripts, after Kaldi's ``steps/decode_fmllr.sh``.

The speech is decoded without adaptation, and the transforms are estimated on the best paths.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lhotse.cut import Cut

from am.alignment.senone_labels import FIELD, KIND
from am.decoding.decode_data import load_graph_and_scorer
from am.decoding.decoder import Decoder, Scales, SearchSettings, fault_of_scores
from am.decoding.scorers import Scorer
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import count_cuts, describe_features, open_feature_data
from am.features.gmm_front_end import GmmFrontEnd
from am.gmm.adapted_model import AdaptedModel
from am.gmm.speaker_adaptation import FmllrSettings, transforms_of_data
from am.processes import ONE_PROCESS, map_chunks
from am.progress import track
from am.storage import RaggedStore, write_shard, write_store_description

log = logging.getLogger(__name__)

CUTS_A_CHUNK = 4
CUTS_A_SHARD = 5000
# Silence counts a little, as in Kaldi: what was decoded as silence may be speech.
DECODED = FmllrSettings(silence_weight=0.01)


@dataclass(frozen=True)
class EstimateFmllrSettings:
    """Of ``steps/estimate_fmllr.py`` (``conf/fmllr.yaml``).

    Attributes:
        scales, search: of decoding.
        fmllr: how a speaker's transform is estimated.
        passes: how often the speech is decoded, each time with the transforms of the time before.
    """

    scales: Scales
    search: SearchSettings = field(default_factory=SearchSettings)
    fmllr: FmllrSettings = DECODED
    passes: int = 1

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise ValueError(f"passes must be at least 1, not {self.passes}")


def estimate_fmllr(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    output: Path,
    settings: EstimateFmllrSettings,
    *,
    executor: Executor = ONE_PROCESS,
    device: torch.device | None = None,
) -> None:
    """Estimate the transforms of the speakers of a data folder by decoding it.

    A cut that cannot be decoded counts nothing; its speaker gets a transform all the same.

    Args:
        graph_dir: graph made for the model's senones.
        data_dir: cuts with MFCC.
        model_dir: speaker-adapted GMM.
        output: gets the transforms.
        settings: of decoding and of the estimate.
        executor: what decodes and gathers statistics.
        device: where scores and statistics are computed.

    Raises:
        InputError: graph, data and model do not fit together, the model is not speaker-adapted,
            or no cut could be decoded.
    """
    device = device or torch.device("cpu")
    model = AdaptedModel.load(model_dir)
    for number in range(settings.passes):
        # The model and the transforms that decode; the Gaussians that then weigh the frames.
        adapted = number > 0
        decoded_with = model_dir if adapted else model.speaker_independent
        transforms_dir = output if adapted else None
        make_state = partial(
            _make_state, graph_dir, data_dir, decoded_with, transforms_dir, settings, device
        )
        paths = _write_best_paths(
            data_dir, output / f"best_paths_{number}", make_state, executor, device
        )
        transforms = transforms_of_data(
            data_dir,
            GmmFrontEnd.open(decoded_with, data_dir, transforms_dir),
            partial(_pdf_ids_of, paths),
            model.folder,
            model.silence_phones,
            settings.fmllr,
            executor,
            device,
            None if adapted else model.speaker_independent,
        )
        transforms.save(output)
        shutil.rmtree(paths.folder)


@dataclass(frozen=True)
class _State:
    scorer: Scorer
    decoder: Decoder


def _make_state(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    transforms_dir: Path | None,
    settings: EstimateFmllrSettings,
    device: torch.device,
) -> _State:
    graph, scorer = load_graph_and_scorer(graph_dir, data_dir, model_dir, device, transforms_dir)
    return _State(scorer, Decoder(graph, settings.scales, settings.search))


def _decode_chunk(state: _State, cuts: list[Cut]) -> list[tuple[str, np.ndarray | None]]:
    """The cuts' ids and the (T,) pdf-ids of their best paths, None where there is no path."""
    found: list[tuple[str, np.ndarray | None]] = []
    for cut in cuts:
        scores = state.scorer.scores(cut)
        path = state.decoder.decode(scores) if fault_of_scores(scores) is None else None
        found.append((cut.id, path.pdf_ids if path else None))
    return found


def _write_best_paths(
    data_dir: Path,
    folder: Path,
    make_state: Callable[[], _State],
    executor: Executor,
    device: torch.device,
) -> RaggedStore:
    """Decode all cuts and store the pdf-ids of their best paths in ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    results = map_chunks(
        _decode_chunk,
        make_state,
        open_feature_data(data_dir),
        executor,
        chunk_size=CUTS_A_CHUNK,
        device=device,
    )
    decoded = (result for chunk in results for result in chunk)
    bar = track(decoded, "decoding", total=count_cuts(data_dir), unit="cut")
    records = ((cut_id, {FIELD: pdf_ids}) for cut_id, pdf_ids in bar if pdf_ids is not None)
    for num_shards in itertools.count():
        shard = list(itertools.islice(records, CUTS_A_SHARD))
        if not shard:
            break
        write_shard(folder, num_shards, shard)
    if num_shards == 0:
        raise InputError(f"{data_dir}: not one cut could be decoded; look at graph and model")
    frame_shift = describe_features(data_dir).frame_shift
    description = {"kind": KIND, "frame_shift": frame_shift, "fields": [FIELD]}
    write_store_description(folder, {**description, "num_shards": num_shards})
    paths = RaggedStore(folder)
    failed = count_cuts(data_dir) - len(paths)
    if failed:
        log.warning("%d cuts could not be decoded and count nothing", failed)
    return paths


def _pdf_ids_of(paths: RaggedStore, cut_id: str) -> np.ndarray | None:
    return paths[cut_id][FIELD] if cut_id in paths else None
