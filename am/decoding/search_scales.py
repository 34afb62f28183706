"""Choose acoustic scale and word insertion penalty on dev data.

Each cut is searched once, into a lattice; the lattice's best path under every scale and penalty
of a grid is scored.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lhotse.cut import Cut

from am.decoding.decode_data import (
    count_cuts,
    load_graph_and_scorer,
    timed_scores,
)
from am.decoding.decoder import Scales, fault_of_scores
from am.decoding.graph import DecodingGraph
from am.decoding.lattices import LatticeArrays, LatticeMaker
from am.decoding.processes import map_chunks
from am.decoding.rescoring import best_words
from am.decoding.scorers import Scorer, model_kind
from am.decoding.settings import DecodingSettings, ScaleGrid
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.progress import track
from am.scoring.transcripts import reference_words
from am.scoring.word_errors import WordErrors, count_errors

log = logging.getLogger(__name__)

# Enough lattices side by side that a step of the rescoring has work to do.
CUTS_A_CHUNK = 8


def search_scales(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    output: Path,
    settings: DecodingSettings,
    *,
    jobs: int = 1,
    device: torch.device | None = None,
) -> Scales:
    """Find the scales with the fewest word errors on transcribed data.

    Args:
        graph_dir, data_dir, model_dir: as :func:`am.decoding.decode_data.decode_data` takes them.
        output: gets best_scale.json, and grid.json and grid.tsv with the error rates of all.
        settings: the grid, and how lattices are made.
        jobs: processes.
        device: where scores are computed.

    Raises:
        InputError: graph, data and model do not fit together, a cut has no transcript, or no
            cut could be decoded.
    """
    device = device or torch.device("cpu")
    kind = model_kind(model_dir)
    grid = settings.grid(kind)
    make_state = partial(
        _make_state, graph_dir, data_dir, model_dir, settings, settings.scales_of(kind), device
    )
    cuts = open_feature_data(data_dir)
    results = map_chunks(
        _search_chunk, make_state, cuts, jobs, chunk_size=CUTS_A_CHUNK, device=device
    )
    errors = [WordErrors()] * len(grid)
    num_cuts = failed = 0
    num_chunks = -(-count_cuts(data_dir) // CUTS_A_CHUNK)
    for chunk in track(results, "lattices", total=num_chunks, unit="chunk"):
        errors = [a + b for a, b in zip(errors, chunk.errors, strict=True)]
        num_cuts += chunk.cuts
        failed += chunk.failed
    if failed == num_cuts:
        raise InputError(f"{data_dir}: not one cut could be decoded; look at graph and model")
    if failed:
        log.warning("%d of %d cuts have no lattice; their words count as deleted", failed, num_cuts)
    best = best_scales(grid, errors, settings.scales_of(kind).search)
    _warn_at_edge(grid, grid[best])
    _write(output, grid, errors, best, settings, num_cuts, failed)
    log.info(
        "acoustic scale %.4g, word insertion penalty %g: WER %.2f %%",
        grid[best].acoustic_scale,
        grid[best].word_insertion_penalty,
        100 * errors[best].wer,
    )
    return grid[best]


def best_scales(grid: Sequence[Scales], errors: Sequence[WordErrors], usual: float) -> int:
    """The grid point with the fewest errors.

    Of equals the one whose penalty is nearest to 0 is taken, then whose acoustic scale is
    nearest to ``usual``, then the smaller scale and penalty.
    """

    def rank(index: int) -> tuple[float, ...]:
        scales = grid[index]
        return (
            errors[index].errors,
            abs(scales.word_insertion_penalty),
            abs(np.log(scales.acoustic_scale / usual)),
            scales.acoustic_scale,
            scales.word_insertion_penalty,
        )

    return min(range(len(grid)), key=rank)


@dataclass(frozen=True)
class _State:
    graph: DecodingGraph
    scorer: Scorer
    maker: LatticeMaker
    grid: list[Scales]


@dataclass(frozen=True)
class _ChunkErrors:
    cuts: int
    failed: int
    errors: list[WordErrors]


def _make_state(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    settings: DecodingSettings,
    scales: ScaleGrid,
    device: torch.device,
) -> _State:
    graph, scorer = load_graph_and_scorer(graph_dir, data_dir, model_dir, device)
    maker = LatticeMaker(graph.fst, scales.search, settings.lattices)
    return _State(graph, scorer, maker, settings.grid(scorer.facts.kind))


def _search_chunk(state: _State, cuts: list[Cut]) -> _ChunkErrors:
    lattices: list[LatticeArrays] = []
    references: list[list[str]] = []
    errors = [WordErrors()] * len(state.grid)
    failed = 0
    for cut in cuts:
        reference = reference_words(cut)
        scores, _ = timed_scores(state.scorer, cut)
        lattice = state.maker.make(scores) if fault_of_scores(scores) is None else None
        if lattice is None:
            failed += 1
            lost = count_errors(reference, [])
            errors = [total + lost for total in errors]
        else:
            lattices.append(lattice)
            references.append(reference)
    for reference, paths in zip(references, best_words(lattices, state.grid), strict=True):
        of_path = {
            path: count_errors(reference, state.graph.words_of(list(path))) for path in set(paths)
        }
        errors = [total + of_path[path] for total, path in zip(errors, paths, strict=True)]
    return _ChunkErrors(len(cuts), failed, errors)


def _warn_at_edge(grid: Sequence[Scales], best: Scales) -> None:
    for name in ("acoustic_scale", "word_insertion_penalty"):
        tried = sorted({getattr(scales, name) for scales in grid})
        value = getattr(best, name)
        if len(tried) > 1 and value in (tried[0], tried[-1]):
            log.warning(
                "the best %s, %g, is at the edge of those tried; try more beyond it",
                name.replace("_", " "),
                value,
            )


def _write(
    output: Path,
    grid: Sequence[Scales],
    errors: Sequence[WordErrors],
    best: int,
    settings: DecodingSettings,
    num_cuts: int,
    failed: int,
) -> None:
    rows = [
        {**asdict(scales), **of_scales.as_row()}
        for scales, of_scales in zip(grid, errors, strict=True)
    ]
    chosen = {**rows[best], "cuts": num_cuts, "failed": failed}
    (output / "best_scale.json").write_text(json.dumps(chosen, indent=1))
    (output / "grid.json").write_text(json.dumps(rows, indent=1))
    (output / "settings.json").write_text(json.dumps(asdict(settings), indent=1))
    penalties = list(dict.fromkeys(scales.word_insertion_penalty for scales in grid))
    wer = {
        (s.acoustic_scale, s.word_insertion_penalty): 100 * e.wer
        for s, e in zip(grid, errors, strict=True)
    }
    lines = ["\t".join(["acoustic_scale", *(f"penalty {penalty:g}" for penalty in penalties)])]
    for scale in dict.fromkeys(scales.acoustic_scale for scales in grid):
        rates = (f"{wer[scale, penalty]:.2f}" for penalty in penalties)
        lines.append("\t".join([f"{scale:.4g}", *rates]))
    (output / "grid.tsv").write_text("\n".join(lines) + "\n")
