"""Alignments carried over to another tree."""

from __future__ import annotations

import numpy as np
from alignment_cases import NUM_PDFS, TOPOLOGY, RandomTree, X, Y, Z, random_transitions, small_lang

from am.alignment.convert import AlignmentConverter
from am.alignment.equal import equal_alignment
from am.alignment.training_graph import GraphCompiler
from am.hmm.transitions import TransitionModel

WORDS = [X, Y, Y, Z]


def transitions_of(tree: RandomTree) -> TransitionModel:
    """Only the transition-states that the tree's triphones have."""
    triples = [
        (phone, state, int(pdf_id))
        for phone, num_states in TOPOLOGY.states_of_phone.items()
        for state in range(num_states)
        for pdf_id in np.unique(tree.table[:, phone, :, state])
    ]
    return TransitionModel.from_triples(triples, 0.5)


def aligned(tree: RandomTree, transitions: TransitionModel, seed: int) -> np.ndarray:
    compiler = GraphCompiler(small_lang(), tree, TOPOLOGY, transitions)  # type: ignore[arg-type]
    ids = equal_alignment(compiler.compile(WORDS), 50, np.random.default_rng(seed))
    assert ids is not None
    return ids


def test_same_tree_changes_nothing() -> None:
    tree = RandomTree(np.random.default_rng(0), kinds=3)
    transitions = random_transitions(np.random.default_rng(1))
    convert = AlignmentConverter(transitions, TOPOLOGY, tree, transitions)  # type: ignore[arg-type]
    for seed in range(10):
        ids = aligned(tree, transitions, seed)
        assert np.array_equal(convert(ids), ids)


def test_there_and_back() -> None:
    """Phones, states and boundaries stay; the pdf-ids are the other tree's."""
    old_tree = RandomTree(np.random.default_rng(2), kinds=2)
    new_tree = RandomTree(np.random.default_rng(3), kinds=4)
    old, new = transitions_of(old_tree), transitions_of(new_tree)
    convert = AlignmentConverter(old, TOPOLOGY, new_tree, new)  # type: ignore[arg-type]
    back = AlignmentConverter(new, TOPOLOGY, old_tree, old)  # type: ignore[arg-type]
    for seed in range(10):
        ids = aligned(old_tree, old, seed)
        converted = convert(ids)
        assert np.array_equal(new.phones_of(converted), old.phones_of(ids))
        assert np.array_equal(new.states_of(converted), old.states_of(ids))
        assert np.array_equal(new.is_self_loop(converted), old.is_self_loop(ids))
        assert np.array_equal(back(converted), ids)
        assert np.array_equal(converted, aligned_with(ids, old, new_tree, new))


def aligned_with(
    ids: np.ndarray, old: TransitionModel, tree: RandomTree, new: TransitionModel
) -> np.ndarray:
    """The conversion, phone after phone."""
    ends = np.flatnonzero(old.phone_ends(ids, np.array([0, 2, 1, 2, 1])))
    phones = [0, *old.phones_of(ids[ends]).tolist(), 0]
    result = []
    start = 0
    for segment, end in enumerate(ends):
        for frame in range(start, end + 1):
            state = int(old.states_of(ids[frame : frame + 1])[0])
            left, centre, right = phones[segment : segment + 3]
            pdf_id = int(tree.table[left, centre, right, state])
            assert pdf_id < NUM_PDFS
            stays = int(ids[frame]) % 2
            result.append(2 * new.transition_state(centre, state, pdf_id) - stays)
        start = end + 1
    return np.array(result)
