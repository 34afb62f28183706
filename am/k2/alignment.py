"""Forced alignment with k2: the best paths of a batch through the same training graphs.

An arc into an HMM state takes a frame with its pdf; arcs are pruned by no beam, so that paths and
scores are those of :mod:`am.alignment.viterbi`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch

from am.alignment.training_graph import TrainingGraph
from am.alignment.viterbi import (
    MAX_UTTERANCE_CELLS,
    Alignment,
    AlignmentScales,
    scaled_log_transitions,
    transition_ids_of_states,
)
from am.hmm.transitions import TransitionModel
from am.k2.engine import Fsa, check_device, load_k2
from am.k2.graph import FINAL_LABEL
from am.k2.lattices import arc_offsets

# Of the lattice only the best path is used.
_OUTPUT_BEAM = 0.1


def align_batch_with_k2(
    graphs: Sequence[TrainingGraph],
    num_frames: np.ndarray,
    log_likelihoods: Callable[[int, np.ndarray], torch.Tensor],
    transitions: TransitionModel,
    scales: AlignmentScales,
    device: torch.device,
) -> Iterable[Alignment | None]:
    """Align a batch; arguments and results are those of :func:`am.alignment.viterbi.align_batch`.

    Raises:
        InputError: k2 is missing, or cannot work on ``device``.
    """
    check_device(device)
    k2 = load_k2()
    if len(graphs) == 1 and graphs[0].num_states * int(num_frames[0]) > MAX_UTTERANCE_CELLS:
        yield None
        return
    log_transitions = scaled_log_transitions(transitions, scales)
    pdfs = [
        np.unique(transitions.pdf_ids[graph.transition_states - 1], return_inverse=True)
        for graph in graphs
    ]
    num_labels = 1 + max(len(pdf_ids) for pdf_ids, _ in pdfs)
    scores = torch.zeros(len(graphs), int(num_frames[0]), num_labels, device=device)
    removed = np.zeros(len(graphs))
    for place, (pdf_ids, _) in enumerate(pdfs):
        by_pdf = log_likelihoods(place, pdf_ids) * scales.acoustic_scale
        # Scores relative to the frame's best keep float32 exact over long utterances.
        best = by_pdf.amax(dim=1, keepdim=True)
        removed[place] = float(best.sum(dtype=torch.float64))
        scores[place, : len(by_pdf), 1 : 1 + len(pdf_ids)] = by_pdf - best
    segments = torch.tensor([[row, 0, frames] for row, frames in enumerate(num_frames.tolist())])
    fsas = k2.create_fsa_vec(
        [
            training_fsa(graph, labels.reshape(-1) + 1, log_transitions)
            for graph, (_, labels) in zip(graphs, pdfs, strict=True)
        ]
    )
    lattices = k2.intersect_dense(
        fsas.to(device), k2.DenseFsaVec(scores, segments.int()), _OUTPUT_BEAM
    )
    paths = k2.shortest_path(lattices, use_double_scores=True)
    totals = paths.get_tot_scores(use_double_scores=True, log_semiring=False).tolist()
    states = paths.state.cpu().numpy()
    for place, (first, end) in enumerate(pairwise(arc_offsets(paths).tolist())):
        if end == first:
            yield None
            continue
        of_frames = graphs[place].transition_states[states[first : end - 1]]
        yield Alignment(
            transition_ids_of_states(states[first : end - 1], of_frames),
            float(totals[place] + removed[place]),
        )


def training_fsa(graph: TrainingGraph, labels: np.ndarray, log_transitions: np.ndarray) -> Fsa:
    """A training graph as a ``k2.Fsa``; the attribute ``state`` is the state an arc leads into.

    Args:
        graph: of S states; they become 1 … S, between a start and a final state.
        labels: (S,) from 1, which score a frame in a state has.
        log_transitions: (transition-ids + 1,) scaled log-probabilities by transition-id.
    """
    stay = log_transitions[2 * graph.transition_states - 1]
    leave = log_transitions[2 * graph.transition_states]
    every = np.arange(graph.num_states)
    advancing = np.flatnonzero(np.isfinite(graph.advance))
    end = np.full(len(graph.final_states), graph.num_states)
    source = [
        np.full(len(graph.start_states), -1),
        every,
        advancing - 1,
        graph.jump_sources,
        graph.final_states,
    ]
    target = [graph.start_states, every, advancing, graph.jump_targets, end]
    score = [
        graph.start_weights,
        stay,
        graph.advance[advancing] + leave[advancing - 1],
        graph.jump_weights + leave[graph.jump_sources],
        graph.final_weights + leave[graph.final_states],
    ]
    sources, targets = np.concatenate(source), np.concatenate(target).astype(np.int32)
    label = np.append(labels, FINAL_LABEL)[targets].astype(np.int32)
    scores = np.concatenate(score).astype(np.float32).view(np.int32)
    order = np.lexsort((label.view(np.uint32), sources))
    arcs = np.stack([sources + 1, targets + 1, label, scores], axis=1)[order].astype(np.int32)
    fsa = load_k2().Fsa(torch.from_numpy(arcs))
    fsa.state = torch.from_numpy(targets[order])
    return load_k2().arc_sort(fsa)
