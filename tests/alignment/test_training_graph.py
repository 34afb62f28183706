"""The states that a training graph lets one walk through, against enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from alignment_cases import RandomTree, X, Y, Z, random_transitions, small_lang, state_sequences

from am.alignment.equal import equal_alignment
from am.alignment.phone_graph import phone_graph
from am.alignment.training_graph import GraphCompiler, TrainingGraph
from am.hmm.transitions import TransitionModel


def compiled(seed: int, kinds: int, words: list[int]) -> tuple[TrainingGraph, dict]:
    """A graph, and the weight of every state sequence that the transcript has."""
    generator = np.random.default_rng(seed)
    lang = small_lang()
    tree = RandomTree(generator, kinds)
    transitions = random_transitions(generator)
    graph = GraphCompiler(lang, tree, lang.topology, transitions).compile(words)  # type: ignore[arg-type]
    expected: dict[tuple[int, ...], list[float]] = {}
    for states, weight in state_sequences(lang, tree, transitions, words):
        expected.setdefault(tuple(states), []).append(round(weight, 4))
    return graph, {states: sorted(weights) for states, weights in expected.items()}


def walks(graph: TrainingGraph) -> dict[tuple[int, ...], list[float]]:
    """Every path of a graph without self-loops."""
    arcs: dict[int, list[tuple[int, float]]] = {}
    for source, target, weight in zip(
        graph.jump_sources, graph.jump_targets, graph.jump_weights, strict=True
    ):
        arcs.setdefault(int(source), []).append((int(target), float(weight)))
    for state in range(1, graph.num_states):
        if graph.advance[state] > -math.inf:
            arcs.setdefault(state - 1, []).append((state, float(graph.advance[state])))
    finals = dict(zip(graph.final_states.tolist(), graph.final_weights.tolist(), strict=True))
    found: dict[tuple[int, ...], list[float]] = {}
    stack = [
        ((int(state),), float(weight))
        for state, weight in zip(graph.start_states, graph.start_weights, strict=True)
    ]
    while stack:
        path, weight = stack.pop()
        if path[-1] in finals:
            states = tuple(int(graph.transition_states[state]) for state in path)
            found.setdefault(states, []).append(round(weight + finals[path[-1]], 4))
        stack += [((*path, target), weight + w) for target, w in arcs.get(path[-1], [])]
    return {states: sorted(weights) for states, weights in found.items()}


@pytest.mark.parametrize("kinds", [1, 2, 6])
@pytest.mark.parametrize("words", [[X], [X, Y], [X, X, Z], [Z, Y, X, X]])
def test_paths_are_those_of_the_transcript(kinds: int, words: list[int]) -> None:
    graph, expected = compiled(kinds, kinds, words)
    found = walks(graph)
    assert found.keys() == expected.keys()
    for states, weights in expected.items():
        assert found[states] == pytest.approx(weights, abs=2e-4)
    assert graph.min_frames == min(map(len, expected))


def test_contexts_that_differ_in_nothing_are_not_copied() -> None:
    """With a monophone tree every phone occurrence stands once, 1 + 3 + 1 of them here."""
    graph, _ = compiled(0, 1, [X])
    lang = small_lang()
    assert len(phone_graph(lang, [X]).phones) == 5
    assert graph.num_states == 2 + 1 + 2 + 1 + 2


def test_equal_alignment_follows_a_path_evenly() -> None:
    graph, expected = compiled(5, 3, [X, Y, Z])
    transitions: TransitionModel = random_transitions(np.random.default_rng(5))
    for seed in range(20):
        ids = equal_alignment(graph, 40, np.random.default_rng(seed))
        assert ids is not None and len(ids) == 40
        left = ~transitions.is_self_loop(ids)
        assert tuple((ids[left] // 2).tolist()) in expected
        durations = np.diff(np.flatnonzero(left), prepend=-1)
        assert durations.max() - durations.min() <= 1
        assert len(set(((ids[~left] + 1) // 2).tolist()) - set((ids[left] // 2).tolist())) == 0


def test_equal_alignment_of_too_few_frames_is_none() -> None:
    graph, _ = compiled(5, 3, [X, Y, Z])
    assert equal_alignment(graph, graph.min_frames - 1, np.random.default_rng(0)) is None
