"""Passes over the training data: alignment and statistics.

Shapes: F frames of all utterances, D values of a frame, P pdfs.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from am.alignment.viterbi import AlignmentScales, align_batch, batches_by_size
from am.gmm.model import GmmTables
from am.gmm.model_folder import GmmHmm
from am.gmm.statistics import EmStatistics, MlltStatistics, accumulate
from am.gmm.training_data import CHUNK_FRAMES, TrainingData
from am.gmm.update import estimate
from am.threads import map_in_threads


def update(
    model: GmmHmm,
    inputs: np.ndarray,
    alignment: np.ndarray,
    min_occupancy: float,
    device: torch.device,
) -> tuple[GmmHmm, EmStatistics, np.ndarray]:
    """One EM update of transitions (in place) and Gaussians.

    Args:
        model: before the update.
        inputs: (F, D) model input.
        alignment: (F,) transition-ids, 0 where a frame is not aligned.
        min_occupancy: see :func:`am.gmm.update.estimate`.
        device: where tensors live.

    Returns:
        the updated model, the statistics, and (P,) frames aligned to each pdf.
    """
    statistics = gather_em(model, inputs, alignment, device)
    transitions = model.transitions
    counts = np.zeros(2 * transitions.num_transition_states + 1)
    for first in range(0, len(alignment), CHUNK_FRAMES):
        counts += np.bincount(alignment[first : first + CHUNK_FRAMES], minlength=len(counts))
    transitions.update(counts)
    pdf_frames = np.bincount(
        transitions.pdf_ids, counts[1::2] + counts[2::2], minlength=model.gmms.num_pdfs
    )
    gmms = estimate(model.gmms, statistics, min_occupancy)
    return model.replace(gmms=gmms), statistics, pdf_frames


def gather_em(
    model: GmmHmm,
    inputs: np.ndarray,
    alignment: np.ndarray,
    device: torch.device,
    observed: np.ndarray | None = None,
) -> EmStatistics:
    """EM statistics of all aligned frames.

    With ``observed`` (F, D), the posteriors are of ``inputs`` and the sums of ``observed``.
    """
    tables = GmmTables(model.gmms, device)

    def gather(first: int) -> EmStatistics:
        part = EmStatistics.zeros(model.gmms, device)
        frames, pdf_ids = _aligned_frames(model, inputs, alignment, first, device)
        others = None
        if observed is not None:
            others, _ = _aligned_frames(model, observed, alignment, first, device)
        accumulate(part, tables, frames, pdf_ids, others)
        return part

    total = EmStatistics.zeros(model.gmms, device)
    for part in map_in_threads(gather, range(0, len(alignment), CHUNK_FRAMES), device):
        total.merge(part)
    return total


def gather_mllt(
    model: GmmHmm,
    inputs: np.ndarray,
    alignment: np.ndarray,
    speech_pdf: np.ndarray,
    device: torch.device,
) -> MlltStatistics:
    """MLLT statistics of the frames of speech; ``speech_pdf`` is (P,) bool."""
    tables = GmmTables(model.gmms, device)

    def gather(first: int) -> MlltStatistics:
        part = MlltStatistics(model.gmms, device)
        frames, pdf_ids = _aligned_frames(model, inputs, alignment, first, device)
        speech = speech_pdf[pdf_ids]
        part.accumulate(tables, frames[torch.from_numpy(speech).to(device)], pdf_ids[speech])
        return part

    total = MlltStatistics(model.gmms, device)
    for part in map_in_threads(gather, range(0, len(alignment), CHUNK_FRAMES), device):
        total.merge(part)
    return total


def realign(
    model: GmmHmm,
    data: TrainingData,
    inputs: np.ndarray,
    alignment: np.ndarray,
    scales: AlignmentScales,
    device: torch.device,
) -> int:
    """Write the best path of every utterance into ``alignment`` (F,), which holds zeros.

    Returns:
        how many utterances have no path; theirs stay 0.
    """
    tables = GmmTables(model.gmms, device)

    def scores(batch: np.ndarray, place: int, pdf_ids: np.ndarray) -> torch.Tensor:
        frames = inputs[data.frames_of(int(batch[place]))]
        return tables.log_likelihoods(torch.from_numpy(np.array(frames)).to(device), pdf_ids)

    def align(batch: np.ndarray) -> int:
        results = align_batch(
            [data.graph(int(utterance)) for utterance in batch],
            data.num_frames[batch],
            partial(scores, batch),
            model.transitions,
            scales,
            device,
        )
        without_path = 0
        for utterance, result in zip(batch, results, strict=True):
            if result is None:
                without_path += 1
            else:
                alignment[data.frames_of(int(utterance))] = result.transition_ids
        return without_path

    batches = batches_by_size(data.num_frames, data.num_states)
    return sum(map_in_threads(align, batches, device))


def _aligned_frames(
    model: GmmHmm, inputs: np.ndarray, alignment: np.ndarray, first: int, device: torch.device
) -> tuple[torch.Tensor, np.ndarray]:
    """Frames (n, D) of a chunk that have a transition-id, and their pdf-ids (n,)."""
    transition_ids = np.asarray(alignment[first : first + CHUNK_FRAMES])
    frames = np.array(inputs[first : first + CHUNK_FRAMES])
    aligned = transition_ids > 0
    if not aligned.all():
        frames, transition_ids = frames[aligned], transition_ids[aligned]
    return torch.from_numpy(frames).to(device), model.transitions.pdf_ids_of(transition_ids)
