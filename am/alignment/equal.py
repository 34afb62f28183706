"""The first alignment of a flat start: a random path, its states equally long."""

from __future__ import annotations

import numpy as np

from am.alignment.training_graph import TrainingGraph

# Random paths tried before an utterance is given up as too short (Kaldi's align-equal).
NUM_TRIES = 10


def equal_alignment(
    graph: TrainingGraph, num_frames: int, generator: np.random.Generator
) -> np.ndarray | None:
    """(num_frames,) int32 transition-ids, or None if the paths tried have too many states.

    A path takes each way with its pronunciation or silence probability.
    """
    for _ in range(NUM_TRIES):
        path = _random_path(graph, generator)
        if len(path) <= num_frames:
            place = np.arange(num_frames) * len(path) // num_frames
            stays = np.append(place[1:] == place[:-1], False)
            return (2 * graph.transition_states[np.array(path)[place]] - stays).astype(np.int32)
    return None


def _random_path(graph: TrainingGraph, generator: np.random.Generator) -> list[int]:
    by_source: dict[int, list[tuple[int | None, float]]] = {}
    for source, target, weight in zip(
        graph.jump_sources.tolist(),
        graph.jump_targets.tolist(),
        graph.jump_weights.tolist(),
        strict=True,
    ):
        by_source.setdefault(source, []).append((target, weight))
    for final, weight in zip(
        graph.final_states.tolist(), graph.final_weights.tolist(), strict=True
    ):
        by_source.setdefault(final, []).append((None, weight))
    advance = graph.advance.tolist()
    starts = list(zip(graph.start_states.tolist(), graph.start_weights.tolist(), strict=True))
    state: int | None = _choose(starts, generator)
    path: list[int] = []
    while state is not None:
        path.append(state)
        ways: list[tuple[int | None, float]] = list(by_source.get(state, ()))
        if state + 1 < len(advance) and advance[state + 1] > -np.inf:
            ways.append((state + 1, advance[state + 1]))
        state = _choose(ways, generator)
    return path


def _choose(
    ways: list[tuple[int, float]] | list[tuple[int | None, float]], generator: np.random.Generator
) -> int | None:
    if len(ways) == 1:
        return ways[0][0]
    shares = np.exp([weight for _, weight in ways])
    return ways[generator.choice(len(ways), p=shares / shares.sum())][0]
