"""Passes over prepared training data by an executor's workers: graphs, alignment, statistics.

What a worker reads lies in files: the data (:mod:`am.gmm.training_data`), and the model in the
pass's own folder.  Shapes: F frames of all utterances, D values of a frame, P pdfs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from am.alignment.training_graph import GraphCompiler, TrainingGraph
from am.alignment.viterbi import AlignmentScales, align_batch, batches_by_size
from am.executors import Executor
from am.gmm.model import GmmTables
from am.gmm.model_folder import GmmHmm
from am.gmm.parts import Arrays, divide, map_parts
from am.gmm.row_file import open_rows
from am.gmm.statistics import EmStatistics, MlltStatistics, accumulate
from am.gmm.training_data import CHUNK_FRAMES, GRAPHS_NAME, INPUT_NAME, TrainingData
from am.gmm.update import estimate
from am.lang.lang import Lang
from am.processes import chunks

CPU = torch.device("cpu")
# Transcripts whose graphs are compiled by one worker.
GRAPHS_A_PART = 64


@dataclass(frozen=True)
class Passes:
    """The passes over one training's data; their sums are the same for any executor.

    Attributes:
        data: the utterances.
        executor: what does the work.
        device: where the workers' tensors live.
    """

    data: TrainingData
    executor: Executor
    device: torch.device

    def compile_graphs(self, model: GmmHmm, lang: Lang) -> None:
        """Make the training graphs for a model's tree."""
        transcripts = map(self.data.word_ids, range(len(self.data.cut_ids)))
        parts = list(chunks(transcripts, GRAPHS_A_PART))
        make_state = partial(_graph_compiler, self.write_model("graphs", model), lang.folder)
        folder = self.data.folder / "graphs"
        self.data.keep_graphs(
            map_parts(
                _compile_graphs, make_state, parts, folder, self.executor, CPU, in_threads=False
            )
        )

    def update(
        self, model: GmmHmm, name: str, iteration: int, min_occupancy: float
    ) -> tuple[GmmHmm, EmStatistics, np.ndarray]:
        """One EM update of transitions (in place) and Gaussians.

        Args:
            model: before the update.
            name: of the pass.
            iteration: whose alignment is used.
            min_occupancy: see :func:`am.gmm.update.estimate`.

        Returns:
            the updated model, the statistics, and (P,) frames aligned to each pdf.
        """
        statistics = self.gather_em(model, name, iteration)
        transitions = model.transitions
        counts = np.zeros(2 * transitions.num_transition_states + 1)
        alignment = self.data.open_alignment(iteration)
        for first in range(0, len(alignment), CHUNK_FRAMES):
            counts += np.bincount(alignment[first : first + CHUNK_FRAMES], minlength=len(counts))
        transitions.update(counts)
        pdf_frames = np.bincount(
            transitions.pdf_ids, counts[1::2] + counts[2::2], minlength=model.gmms.num_pdfs
        )
        gmms = estimate(model.gmms, statistics, min_occupancy)
        return model.replace(gmms=gmms), statistics, pdf_frames

    def gather_em(
        self, model: GmmHmm, name: str, iteration: int, observed: Path | None = None
    ) -> EmStatistics:
        """EM statistics of all frames that are aligned in ``iteration``.

        With ``observed``, a file of (F, D) float32, the posteriors are of the model input and the
        sums of what it holds.
        """
        total = EmStatistics.zeros(model.gmms, CPU)
        for part in self._over_frames(_gather_em, model, name, iteration, observed=observed):
            total.add_arrays(part)
        return total

    def gather_mllt(
        self, model: GmmHmm, name: str, iteration: int, silence_phones: Collection[int]
    ) -> MlltStatistics:
        """MLLT statistics of the frames of speech that are aligned in ``iteration``."""
        total = MlltStatistics(model.gmms, CPU)
        silence = tuple(silence_phones)
        for part in self._over_frames(_gather_mllt, model, name, iteration, silence_phones=silence):
            total.add_arrays(part)
        return total

    def realign(self, model: GmmHmm, name: str, iteration: int, scales: AlignmentScales) -> None:
        """Make the alignment of ``iteration``, the best path of every utterance; 0 without one."""
        data = self.data
        batches = list(batches_by_size(data.num_frames, data.num_states))
        parts = divide(batches)
        results = map_parts(
            _align_part,
            partial(
                _AligningState.open,
                self.write_model(name, model),
                data.folder,
                scales,
                self.device,
            ),
            [[_Batch.of(data, batch) for batch in part] for part in parts],
            data.folder / name,
            self.executor,
            self.device,
        )
        with data.new_alignment(iteration) as alignment:
            for part, result in zip(parts, results, strict=True):
                first = 0
                for utterance in itertools.chain.from_iterable(part):
                    last = first + int(data.num_frames[utterance])
                    alignment[data.frames_of(int(utterance))] = result["transition_ids"][first:last]
                    first = last

    def _over_frames(
        self,
        work: Callable[[Any, Sequence[slice]], Arrays],
        model: GmmHmm,
        name: str,
        iteration: int,
        **what: Any,
    ) -> Iterator[Arrays]:
        data = self.data
        make_state = partial(
            _AlignedFrames.open,
            self.write_model(name, model),
            data.folder / INPUT_NAME,
            data.alignment_path(iteration),
            self.device,
            **what,
        )
        total = int(data.offsets[-1])
        chunks = [slice(at, min(at + CHUNK_FRAMES, total)) for at in range(0, total, CHUNK_FRAMES)]
        folder = data.folder / name
        return map_parts(work, make_state, divide(chunks), folder, self.executor, self.device)

    def write_model(self, name: str, model: GmmHmm) -> Path:
        """Write the model of the pass ``name`` where its workers read it; return the folder."""
        folder = self.data.folder / name / "model"
        folder.mkdir(parents=True, exist_ok=True)
        model.save(folder)
        return folder


def _graph_compiler(model_folder: Path, lang_folder: Path) -> GraphCompiler:
    model = GmmHmm.load(model_folder)
    return GraphCompiler(Lang.load(lang_folder), model.tree, model.topology, model.transitions)


def _compile_graphs(compiler: GraphCompiler, transcripts: list[list[int]]) -> Arrays:
    """The graphs' records, and of each its length, states and fewest frames."""
    graphs = [compiler.compile(word_ids) for word_ids in transcripts]
    records = [graph.to_record() for graph in graphs]
    return {
        "records": np.concatenate(records),
        "sizes": np.array([len(record) for record in records]),
        "num_states": np.array([graph.num_states for graph in graphs]),
        "min_frames": np.array([graph.min_frames for graph in graphs]),
    }


@dataclass(frozen=True)
class _AlignedFrames:
    """What a worker needs for statistics.

    Attributes:
        model, tables: in use.
        inputs: (F, D) float32, mapped.
        alignment: (F,) int32, mapped; 0 where a frame is not aligned.
        device: where tensors live.
        observed: (F, D) float32, mapped, see :meth:`Passes.gather_em`.
        silence_phones: see :meth:`Passes.gather_mllt`.
    """

    model: GmmHmm
    tables: GmmTables
    inputs: np.ndarray
    alignment: np.ndarray
    device: torch.device
    observed: np.ndarray | None
    silence_phones: tuple[int, ...]

    @classmethod
    def open(
        cls,
        model_folder: Path,
        inputs: Path,
        alignment: Path,
        device: torch.device,
        observed: Path | None = None,
        silence_phones: tuple[int, ...] = (),
    ) -> _AlignedFrames:
        model = GmmHmm.load(model_folder)
        return cls(
            model,
            GmmTables(model.gmms, device),
            open_rows(inputs, np.float32, model.gmms.dim),
            open_rows(alignment, np.int32),
            device,
            None if observed is None else open_rows(observed, np.float32, model.gmms.dim),
            silence_phones,
        )

    def chunk(self, place: slice, rows: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """Of a chunk, the ``rows`` (n, D) that have a transition-id, and their pdf-ids (n,)."""
        transition_ids = np.asarray(self.alignment[place])
        frames = np.array(rows[place])
        aligned = transition_ids > 0
        if not aligned.all():
            frames, transition_ids = frames[aligned], transition_ids[aligned]
        return (
            torch.from_numpy(frames).to(self.device),
            self.model.transitions.pdf_ids_of(transition_ids),
        )


def _gather_em(state: _AlignedFrames, places: Sequence[slice]) -> Arrays:
    statistics = EmStatistics.zeros(state.model.gmms, state.device)
    for place in places:
        frames, pdf_ids = state.chunk(place, state.inputs)
        observed = None if state.observed is None else state.chunk(place, state.observed)[0]
        accumulate(statistics, state.tables, frames, pdf_ids, observed)
    return statistics.to_arrays()


def _gather_mllt(state: _AlignedFrames, places: Sequence[slice]) -> Arrays:
    statistics = MlltStatistics(state.model.gmms, state.device)
    speech_pdf = ~state.model.pdfs_of(state.silence_phones)
    for place in places:
        frames, pdf_ids = state.chunk(place, state.inputs)
        speech = speech_pdf[pdf_ids]
        statistics.accumulate(
            state.tables, frames[torch.from_numpy(speech).to(state.device)], pdf_ids[speech]
        )
    return statistics.to_arrays()


@dataclass(frozen=True)
class _Batch:
    """Utterances that are aligned together, longest first: (n, 2) first and last place of each."""

    frames: np.ndarray
    graphs: np.ndarray

    @staticmethod
    def of(data: TrainingData, utterances: np.ndarray) -> _Batch:
        places = utterances[:, None] + np.arange(2)
        return _Batch(data.offsets[places], data.graph_offsets[places])


@dataclass(frozen=True)
class _AligningState:
    model: GmmHmm
    tables: GmmTables
    inputs: np.ndarray
    graphs: np.ndarray
    scales: AlignmentScales
    device: torch.device

    @classmethod
    def open(
        cls, model_folder: Path, data_folder: Path, scales: AlignmentScales, device: torch.device
    ) -> _AligningState:
        model = GmmHmm.load(model_folder)
        return cls(
            model,
            GmmTables(model.gmms, device),
            open_rows(data_folder / INPUT_NAME, np.float32, model.gmms.dim),
            open_rows(data_folder / GRAPHS_NAME, np.int32),
            scales,
            device,
        )

    def log_likelihoods(self, batch: _Batch, place: int, pdf_ids: np.ndarray) -> torch.Tensor:
        """(T, n) of n pdfs for the utterance at a place of the batch."""
        rows = np.array(self.inputs[slice(*batch.frames[place])])
        return self.tables.log_likelihoods(torch.from_numpy(rows).to(self.device), pdf_ids)


def _align_part(state: _AligningState, batches: list[_Batch]) -> Arrays:
    """Transition-ids of the utterances, one after the other; 0 where there is no path."""
    paths: list[np.ndarray] = []
    for batch in batches:
        num_frames = np.diff(batch.frames)[:, 0]
        records = [np.asarray(state.graphs[first:last]) for first, last in batch.graphs]
        results = align_batch(
            [TrainingGraph.from_record(record) for record in records],
            num_frames,
            partial(state.log_likelihoods, batch),
            state.model.transitions,
            state.scales,
            state.device,
        )
        paths += [
            np.zeros(length, dtype=np.int32) if result is None else result.transition_ids
            for length, result in zip(num_frames, results, strict=True)
        ]
    return {"transition_ids": np.concatenate(paths)}
