"""Choose acoustic scale and word insertion penalty on dev data.

The dev data are decoded with the scales that are compared, one coordinate after the other:
acoustic scales without a penalty; penalties at the best of these; then, if a penalty helped, the
acoustic scales next to the best once more.

Why not one lattice a cut, rescored on a grid: kaldi-decoder's lattice search has no bound on the
number of tokens, so that a weak model takes many times longer, and far from the scale that made
it a lattice lacks the paths that decoding would take.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lhotse.cut import Cut

from am.decoding.decode_data import load_graph_and_scorer, timed_scores
from am.decoding.decoder import Decoder, Scales, SearchSettings, fault_of_scores
from am.decoding.graph import DecodingGraph, add_word_insertion_penalty
from am.decoding.scorers import Scorer
from am.decoding.settings import KindSettings, ScaleSearchSettings
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import count_cuts, open_feature_data
from am.processes import ONE_PROCESS, map_chunks
from am.progress import track
from am.scoring.transcripts import reference_words
from am.scoring.word_errors import WordErrors, count_errors

log = logging.getLogger(__name__)

CUTS_A_CHUNK = 4
Evaluate = Callable[[Sequence[Scales]], Sequence[WordErrors]]


def search_scales(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    output: Path,
    settings: KindSettings,
    *,
    executor: Executor = ONE_PROCESS,
    device: torch.device | None = None,
    transforms_dir: Path | None = None,
) -> Scales:
    """Find the scales with the fewest word errors on transcribed data.

    Args:
        graph_dir, data_dir, model_dir: as :func:`am.decoding.decode_data.decode_data` takes them.
        output: gets best_scale.json, tried.tsv with the error rates of all scales that were
            tried, and settings.json.
        settings: for the kind of model; what is tried, and how far decoding looks.
        executor: what decodes.
        device: where scores are computed.
        transforms_dir: the transforms of the data's speakers, for a speaker-adapted GMM.

    Raises:
        InputError: graph, data and model do not fit together, a cut has no transcript, or no
            cut could be decoded.
    """
    evaluate = partial(
        errors_of_scales,
        graph_dir,
        data_dir,
        model_dir,
        settings.beams_of_scale_search(),
        executor=executor,
        device=device or torch.device("cpu"),
        transforms_dir=transforms_dir,
    )
    tried = coordinate_search(evaluate, settings.scale_search, settings.acoustic_scale)
    best = best_scales(tried, settings.acoustic_scale)
    _warn_at_edge(settings.scale_search, best)
    _write(output, tried, best, settings)
    log.info(
        "acoustic scale %g, word insertion penalty %g: WER %.2f %%",
        best.acoustic_scale,
        best.word_insertion_penalty,
        100 * tried[best].wer,
    )
    return best


def coordinate_search(
    evaluate: Evaluate, settings: ScaleSearchSettings, usual: float
) -> dict[Scales, WordErrors]:
    """Try scales one coordinate after the other.

    Args:
        evaluate: gives the word errors of each of several scales.
        settings: what may be tried.
        usual: acoustic scale that wins ties (see :func:`best_scales`).

    Returns:
        The word errors of all scales that were tried.
    """
    acoustic_scales = settings.acoustic_scales
    tried: dict[Scales, WordErrors] = {}

    def try_all(candidates: Sequence[Scales]) -> Scales:
        new = [scales for scales in candidates if scales not in tried]
        if new:
            tried.update(zip(new, evaluate(new), strict=True))
        return best_scales(tried, usual)

    first_penalty = min(settings.word_insertion_penalties, key=abs)
    best = try_all([Scales(scale, first_penalty) for scale in acoustic_scales])
    best = try_all(
        [Scales(best.acoustic_scale, penalty) for penalty in settings.word_insertion_penalties]
    )
    place = acoustic_scales.index(best.acoustic_scale)
    neighbours = acoustic_scales[max(place - 1, 0) : place + 2]
    try_all([Scales(scale, best.word_insertion_penalty) for scale in neighbours])
    return tried


def best_scales(tried: Mapping[Scales, WordErrors], usual: float) -> Scales:
    """Those with the fewest errors.

    Of equals the ones whose penalty is nearest to 0 are taken, then whose acoustic scale is
    nearest to ``usual``, then the smaller scale and penalty.
    """

    def rank(scales: Scales) -> tuple[float, ...]:
        return (
            tried[scales].errors,
            abs(scales.word_insertion_penalty),
            abs(float(np.log(scales.acoustic_scale / usual))),
            scales.acoustic_scale,
            scales.word_insertion_penalty,
        )

    return min(tried, key=rank)


def errors_of_scales(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    beams: SearchSettings,
    candidates: Sequence[Scales],
    *,
    executor: Executor,
    device: torch.device,
    transforms_dir: Path | None = None,
) -> list[WordErrors]:
    """Word errors of each of several scales on a data folder; scores are computed once.

    There is a copy of the graph in memory for each penalty among ``candidates``.
    """
    make_state = partial(
        _make_state,
        graph_dir,
        data_dir,
        model_dir,
        beams,
        tuple(candidates),
        device,
        transforms_dir,
    )
    cuts = open_feature_data(data_dir)
    results = map_chunks(
        _decode_chunk, make_state, cuts, executor, chunk_size=CUTS_A_CHUNK, device=device
    )
    errors = [WordErrors()] * len(candidates)
    num_cuts = failed = 0
    num_chunks = -(-count_cuts(data_dir) // CUTS_A_CHUNK)
    name = f"decoding with {len(candidates)} scales"
    for chunk in track(results, name, total=num_chunks, unit="chunk"):
        errors = [total + more for total, more in zip(errors, chunk.errors, strict=True)]
        num_cuts += chunk.cuts
        failed += chunk.failed
    if failed == num_cuts:
        raise InputError(f"{data_dir}: not one cut could be decoded; look at graph and model")
    if failed:
        log.warning("%d of %d cuts could not be decoded and count as deleted", failed, num_cuts)
    return errors


@dataclass(frozen=True)
class _State:
    graph: DecodingGraph
    scorer: Scorer
    decoders: list[Decoder]


@dataclass(frozen=True)
class _ChunkErrors:
    cuts: int
    failed: int
    errors: list[WordErrors]


def _make_state(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    beams: SearchSettings,
    candidates: Sequence[Scales],
    device: torch.device,
    transforms_dir: Path | None,
) -> _State:
    graph, scorer = load_graph_and_scorer(graph_dir, data_dir, model_dir, device, transforms_dir)
    penalties = {scales.word_insertion_penalty for scales in candidates}
    with_penalty = {
        penalty: replace(graph, fst=add_word_insertion_penalty(graph.fst, penalty))
        for penalty in penalties
    }
    decoders = [
        Decoder(with_penalty[scales.word_insertion_penalty], Scales(scales.acoustic_scale), beams)
        for scales in candidates
    ]
    return _State(graph, scorer, decoders)


def _decode_chunk(state: _State, cuts: list[Cut]) -> _ChunkErrors:
    errors = [WordErrors()] * len(state.decoders)
    failed = 0
    for cut in cuts:
        reference = state.graph.spelled(reference_words(cut))
        scores, _ = timed_scores(state.scorer, cut)
        usable = fault_of_scores(scores) is None
        paths = [decoder.decode(scores) if usable else None for decoder in state.decoders]
        failed += all(path is None for path in paths)
        of_cut = [
            count_errors(reference, state.graph.words_of(path.word_ids) if path else [])
            for path in paths
        ]
        errors = [total + more for total, more in zip(errors, of_cut, strict=True)]
    return _ChunkErrors(len(cuts), failed, errors)


def _warn_at_edge(settings: ScaleSearchSettings, best: Scales) -> None:
    for name, value, tried in (
        ("acoustic scale", best.acoustic_scale, settings.acoustic_scales),
        (
            "word insertion penalty",
            best.word_insertion_penalty,
            settings.word_insertion_penalties,
        ),
    ):
        if len(tried) > 1 and value in (tried[0], tried[-1]):
            log.warning(
                "the best %s, %g, is at the edge of those tried; try more beyond it", name, value
            )


def _write(
    output: Path, tried: Mapping[Scales, WordErrors], best: Scales, settings: KindSettings
) -> None:
    rows = [
        {**asdict(scales), **errors.as_row()}
        for scales, errors in sorted(
            tried.items(), key=lambda item: (item[0].acoustic_scale, item[0].word_insertion_penalty)
        )
    ]
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    (output / "tried.tsv").write_text("\n".join(lines) + "\n")
    chosen = {**asdict(best), **tried[best].as_row()}
    (output / "best_scale.json").write_text(json.dumps(chosen, indent=1))
    (output / "settings.json").write_text(json.dumps(asdict(settings), indent=1))
