"""Passes over aligned cuts by an executor's workers: statistics, transition counts.

The data are read in chunks of ``CUTS_A_CHUNK`` cuts whatever the number of workers, and what
comes of the chunks is added in their order, so that the sums do not depend on it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.convert import AlignmentConverter
from am.alignment.low_frame_rate import labelled_frames, low_rate_windows
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import open_feature_data
from am.features.gmm_features import GmmFeatures, fault_of_features
from am.features.gmm_front_end import GmmFrontEnd, gather_normalisation
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.processes import map_chunks
from am.progress import track
from am.tree.context_tree import ContextTree
from am.tree.statistics import TriphoneStatistics, triphone_windows

log = logging.getLogger(__name__)

CUTS_A_CHUNK = 64
_CPU = torch.device("cpu")


def gather_statistics(
    data: Path, model: Path, alignment: AlignmentFolder, *, low_frame_rate: bool, executor: Executor
) -> TriphoneStatistics:
    """Statistics of the aligned cuts, a chunk a worker in memory at a time.

    Args:
        data: feature data folder (MFCC).
        model: GMM folder whose features the statistics are of.
        alignment: the data's, at 10 ms; holds the speakers' transforms if the model is
            speaker-adapted.
        low_frame_rate: count only the frames that give a 30 ms vector its label, in one state.
        executor: what reads the data.

    Raises:
        InputError: no cut is aligned, or a cut's frames are not those that were aligned.
    """
    transforms = alignment.folder if GmmFeatures.load(model).speaker_adapted else None
    front_end = GmmFrontEnd.open(model, data, transforms, gather_normalisation(data, executor))
    total: TriphoneStatistics | None = None
    aligned, unaligned = 0, 0
    for part in map_chunks(
        _statistics_of_chunk,
        partial(_Reader, alignment, front_end, low_frame_rate),
        track(open_feature_data(data), "statistics", unit="cut"),
        executor,
        chunk_size=CUTS_A_CHUNK,
        device=_CPU,
    ):
        aligned += part.aligned
        unaligned += part.unaligned
        if part.statistics is not None:
            total = total or TriphoneStatistics(part.statistics.dim)
            total.merge(part.statistics)
    if total is None:
        raise InputError(
            f"{alignment.folder}: none of the {unaligned} cuts of the data is aligned here; "
            "give the alignment of the same data"
        )
    log.info("statistics of %d cuts; %d cuts have no alignment", aligned, unaligned)
    return total


def gather_transitions(
    alignment: AlignmentFolder,
    tree: ContextTree,
    topology: Topology,
    *,
    low_frame_rate: bool,
    executor: Executor,
) -> TransitionModel:
    """Self-loop probabilities of a new tree's states, from how long the alignment stays in them."""
    transitions = TransitionModel.from_triples(
        tree.possible_triples(topology), topology.initial_self_loop_probability
    )
    convert = AlignmentConverter(
        alignment.transitions,
        alignment.topology,
        tree,
        transitions,
        low_frame_rate=low_frame_rate,
    )
    counts = np.zeros(2 * transitions.num_transition_states + 1)
    for part in map_chunks(
        _transitions_of_chunk,
        partial(_TransitionCounter, alignment, convert, len(counts)),
        track(alignment.store, "transitions", len(alignment.store), unit="cut"),
        executor,
        chunk_size=CUTS_A_CHUNK,
        device=_CPU,
    ):
        counts += part
    transitions.update(counts)
    return transitions


@dataclass(frozen=True)
class _Reader:
    alignment: AlignmentFolder
    front_end: GmmFrontEnd
    low_frame_rate: bool

    def frames_and_windows(self, cut: Any) -> tuple[np.ndarray, np.ndarray]:
        """(n, D) frames that count and their (4, n) triphone states."""
        frames = self.front_end.model_input(cut)
        if fault := fault_of_features(frames):
            raise InputError(f"{cut.id}: {fault}; make the features and the alignment again")
        windows = triphone_windows(
            self.alignment.transition_ids(cut.id, len(frames)),
            self.alignment.transitions,
            self.alignment.topology,
        )
        if not self.low_frame_rate:
            return frames, windows
        return frames[labelled_frames(len(frames))], low_rate_windows(windows)


@dataclass
class _Part:
    statistics: TriphoneStatistics | None = None
    aligned: int = 0
    unaligned: int = 0


def _statistics_of_chunk(reader: _Reader, cuts: Iterable[Any]) -> _Part:
    part = _Part()
    for cut in cuts:
        if cut.id not in reader.alignment:
            part.unaligned += 1
            continue
        part.aligned += 1
        frames, windows = reader.frames_and_windows(cut)
        part.statistics = part.statistics or TriphoneStatistics(frames.shape[1])
        part.statistics.add(frames, windows)
    return part


@dataclass(frozen=True)
class _TransitionCounter:
    alignment: AlignmentFolder
    convert: AlignmentConverter
    num_counts: int


def _transitions_of_chunk(counter: _TransitionCounter, cut_ids: list[str]) -> np.ndarray:
    counts = np.zeros(counter.num_counts)
    for cut_id in cut_ids:
        converted = counter.convert(counter.alignment.transition_ids(cut_id))
        counts += np.bincount(converted, minlength=counter.num_counts)
    return counts
