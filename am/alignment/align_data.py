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
    MAX_UTTERANCE_CELLS,
    Alignment,
    AlignmentScales,
    align_batch,
    batches_by_size,
)
from am.alignment.worker_threads import map_in_threads
from am.errors import InputError
from am.features.feature_data import describe_features, open_feature_data
from am.features.gmm_features import SpeakerNormalisation
from am.gmm.model_folder import LoadedGmm, copy_hmm, load_gmm
from am.lang.lang import Lang, check_phones
from am.progress import track
from am.storage import write_shard, write_store_description

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
) -> None:
    """Align every cut with its transcript.

    Writes a store of transition-ids, the model's tree, topology, transitions and phones, and
    ``failed.tsv`` with the cuts that have no alignment.

    Raises:
        InputError: the model and the lang folder or the features do not fit each other, or no
            cut could be aligned.
    """
    lang = Lang.load(lang_folder)
    check_phones(lang, model_folder)
    description = describe_features(data_folder)
    if description.kind != "mfcc":
        raise InputError(f"{data_folder}: holds {description.kind}; give MFCC for a GMM")
    gmm = load_gmm(model_folder, device)
    cuts = open_feature_data(data_folder)
    normalisation = SpeakerNormalisation.from_cuts(track(cuts, "speaker statistics", unit="cut"))
    aligner = _Aligner(lang, gmm, normalisation, scales)
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
            f"{data_folder}: no cut could be aligned ({aligner.failures[0][1]}); check transcripts"
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
        normalisation: SpeakerNormalisation,
        scales: AlignmentScales,
    ):
        self.transcripts = Transcripts(lang)
        self.failures: list[tuple[str, str]] = []
        self._gmm = gmm
        self._normalisation = normalisation
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
            model_input = self._gmm.model_input(cut, self._normalisation)
            if len(model_input) < graph.min_frames:
                self.failures.append(
                    (cut.id, f"too short: {len(model_input)} frames for {graph.min_frames} states")
                )
                continue
            if len(model_input) * graph.num_states > MAX_UTTERANCE_CELLS:
                self.failures.append(
                    (cut.id, f"too long: {len(model_input)} frames; cut it into utterances")
                )
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
