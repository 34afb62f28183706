"""The best path of many utterances through their training graphs at once.

Shapes: B utterances of a batch, longest first; N states of all their graphs, one graph after the
other; T frames of the longest; M states that jumps lead to; K jumps into one of them.

Because the longest come first, the utterances that still have frames at time t are the first
ones, and their states a prefix of the N.  The loop over time works on that prefix alone, so
neither short utterances nor small graphs are padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from am.alignment.training_graph import TrainingGraph
from am.hmm.transitions import TransitionModel

# Emission scores and back pointers of a batch: T * N of each.
MAX_BATCH_CELLS = 8_000_000
# An utterance of more (7 minutes of read speech, say) is not aligned: it would take 2 GB.
MAX_UTTERANCE_CELLS = 400_000_000
_STAY, _ADVANCE, _FIRST_JUMP = 0, 1, 2


@dataclass(frozen=True)
class AlignmentScales:
    """Weights of the parts of a path's score, as in Kaldi's ``gmm-align-compiled``."""

    acoustic_scale: float = 0.1
    self_loop_scale: float = 0.1


@dataclass(frozen=True)
class Alignment:
    """The best path of an utterance.

    Attributes:
        transition_ids: (frames,) int32.
        score: natural log, higher is better: scaled log-likelihoods and transitions plus the
            graph's weights.
    """

    transition_ids: np.ndarray
    score: float


class GraphBatch:
    """Training graphs side by side, with the transitions' scores on their arcs.

    Args:
        graphs: of the utterances, longest utterance first.
        num_frames: (B,) frames of each, descending.
        log_transitions: (transition-ids + 1,) scaled log-probabilities by transition-id.
        device: where tensors live.
    """

    def __init__(
        self,
        graphs: Sequence[TrainingGraph],
        num_frames: np.ndarray,
        log_transitions: np.ndarray,
        device: torch.device,
    ):
        assert (np.diff(num_frames) <= 0).all(), "the longest utterance comes first"
        self.num_frames = num_frames
        self.device = device
        self.offsets = np.concatenate([[0], np.cumsum([graph.num_states for graph in graphs])])
        self.transition_states = np.concatenate([graph.transition_states for graph in graphs])
        self.stay = log_transitions[2 * self.transition_states - 1].astype(np.float32)
        self.leave = log_transitions[2 * self.transition_states].astype(np.float32)
        self.enter = np.concatenate([graph.advance for graph in graphs])
        # A graph's first state never follows the neighbouring graph's last: its advance is -inf.
        self.enter[1:] += self.leave[:-1]
        self.starts, self.start_weights = self._joined(graphs, "start")
        self.finals, self.final_weights = self._joined(graphs, "final")
        self._pad_jumps(graphs)
        # Utterances with more than t frames, t from 0.
        self.active = np.searchsorted(-num_frames, -np.arange(num_frames[0]), side="left")

    def _joined(self, graphs: Sequence[TrainingGraph], which: str) -> tuple[np.ndarray, np.ndarray]:
        states = [
            getattr(graph, f"{which}_states").astype(np.int64) + offset
            for graph, offset in zip(graphs, self.offsets, strict=False)
        ]
        return np.concatenate(states), np.concatenate(
            [getattr(graph, f"{which}_weights") for graph in graphs]
        )

    def _pad_jumps(self, graphs: Sequence[TrainingGraph]) -> None:
        pairs = list(zip(graphs, self.offsets, strict=False))
        targets = np.concatenate(
            [graph.jump_targets.astype(np.int64) + offset for graph, offset in pairs]
        )
        sources = np.concatenate(
            [graph.jump_sources.astype(np.int64) + offset for graph, offset in pairs]
        )
        weights = np.concatenate([graph.jump_weights for graph in graphs])
        self.jump_targets, row, counts = np.unique(targets, return_inverse=True, return_counts=True)
        width = int(counts.max(initial=1))
        slot = np.arange(len(targets)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.jump_sources = np.zeros((width, len(counts)), dtype=np.int64)
        self.jump_weights = np.full((width, len(counts)), -np.inf, dtype=np.float32)
        self.jump_sources[slot, row] = sources
        self.jump_weights[slot, row] = weights + self.leave[sources]
        self.jump_row = np.full(self.offsets[-1], -1, dtype=np.int64)
        self.jump_row[self.jump_targets] = np.arange(len(counts))

    def best_paths(self, emissions: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Viterbi.

        Args:
            emissions: (T, N) float32 scaled log-likelihoods; an utterance's rows past its end
                are never read.

        Returns:
            (T, B) int64 states, past an utterance's end undefined; (B,) scores, -inf where no
            path exists.
        """
        scores, back_pointers = self._forward(emissions)
        ends = scores[self.finals] + self.leave[self.finals] + self.final_weights
        utterance = np.searchsorted(self.offsets, self.finals, side="right") - 1
        order = np.lexsort((ends, utterance))
        last = np.searchsorted(utterance[order], np.arange(len(self.num_frames)), side="right") - 1
        best = order[last]
        return self._trace_back(back_pointers, self.finals[best]), ends[best]

    def _forward(self, emissions: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        num_frames, num_states = emissions.shape

        def on_device(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(values).to(self.device)

        stay, enter = on_device(self.stay), on_device(self.enter)
        jump_weights = on_device(self.jump_weights)
        jump_sources, jump_targets = on_device(self.jump_sources), on_device(self.jump_targets)
        states_at = self.offsets[self.active].tolist()
        jumps_at = np.searchsorted(self.jump_targets, states_at).tolist()
        kind = torch.uint8 if len(self.jump_sources) < 250 else torch.int16
        back_pointers = torch.zeros((num_frames, num_states), dtype=kind, device=self.device)
        scores = torch.full((num_states,), -np.inf, device=self.device)
        starts = on_device(self.starts)
        scores[starts] = on_device(self.start_weights) + emissions[0, starts]
        entering = torch.empty_like(scores)
        entering[0] = -np.inf
        for time in range(1, num_frames):
            states, jumps = states_at[time], jumps_at[time]
            current = scores[:states]
            torch.add(scores[: states - 1], enter[1:states], out=entering[1:states])
            targets = jump_targets[:jumps]
            jumping, which = torch.max(
                scores[jump_sources[:, :jumps]] + jump_weights[:, :jumps], dim=0
            )
            current += stay[:states]
            pointers = back_pointers[time, :states]
            torch.gt(entering[:states], current, out=pointers)
            torch.maximum(current, entering[:states], out=current)
            before = current[targets]
            better = jumping > before
            pointers[targets] = torch.where(
                better, (which + _FIRST_JUMP).to(kind), pointers[targets]
            )
            current[targets] = torch.maximum(before, jumping)
            current += emissions[time, :states]
        return scores.cpu().numpy(), back_pointers.cpu().numpy()

    def _trace_back(self, back_pointers: np.ndarray, ends: np.ndarray) -> np.ndarray:
        paths = np.zeros((len(back_pointers), len(ends)), dtype=np.int64)
        states = ends.copy()
        for time in range(len(back_pointers) - 1, 0, -1):
            active = self.active[time]
            current = states[:active]
            paths[time, :active] = current
            pointers = back_pointers[time, current]
            jumped = np.flatnonzero(pointers >= _FIRST_JUMP)
            before = current - (pointers == _ADVANCE)
            before[jumped] = self.jump_sources[
                pointers[jumped] - _FIRST_JUMP, self.jump_row[current[jumped]]
            ]
            states[:active] = before
        paths[0] = states
        return paths


def transition_ids_of_states(states: np.ndarray, transition_states: np.ndarray) -> np.ndarray:
    """(frames,) int32 transition-ids of a path.

    Args:
        states: (frames,) states of the graph; one that stands twice in a row stays.
        transition_states: (frames,) those of ``states``.
    """
    stays = np.append(states[1:] == states[:-1], False)
    return (2 * transition_states - stays).astype(np.int32)


def why_unalignable(num_frames: int, min_frames: int, num_states: int) -> str | None:
    """Why an utterance has no alignment, or None if it has one.

    The search is exact, so this is certain before it: there is no beam to be widened.

    Args:
        num_frames: of the utterance.
        min_frames, num_states: of its graph.
    """
    if num_frames < min_frames:
        return f"too short: {num_frames} frames, and its transcript takes at least {min_frames}"
    if num_frames * num_states > MAX_UTTERANCE_CELLS:
        return f"too long: {num_frames} frames; cut it into utterances"
    return None


def scaled_log_transitions(transitions: TransitionModel, scales: AlignmentScales) -> np.ndarray:
    """Log-probabilities by transition-id, times the self-loop scale.

    A state's only choice is to stay or to leave, so that Kaldi's transition scale, which weighs
    the choice among ways to leave, has nothing to act on.
    """
    return transitions.log_probabilities() * scales.self_loop_scale


def batches_by_size(
    num_frames: np.ndarray, num_states: np.ndarray, max_cells: int = MAX_BATCH_CELLS
) -> Iterator[np.ndarray]:
    """Utterances in batches of similar length, each batch longest first.

    Args:
        num_frames, num_states: (utterances,) of each utterance and its graph.
        max_cells: upper bound of longest frames × states of all; one utterance may exceed it.

    Yields:
        indices of the utterances of a batch.
    """
    order = np.argsort(-num_frames, kind="stable")
    first, states = 0, 0
    for place, utterance in enumerate(order):
        states += int(num_states[utterance])
        if place > first and states * int(num_frames[order[first]]) > max_cells:
            yield order[first:place]
            first, states = place, int(num_states[utterance])
    if len(order):
        yield order[first:]


def align_batch(
    graphs: Sequence[TrainingGraph],
    num_frames: np.ndarray,
    log_likelihoods: Callable[[int, np.ndarray], torch.Tensor],
    transitions: TransitionModel,
    scales: AlignmentScales,
    device: torch.device,
) -> Iterable[Alignment | None]:
    """Align a batch.

    Args:
        graphs: of the utterances, longest utterance first.
        num_frames: (B,) descending.
        log_likelihoods: called with an utterance's place in the batch and (n,) pdf-ids, returns
            (frames, n) natural logs on ``device``.
        transitions: of the model that made the graphs.
        scales: see :class:`AlignmentScales`.
        device: where tensors live.

    Yields:
        the alignment of each utterance, or None if it has fewer frames than the shortest path
        has states, or more than ``MAX_UTTERANCE_CELLS`` frames × states.
    """
    if len(graphs) == 1 and graphs[0].num_states * int(num_frames[0]) > MAX_UTTERANCE_CELLS:
        yield None
        return
    batch = GraphBatch(graphs, num_frames, scaled_log_transitions(transitions, scales), device)
    emissions = torch.empty((int(num_frames[0]), int(batch.offsets[-1])), device=device)
    removed = np.zeros(len(graphs))
    for place, graph in enumerate(graphs):
        pdf_ids, pdf_of_state = np.unique(
            transitions.pdf_ids[graph.transition_states - 1], return_inverse=True
        )
        by_pdf = log_likelihoods(place, pdf_ids).T * scales.acoustic_scale
        # Scores relative to the frame's best keep float32 exact over long utterances.
        best = by_pdf.amax(dim=0)
        removed[place] = float(best.sum(dtype=torch.float64))
        states = slice(int(batch.offsets[place]), int(batch.offsets[place + 1]))
        row = torch.from_numpy(pdf_of_state).to(device)
        emissions[: len(best), states] = (by_pdf - best).index_select(0, row).T
    paths, scores_of_paths = batch.best_paths(emissions)
    for place, frames in enumerate(num_frames):
        if scores_of_paths[place] == -np.inf:
            yield None
        else:
            path = paths[:frames, place]
            transition_ids = transition_ids_of_states(path, batch.transition_states[path])
            yield Alignment(transition_ids, float(scores_of_paths[place] + removed[place]))
