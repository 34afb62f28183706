"""Forced alignment of a feature data folder with a trained GMM-HMM."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from am.alignment.alignment_folder import FIELD, KIND
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
from am.features.feature_data import describe_features, open_feature_data
from am.features.gmm_features import fault_of_features
from am.features.gmm_front_end import GmmFrontEnd
from am.gmm.model_folder import LoadedGmm, copy_hmm, load_gmm
from am.lang.lang import Lang, check_phones
from am.progress import track
from am.storage import write_shard, write_store_description
from am.threads import map_in_threads

log = logging.getLogger(__name__)

# Frames whose model input is held at once; they are also one shard of the output.
SHARD_FRAMES = 1 << 19


@dataclass(frozen=True)
class _Utterance:
    cut_id: str
    graph: TrainingGraph
    model_input: torch.Tensor

    @property
    def num_frames(self) -> int:
        return len(self.model_input)


def align_data(
    data_folder: Path,
    lang_folder: Path,
    model_folder: Path,
    output: Path,
    scales: AlignmentScales,
    device: torch.device,
    transforms: Path | None = None,
) -> None:
    """Align every cut with its transcript.

    The search is exact: it has no beam that could lose the best path, hence no second try with a
    wider one.  A cut fails only if no path fits its frames, if they hold NaN, or if it is so long
    that it should be cut.

    Writes a store of transition-ids, the model's tree, topology, transitions and phones, and
    ``failed.tsv`` with the cuts that have no alignment.

    Args:
        data_folder, lang_folder, model_folder: what is aligned, and with what.
        output: gets the files.
        scales: of acoustics and transitions.
        device: where tensors live.
        transforms: folder with the transforms of the speakers, for a speaker-adapted model.

    Raises:
        InputError: the model and the lang folder, the features or the transforms do not fit each
            other, or no cut could be aligned.
    """
    lang = Lang.load(lang_folder)
    check_phones(lang, model_folder)
    description = describe_features(data_folder)
    if description.kind != "mfcc":
        raise InputError(f"{data_folder}: holds {description.kind}; give MFCC for a GMM")
    gmm = load_gmm(model_folder, device)
    cuts = open_feature_data(data_folder)
    front_end = GmmFrontEnd.open(model_folder, data_folder, transforms)
    aligner = _Aligner(lang, gmm, front_end, scales)
    aligned = 0
    score = 0.0
    frames = 0
    num_shards = 0
    for part in aligner.parts(track(cuts, "aligning", unit="cut")):
        records = []
        for cut_id, transition_ids, part_score in aligner.align(part):
            records.append((cut_id, {FIELD: transition_ids}))
            score += part_score
            frames += len(transition_ids)
        if records:
            write_shard(output, num_shards, records)
            num_shards += 1
            aligned += len(records)
    if not aligned:
        raise InputError(
            f"{data_folder}: no cut could be aligned; the first, "
            f"{': '.join(aligner.failures[0])}; check transcripts, lexicon and durations"
        )
    write_store_description(
        output,
        {
            "kind": KIND,
            "frame_shift": description.frame_shift,
            "fields": [FIELD],
            "num_shards": num_shards,
        },
    )
    copy_hmm(model_folder, output)
    write_failures(output / FAILED_NAME, aligner.failures)
    aligner.transcripts.log_unknown_words()
    log.info(
        "aligned %d cuts, %d frames, scaled score %.3f a frame", aligned, frames, score / frames
    )


class _Aligner:
    def __init__(
        self,
        lang: Lang,
        gmm: LoadedGmm,
        front_end: GmmFrontEnd,
        scales: AlignmentScales,
    ):
        self.transcripts = Transcripts(lang)
        self.failures: list[tuple[str, str]] = []
        self._gmm = gmm
        self._front_end = front_end
        self._scales = scales
        model = gmm.model
        self._compiler = GraphCompiler(lang, model.tree, model.topology, model.transitions)

    def parts(self, cuts: Iterable[Any]) -> Iterator[list[_Utterance]]:
        """Cuts made ready, about ``SHARD_FRAMES`` frames at a time."""
        part: list[_Utterance] = []
        frames = 0
        for cut in cuts:
            word_ids = self.transcripts.word_ids(cut)
            if not word_ids:
                self.failures.append((cut.id, "no transcript"))
                continue
            graph = self._compiler.compile(word_ids)
            model_input = self._gmm.model_input(cut, self._front_end)
            fault = fault_of_features(model_input.cpu().numpy()) or why_unalignable(
                len(model_input), graph.min_frames, graph.num_states
            )
            if fault:
                self.failures.append((cut.id, fault))
                continue
            part.append(_Utterance(cut.id, graph, model_input))
            frames += len(model_input)
            if frames >= SHARD_FRAMES:
                yield part
                part, frames = [], 0
        if part:
            yield part

    def align(self, part: list[_Utterance]) -> Iterator[tuple[str, np.ndarray, float]]:
        """Cut id, transition-ids and scaled score of each utterance."""
        num_frames = np.array([utterance.num_frames for utterance in part])
        num_states = np.array([utterance.graph.num_states for utterance in part])
        batches = (
            [part[index] for index in batch] for batch in batches_by_size(num_frames, num_states)
        )
        for members, results in map_in_threads(self._align_batch, batches, self._gmm.device):
            for member, result in zip(members, results, strict=True):
                if result is None:
                    self.failures.append((member.cut_id, "no path through the training graph"))
                else:
                    yield member.cut_id, result.transition_ids, result.score

    def _align_batch(
        self, members: list[_Utterance]
    ) -> tuple[list[_Utterance], list[Alignment | None]]:
        results = align_batch(
            [member.graph for member in members],
            np.array([member.num_frames for member in members]),
            lambda place, pdf_ids: self._gmm.log_likelihoods_of(
                members[place].model_input, pdf_ids
            ),
            self._gmm.model.transitions,
            self._scales,
            self._gmm.device,
        )
        return members, list(results)
