"""Viterbi on training graphs against the enumeration of every path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alignment_cases import (
    NUM_PDFS,
    SIL,
    RandomTree,
    X,
    Y,
    Z,
    alignments_of,
    random_transitions,
    small_lang,
    state_sequences,
)

from am.alignment.training_graph import GraphCompiler, TrainingGraph
from am.alignment.viterbi import AlignmentScales, align_batch, batches_by_size
from am.hmm.transitions import TransitionModel

CPU = torch.device("cpu")
SCALES = AlignmentScales(acoustic_scale=0.7, self_loop_scale=0.4)


def score_of(
    transition_ids: list[int], weight: float, likelihoods: np.ndarray, transitions: TransitionModel
) -> float:
    """The score of one path, term by term."""
    log_probabilities = transitions.log_probabilities()
    score = weight
    for frame, transition_id in enumerate(transition_ids):
        pdf_id = transitions.pdf_ids[(transition_id - 1) // 2]
        score += SCALES.acoustic_scale * likelihoods[frame, pdf_id]
        score += SCALES.self_loop_scale * log_probabilities[transition_id]
    return score


def align(
    graphs: list[TrainingGraph], likelihoods: list[np.ndarray], transitions: TransitionModel
) -> list:
    return list(
        align_batch(
            graphs,
            np.array([len(values) for values in likelihoods]),
            lambda place, pdf_ids: torch.from_numpy(likelihoods[place][:, pdf_ids]),
            transitions,
            SCALES,
            CPU,
        )
    )


@pytest.mark.parametrize("seed", range(12))
def test_best_path_is_the_best_of_all_paths(seed: int) -> None:
    generator = np.random.default_rng(seed)
    lang = small_lang(silence_probability=float(generator.uniform(0.2, 0.8)))
    tree = RandomTree(generator, kinds=1 + seed % 3)
    transitions = random_transitions(generator)
    compiler = GraphCompiler(lang, tree, lang.topology, transitions)  # type: ignore[arg-type]
    transcripts = [[X, Y], [Z], [X], [Y, X]]
    lengths = [8, 7, 7, 5]
    graphs = [compiler.compile(words) for words in transcripts]
    likelihoods = [
        generator.normal(-50, 4, (length, NUM_PDFS)).astype(np.float32) for length in lengths
    ]
    results = align(graphs, likelihoods, transitions)
    for words, values, result in zip(transcripts, likelihoods, results, strict=True):
        best = max(
            (score_of(path, weight, values, transitions), path)
            for states, weight in state_sequences(lang, tree, transitions, words)
            for path in alignments_of(states, len(values))
        )
        assert result is not None
        assert result.score == pytest.approx(best[0], abs=1e-3)
        assert result.transition_ids.tolist() == best[1]


@pytest.mark.parametrize("silence_probability", [0.0, 1.0])
def test_silence_may_be_impossible_or_compulsory(silence_probability: float) -> None:
    generator = np.random.default_rng(0)
    lang = small_lang(silence_probability)
    transitions = random_transitions(generator)
    tree = RandomTree(generator, kinds=2)
    compiler = GraphCompiler(lang, tree, lang.topology, transitions)  # type: ignore[arg-type]
    values = generator.normal(-50, 4, (12, NUM_PDFS)).astype(np.float32)
    (result,) = align([compiler.compile([Y, Z])], [values], transitions)
    phones = transitions.phones_of(result.transition_ids)
    ends = transitions.phone_ends(result.transition_ids, np.array([0, 2, 1, 2, 1]))
    assert np.count_nonzero(ends & (phones == SIL)) == 3 * silence_probability


def test_too_few_frames_have_no_path() -> None:
    generator = np.random.default_rng(1)
    lang = small_lang()
    transitions = random_transitions(generator)
    tree = RandomTree(generator, kinds=3)
    compiler = GraphCompiler(lang, tree, lang.topology, transitions)  # type: ignore[arg-type]
    graph = compiler.compile([Y, Z, Y])
    assert graph.min_frames == 6
    values = generator.normal(-50, 4, (6, NUM_PDFS)).astype(np.float32)
    enough, short = align([graph, graph], [values, values[:5]], transitions)
    assert enough is not None and len(enough.transition_ids) == 6
    assert short is None


def test_long_utterances_lose_no_precision() -> None:
    """A plain float32 sum near -200,000 rounds each of 3,000 terms to multiples of 0.016."""
    generator = np.random.default_rng(2)
    lang = small_lang()
    transitions = random_transitions(generator)
    tree = RandomTree(generator, kinds=1)
    compiler = GraphCompiler(lang, tree, lang.topology, transitions)  # type: ignore[arg-type]
    values = generator.normal(-90, 1, (3000, NUM_PDFS)).astype(np.float32)
    (result,) = align([compiler.compile([Y])], [values], transitions)
    ids = result.transition_ids
    visited = (ids[~transitions.is_self_loop(ids)] // 2).tolist()
    (weight,) = [
        weight
        for states, weight in state_sequences(lang, tree, transitions, [Y])
        if states == visited
    ]
    exact = score_of(ids.tolist(), weight, values.astype(np.float64), transitions)
    assert result.score == pytest.approx(exact, abs=0.1)


def test_record_gives_the_graph_back() -> None:
    generator = np.random.default_rng(3)
    lang = small_lang()
    tree = RandomTree(generator, kinds=3)
    transitions = random_transitions(generator)
    compiler = GraphCompiler(lang, tree, lang.topology, transitions)  # type: ignore[arg-type]
    graph = compiler.compile([X, Y, Z])
    again = TrainingGraph.from_record(graph.to_record())
    assert again.min_frames == graph.min_frames
    for name in TrainingGraph.__dataclass_fields__:
        assert np.array_equal(getattr(again, name), getattr(graph, name)), name


def test_batches_are_bounded_and_complete() -> None:
    generator = np.random.default_rng(4)
    num_frames = generator.integers(50, 500, 200)
    num_states = generator.integers(10, 90, 200)
    num_states[17] = 10**6
    batches = list(batches_by_size(num_frames, num_states, max_cells=100_000))
    assert sorted(np.concatenate(batches)) == list(range(200))
    for batch in batches:
        assert (np.diff(num_frames[batch]) <= 0).all()
        cells = num_frames[batch[0]] * num_states[batch].sum()
        assert cells <= 100_000 or len(batch) == 1
