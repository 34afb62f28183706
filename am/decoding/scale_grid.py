"""Decode once to lattices and try every pair of language-model weight and word insertion penalty.

This is what Kaldi's ``steps/decode.sh`` and ``score.sh`` do, for figures that are to stand beside
Kaldi's: the lattices are made at one acoustic scale, and each pair takes its best path from them.
A path costs ``graph + acoustic / weight + penalty × words`` (``lattice-scale
--inv-acoustic-scale``, ``lattice-add-penalty``).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import kaldifst
import numpy as np
import torch
from lhotse.cut import Cut

from am.decoding.decode_data import load_graph_and_scorer, timed_scores
from am.decoding.decoder import Scales, fault_of_scores
from am.decoding.graph import DecodingGraph
from am.decoding.lattices import LatticeArrays, LatticeMaker, LatticeSettings
from am.decoding.scorers import Scorer
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import count_cuts, open_feature_data
from am.features.gmm_features import speaker_of
from am.graph.arrays import EPSILON, FstArrays, to_fst
from am.lang.subword_model import copy_description
from am.processes import ONE_PROCESS, map_chunks
from am.progress import track
from am.scoring.transcripts import HYPOTHESES_NAME, reference_words
from am.scoring.word_errors import WordErrors, count_errors

log = logging.getLogger(__name__)

BEST = "best"
CHOSEN_ON_OTHERS = "chosen_on_others"
CUTS_A_CHUNK = 4


@dataclass(frozen=True)
class ScaleGridSettings:
    """What ``steps/decode_grid.py`` makes and tries; the defaults are those of Kaldi's scripts.

    Attributes:
        beam, lattice_beam: of the lattices.
        lattice_acoustic_scale: at which the lattices are made.
        language_model_weights: inverse acoustic scales.
        word_insertion_penalties: natural log.
    """

    beam: float = 13.0
    lattice_beam: float = 6.0
    lattice_acoustic_scale: float = 0.083333
    language_model_weights: tuple[float, ...] = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)
    word_insertion_penalties: tuple[float, ...] = (0.0, 0.5, 1.0)

    def __post_init__(self) -> None:
        if not self.language_model_weights or min(self.language_model_weights) <= 0:
            raise InputError("language_model_weights: give one or more numbers above 0")
        if not self.word_insertion_penalties:
            raise InputError("word_insertion_penalties: give one or more numbers")

    def grid(self) -> list[Scales]:
        """All pairs."""
        return [
            Scales(1.0 / weight, penalty)
            for weight in self.language_model_weights
            for penalty in self.word_insertion_penalties
        ]


@dataclass
class GridSummary:
    """Totals of a decoding."""

    cuts: int = 0
    failed: int = 0
    audio_seconds: float = 0.0
    scoring_seconds: float = 0.0
    search_seconds: float = 0.0
    grid_seconds: float = 0.0
    lattice_arcs: int = 0

    @property
    def real_time_factor(self) -> float:
        """Seconds of one process a second of audio, the grid apart."""
        return (self.scoring_seconds + self.search_seconds) / max(self.audio_seconds, 1e-9)

    def add(self, cut: _DecodedCut) -> None:
        """Count one more cut."""
        self.cuts += 1
        self.failed += cut.failed
        self.lattice_arcs += cut.lattice_arcs
        self.audio_seconds += cut.audio_seconds
        self.scoring_seconds += cut.scoring_seconds
        self.search_seconds += cut.search_seconds
        self.grid_seconds += cut.grid_seconds


def decode_grid(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    output: Path,
    settings: ScaleGridSettings,
    *,
    executor: Executor = ONE_PROCESS,
    device: torch.device | None = None,
    transforms_dir: Path | None = None,
) -> None:
    """Decode transcribed cuts at every pair of the grid.

    Args:
        graph_dir, data_dir, model_dir: as :func:`am.decoding.decode_data.decode_data` takes them.
        output: gets tried.tsv (errors of each pair), ``best/`` with the hypotheses of the pair
            that is best on these very data, ``chosen_on_others/`` where the pair of each speaker
            is the one that is best on all other speakers, and summary.json.
        settings: of lattices and grid.
        executor: what decodes.
        device: where scores are computed.
        transforms_dir: the transforms of the data's speakers, for a speaker-adapted GMM.

    Raises:
        InputError: graph, data and model do not fit together, a cut has no transcript, there is
            one speaker only, or no cut could be decoded.
    """
    device = device or torch.device("cpu")
    make_state = partial(
        _make_state, graph_dir, data_dir, model_dir, settings, device, transforms_dir
    )
    chunks = map_chunks(
        _decode_chunk,
        make_state,
        open_feature_data(data_dir),
        executor,
        chunk_size=CUTS_A_CHUNK,
        device=device,
    )
    grid = settings.grid()
    decoded = (cut for chunk in chunks for cut in chunk)
    summary = GridSummary()
    errors: dict[str, list[WordErrors]] = {}
    for cut in track(
        _kept(decoded, grid, output / "all", summary),
        "decoding",
        total=count_cuts(data_dir),
        unit="cut",
    ):
        before = errors.get(cut.speaker, [WordErrors()] * len(grid))
        errors[cut.speaker] = [old + new for old, new in zip(before, cut.errors, strict=True)]
    if summary.failed == summary.cuts:
        raise InputError(f"{data_dir}: not one cut could be decoded; look at graph and model")
    if len(errors) < 2:
        raise InputError(f"{data_dir}: one speaker only; choosing scales on others needs two")
    total = _total(errors.values())
    best = best_place(total)
    chosen = choose_on_others(errors)
    _write_tried(output / "tried.tsv", grid, total)
    for name, places in ((BEST, dict.fromkeys(errors, best)), (CHOSEN_ON_OTHERS, chosen)):
        _pick_hypotheses(output, data_dir, grid, places, name)
        copy_description(graph_dir, output / name)
    on_others = sum((errors[speaker][place] for speaker, place in chosen.items()), WordErrors())
    facts = {
        BEST: {**_named(grid[best]), **total[best].as_row()},
        CHOSEN_ON_OTHERS: on_others.as_row(),
        **{k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(summary).items()},
        "graph": str(graph_dir),
        "data": str(data_dir),
        "model": str(model_dir),
        "settings": asdict(settings),
    }
    (output / "summary.json").write_text(json.dumps(facts, indent=1))
    log.info(
        "language-model weight %g, penalty %g: WER %.2f %% (%d ins, %d del, %d sub of %d); scales "
        "chosen on the other speakers: %.2f %%; real-time factor of a process %.3f",
        1 / grid[best].acoustic_scale,
        grid[best].word_insertion_penalty,
        100 * total[best].wer,
        total[best].insertions,
        total[best].deletions,
        total[best].substitutions,
        total[best].words,
        100 * on_others.wer,
        summary.real_time_factor,
    )


def best_path_words(lattice: LatticeArrays, scales: Scales) -> list[int]:
    """The word-ids of the cheapest path of a lattice."""
    paid = np.where(lattice.word != EPSILON, scales.word_insertion_penalty, 0.0)
    weight = lattice.graph_cost + scales.acoustic_scale * lattice.acoustic_cost + paid
    fst = to_fst(
        FstArrays(
            final=lattice.final_cost,
            source=lattice.source.astype(np.int32),
            ilabel=lattice.word,
            olabel=lattice.word,
            weight=weight.astype(np.float32),
            nextstate=lattice.target.astype(np.int32),
            start=int(lattice.starts[0]),
        )
    )
    _, _, words, _ = kaldifst.get_linear_symbol_sequence(kaldifst.shortest_path(fst))
    return list(words)


def best_place(errors: Sequence[WordErrors]) -> int:
    """Where the fewest errors stand, the first of equals."""
    return int(np.argmin([of_pair.errors for of_pair in errors]))


def choose_on_others(errors: dict[str, list[WordErrors]]) -> dict[str, int]:
    """For each speaker the place in the grid with the fewest errors of all other speakers.

    Args:
        errors: by speaker, of each pair of the grid.
    """
    counts = {
        speaker: np.array([of_pair.errors for of_pair in of_speaker])
        for speaker, of_speaker in errors.items()
    }
    total = np.sum(list(counts.values()), axis=0)
    return {speaker: int(np.argmin(total - count)) for speaker, count in counts.items()}


@dataclass(frozen=True)
class _State:
    graph: DecodingGraph
    scorer: Scorer
    lattices: LatticeMaker
    grid: list[Scales]


@dataclass(frozen=True)
class _DecodedCut:
    cut_id: str
    speaker: str
    hypotheses: list[list[str]]
    errors: list[WordErrors]
    failed: bool
    lattice_arcs: int
    audio_seconds: float
    scoring_seconds: float
    search_seconds: float
    grid_seconds: float


def _make_state(
    graph_dir: Path,
    data_dir: Path,
    model_dir: Path,
    settings: ScaleGridSettings,
    device: torch.device,
    transforms_dir: Path | None,
) -> _State:
    graph, scorer = load_graph_and_scorer(graph_dir, data_dir, model_dir, device, transforms_dir)
    beams = LatticeSettings(settings.beam, settings.lattice_beam)
    maker = LatticeMaker(graph.fst, settings.lattice_acoustic_scale, beams)
    return _State(graph, scorer, maker, settings.grid())


def _decode_chunk(state: _State, cuts: list[Cut]) -> list[_DecodedCut]:
    return [_decode_cut(state, cut) for cut in cuts]


def _decode_cut(state: _State, cut: Cut) -> _DecodedCut:
    reference = state.graph.spelled(reference_words(cut))
    scores, scoring_seconds = timed_scores(state.scorer, cut)
    started = time.perf_counter()
    lattice = state.lattices.make(scores) if fault_of_scores(scores) is None else None
    searched = time.perf_counter()
    hypotheses: list[list[str]] = [[] for _ in state.grid]
    if lattice is not None:
        hypotheses = [
            state.graph.words_of(best_path_words(lattice, scales)) for scales in state.grid
        ]
    return _DecodedCut(
        cut_id=cut.id,
        speaker=speaker_of(cut),
        hypotheses=hypotheses,
        errors=[count_errors(reference, words) for words in hypotheses],
        failed=lattice is None,
        lattice_arcs=0 if lattice is None else len(lattice.source),
        audio_seconds=cut.duration,
        scoring_seconds=scoring_seconds,
        search_seconds=searched - started,
        grid_seconds=time.perf_counter() - searched,
    )


def _kept(
    decoded: Iterator[_DecodedCut], grid: Sequence[Scales], folder: Path, summary: GridSummary
) -> Iterator[_DecodedCut]:
    """The same cuts; their hypotheses go to a file a pair, their totals to ``summary``."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        files = [
            stack.enter_context((folder / _file_name(scales)).open("w", encoding="utf-8"))
            for scales in grid
        ]
        for cut in decoded:
            for file, words in zip(files, cut.hypotheses, strict=True):
                file.write(" ".join([cut.cut_id, *words]) + "\n")
            summary.add(cut)
            yield cut


def _file_name(scales: Scales) -> str:
    return f"weight_{1 / scales.acoustic_scale:g}_penalty_{scales.word_insertion_penalty:g}.txt"


def _pick_hypotheses(
    output: Path, data_dir: Path, grid: Sequence[Scales], chosen: dict[str, int], name: str
) -> None:
    """Write ``name/hypotheses.txt``: each speaker's cuts at the pair ``chosen`` for the speaker."""
    folder = output / name
    folder.mkdir(exist_ok=True)
    lines: list[str] = []
    with ExitStack() as stack:
        files = {
            place: stack.enter_context(
                (output / "all" / _file_name(grid[place])).open(encoding="utf-8")
            )
            for place in set(chosen.values())
        }
        for cut in open_feature_data(data_dir):
            here = {place: file.readline() for place, file in files.items()}
            lines.append(here[chosen[speaker_of(cut)]])
    (folder / HYPOTHESES_NAME).write_text("".join(sorted(lines)), encoding="utf-8")
    if name == BEST:
        scales = grid[next(iter(chosen.values()))]
        (folder / "best_scale.json").write_text(json.dumps(asdict(scales), indent=1))


def _write_tried(path: Path, grid: Sequence[Scales], total: Sequence[WordErrors]) -> None:
    rows = [
        {**_named(scales), **errors.as_row()} for scales, errors in zip(grid, total, strict=True)
    ]
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def _named(scales: Scales) -> dict[str, float]:
    return {
        "language_model_weight": round(1 / scales.acoustic_scale, 6),
        "word_insertion_penalty": scales.word_insertion_penalty,
    }


def _total(errors: Iterable[list[WordErrors]]) -> list[WordErrors]:
    return [sum(column, WordErrors()) for column in zip(*errors, strict=True)]
