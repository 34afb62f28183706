"""Forced alignment of cuts with a model that scores frames: a GMM-HMM or a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch

from am.alignment.training_graph import GraphCompiler, TrainingGraph
from am.alignment.transcripts import Transcripts
from am.alignment.viterbi import (
    Alignment,
    AlignmentScales,
    align_batch,
    batches_by_size,
    why_unalignable,
)
from am.coded_shards import Record
from am.features.gmm_features import fault_of_features
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.k2.alignment import align_batch_with_k2
from am.k2.engine import check_device
from am.lang.lang import Lang
from am.tree.context_tree import ContextTree

AlignmentEngine = Literal["torch", "k2"]


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

    def record(self, transition_ids: np.ndarray) -> Record:
        """What is stored of a path of (frames,) int32 transition-ids."""


@dataclass(frozen=True)
class AlignedCuts:
    """What became of some cuts, in their order.

    Attributes:
        alignments: by cut id.
        failures: cuts without one, with the reason.
        unknown_words: of their transcripts, how often each was met.
    """

    alignments: dict[str, Alignment]
    failures: list[tuple[str, str]]
    unknown_words: Counter[str]


@dataclass(frozen=True)
class _Utterance:
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
        engine: what searches; both find the same paths.

    Raises:
        InputError: k2 is to search, and is missing or cannot work on the model's device.
    """

    def __init__(
        self,
        lang: Lang,
        model: AlignmentModel,
        scales: AlignmentScales,
        engine: AlignmentEngine = "torch",
    ):
        if engine == "k2":
            check_device(model.device)
        self._search = align_batch if engine == "torch" else align_batch_with_k2
        self.model = model
        self._lang = lang
        self._scales = scales
        self._compiler = GraphCompiler(lang, model.tree, model.topology, model.transitions)

    def align(self, cuts: Sequence[Any]) -> AlignedCuts:
        """Align cuts that have the features that the model reads, all in memory at once."""
        transcripts = Transcripts(self._lang)
        utterances: dict[str, _Utterance] = {}
        reasons: dict[str, str] = {}
        for cut in cuts:
            prepared = self._prepare(cut, transcripts.word_ids(cut))
            if isinstance(prepared, str):
                reasons[cut.id] = prepared
            else:
                utterances[cut.id] = prepared
        results = self._align(list(utterances.values()))
        alignments = {}
        for cut_id, result in zip(utterances, results, strict=True):
            if result is None:
                reasons[cut_id] = "no path through the training graph"
            else:
                alignments[cut_id] = result
        failures = [(cut.id, reasons[cut.id]) for cut in cuts if cut.id in reasons]
        return AlignedCuts(alignments, failures, transcripts.unknown_words)

    def _prepare(self, cut: Any, word_ids: list[int]) -> _Utterance | str:
        """The cut made ready, or why it cannot be aligned."""
        if not word_ids:
            return "no transcript"
        graph = self._compiler.compile(word_ids)
        model_input = self.model.model_input(cut)
        num_frames = self.model.num_frames(model_input)
        fault = fault_of_features(model_input.cpu().numpy()) or why_unalignable(
            num_frames, graph.min_frames, graph.num_states
        )
        return fault or _Utterance(graph, model_input, num_frames)

    def _align(self, utterances: list[_Utterance]) -> list[Alignment | None]:
        num_frames = np.array([utterance.num_frames for utterance in utterances], dtype=np.int64)
        num_states = np.array([utterance.graph.num_states for utterance in utterances])
        results: list[Alignment | None] = [None] * len(utterances)
        for batch in batches_by_size(num_frames, num_states):
            members = [utterances[index] for index in batch]
            for index, result in zip(batch, self._align_batch(members), strict=True):
                results[index] = result
        return results

    def _align_batch(self, members: list[_Utterance]) -> list[Alignment | None]:
        return list(
            self._search(
                [member.graph for member in members],
                np.array([member.num_frames for member in members]),
                lambda place, pdf_ids: self.model.log_likelihoods(
                    members[place].model_input, pdf_ids
                ),
                self.model.transitions,
                self._scales,
                self.model.device,
            )
        )
