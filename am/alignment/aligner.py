"""Forced alignment of many cuts with a model that scores frames: a GMM-HMM or a network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from am.alignment.failures import FAILED_NAME, write_failures
from am.alignment.training_graph import GraphCompiler, TrainingGraph
from am.alignment.transcripts import Transcripts
from am.alignment.viterbi import (
    Alignment,
    AlignmentScales,
    align_batch,
    batches_by_size,
    why_unalignable,
)
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.features.gmm_features import fault_of_features
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang
from am.progress import track
from am.storage import Record, write_shard
from am.threads import map_in_threads
from am.tree.context_tree import ContextTree

log = logging.getLogger(__name__)

# Rows of model input held at once; their cuts are also one shard of the output.
SHARD_ROWS = 1 << 19


class AlignmentModel(Protocol):
    """What scores the frames, and whose HMM states they are aligned to."""

    @property
    def tree(self) -> ContextTree:
        """From triphone states to pdf-ids."""

    @property
    def topology(self) -> Topology:
        """States of each phone."""

    @property
    def transitions(self) -> TransitionModel:
        """Their transitions."""

    @property
    def device(self) -> torch.device:
        """Where it scores."""

    def model_input(self, cut: Any) -> torch.Tensor:
        """(rows, D) float32, what it reads of a cut."""

    def num_frames(self, model_input: torch.Tensor) -> int:
        """Frames that it scores for an input."""

    def log_likelihoods(self, model_input: torch.Tensor, pdf_ids: np.ndarray) -> torch.Tensor:
        """(frames, n) natural logs of n distinct pdfs, up to a constant a frame, on the device."""


@dataclass(frozen=True)
class _Utterance:
    cut_id: str
    graph: TrainingGraph
    model_input: torch.Tensor
    num_frames: int


class Aligner:
    """Aligns cuts with their transcripts.

    The search is exact: it has no beam that could lose the best path, hence no second try with a
    wider one.  A cut fails only if no path fits its frames, if they hold NaN, or if it is so long
    that it should be cut.

    Args:
        lang: pronunciations of the transcripts' words.
        model: what scores the frames.
        scales: of acoustics and transitions.
    """

    def __init__(self, lang: Lang, model: AlignmentModel, scales: AlignmentScales):
        self._transcripts = Transcripts(lang)
        self._failures: list[tuple[str, str]] = []
        self._model = model
        self._scales = scales
        self._compiler = GraphCompiler(lang, model.tree, model.topology, model.transitions)

    def write_shards(
        self, data_folder: Path, output: Path, record_of: Callable[[np.ndarray], Record]
    ) -> int:
        """Align a feature data folder; write the shards of a store, and ``failed.tsv``.

        Args:
            data_folder: cuts with the features that the model reads, and transcripts.
            output: gets the files.
            record_of: the store's record, from (frames,) int32 transition-ids.

        Returns:
            the number of shards.

        Raises:
            InputError: no cut could be aligned.
        """
        aligned = num_shards = frames = 0
        score = 0.0
        for part in self._parts(track(open_feature_data(data_folder), "aligning", unit="cut")):
            records = []
            for cut_id, alignment in self._align(part):
                records.append((cut_id, record_of(alignment.transition_ids)))
                score += alignment.score
                frames += len(alignment.transition_ids)
            if records:
                write_shard(output, num_shards, records)
                num_shards += 1
                aligned += len(records)
        if not aligned:
            raise InputError(
                f"{data_folder}: no cut could be aligned; the first, "
                f"{': '.join(self._failures[0])}; check transcripts, lexicon and durations"
            )
        write_failures(output / FAILED_NAME, self._failures)
        self._transcripts.log_unknown_words()
        log.info(
            "aligned %d cuts, %d frames, scaled score %.3f a frame", aligned, frames, score / frames
        )
        return num_shards

    def _parts(self, cuts: Iterable[Any]) -> Iterator[list[_Utterance]]:
        """Cuts made ready, about ``SHARD_ROWS`` rows at a time."""
        part: list[_Utterance] = []
        rows = 0
        for cut in cuts:
            word_ids = self._transcripts.word_ids(cut)
            if not word_ids:
                self._failures.append((cut.id, "no transcript"))
                continue
            graph = self._compiler.compile(word_ids)
            model_input = self._model.model_input(cut)
            num_frames = self._model.num_frames(model_input)
            fault = fault_of_features(model_input.cpu().numpy()) or why_unalignable(
                num_frames, graph.min_frames, graph.num_states
            )
            if fault:
                self._failures.append((cut.id, fault))
                continue
            part.append(_Utterance(cut.id, graph, model_input, num_frames))
            rows += len(model_input)
            if rows >= SHARD_ROWS:
                yield part
                part, rows = [], 0
        if part:
            yield part

    def _align(self, part: list[_Utterance]) -> Iterator[tuple[str, Alignment]]:
        """Cut id and alignment of each utterance that has one."""
        num_frames = np.array([utterance.num_frames for utterance in part])
        num_states = np.array([utterance.graph.num_states for utterance in part])
        batches = (
            [part[index] for index in batch] for batch in batches_by_size(num_frames, num_states)
        )
        for members, results in map_in_threads(self._align_batch, batches, self._model.device):
            for member, result in zip(members, results, strict=True):
                if result is None:
                    self._failures.append((member.cut_id, "no path through the training graph"))
                else:
                    yield member.cut_id, result

    def _align_batch(
        self, members: list[_Utterance]
    ) -> tuple[list[_Utterance], list[Alignment | None]]:
        results = align_batch(
            [member.graph for member in members],
            np.array([member.num_frames for member in members]),
            lambda place, pdf_ids: self._model.log_likelihoods(members[place].model_input, pdf_ids),
            self._model.transitions,
            self._scales,
            self._model.device,
        )
        return members, list(results)
