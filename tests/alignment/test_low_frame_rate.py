"""Alignments at the low frame rate against loops over vectors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from am.alignment.convert import AlignmentConverter
from am.alignment.low_frame_rate import labelled_frames, low_rate_topology, low_rate_windows
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.tree.context_tree import LEFT, ContextTree, monophone_tree
from am.tree.statistics import triphone_windows

# Phone 1 is a silence of one state, phones 2 to 4 have two.
TOPOLOGY = Topology({1: 1, 2: 2, 3: 2, 4: 2})
TREE = monophone_tree([[1], [2], [3], [4]], TOPOLOGY)
TRANSITIONS = TransitionModel.from_triples(TREE.possible_triples(TOPOLOGY), 0.5)
LOW_RATE = low_rate_topology(TOPOLOGY)


def alignment(phones: list[tuple[int, list[int]]]) -> np.ndarray:
    """Transition-ids of phones with the frames that each of their states lasts."""
    ids = []
    for phone, lengths in phones:
        for state, length in enumerate(lengths):
            pdf_id = TREE.triphone_pdf_ids(0, phone, 0, state + 1)[state]
            transition_state = TRANSITIONS.transition_state(phone, state, pdf_id)
            ids += [2 * transition_state - 1] * (length - 1) + [2 * transition_state]
    return np.array(ids, dtype=np.int32)


def left_context_tree() -> ContextTree:
    """One state a phone; phone 3 has pdf 3 after phone 2 and pdf 2 otherwise."""
    members = np.zeros((6, 5), dtype=bool)
    members[2, 2] = True
    return ContextTree(
        roots=np.array([-1, 0, 1, 2, 5], dtype=np.int32),
        position=np.array([-1, -1, LEFT, -1, -1, -1], dtype=np.int8),
        members=members,
        yes=np.array([-1, -1, 3, -1, -1, -1], dtype=np.int32),
        no=np.array([-1, -1, 4, -1, -1, -1], dtype=np.int32),
        pdf_id=np.array([0, 1, -1, 3, 2, 4], dtype=np.int32),
    )


def converter(tree: ContextTree) -> tuple[AlignmentConverter, TransitionModel]:
    model = TransitionModel.from_triples(tree.possible_triples(LOW_RATE), 0.5)
    return AlignmentConverter(TRANSITIONS, TOPOLOGY, tree, model, low_frame_rate=True), model


@pytest.mark.parametrize("num_frames", range(1, 21))
def test_labels_are_those_of_each_third_frame(num_frames: int) -> None:
    expected = []
    for vector in range(math.ceil(num_frames / 3)):
        frame = 3 * vector + 1
        if frame > num_frames - 1:
            frame = num_frames - 1
        expected.append(frame)
    assert labelled_frames(num_frames).tolist() == expected
    windows = np.random.default_rng(num_frames).integers(0, 5, (4, num_frames))
    at_low_rate = low_rate_windows(windows)
    assert at_low_rate[:3].T.tolist() == [windows[:3, frame].tolist() for frame in expected]
    assert not at_low_rate[3].any()


def test_no_frames() -> None:
    assert labelled_frames(0).tolist() == []
    assert low_rate_windows(np.zeros((4, 0), dtype=int)).shape == (4, 0)


def test_neighbours_are_the_true_ones_where_a_phone_vanishes() -> None:
    """Labels are of frames 1, 4, 7 …; phone 2 lasts frames 3 and 4 once, frames 2 and 3 once.

    In the second alignment no label shows it, and phone 3 still has it on the left.
    """
    shown = alignment([(1, [3]), (2, [1, 1]), (3, [2, 2])])
    windows = low_rate_windows(triphone_windows(shown, TRANSITIONS, TOPOLOGY))
    assert windows[:3].T.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 0]]
    hidden = alignment([(1, [2]), (2, [1, 1]), (3, [2, 2]), (4, [1, 1])])
    windows = low_rate_windows(triphone_windows(hidden, TRANSITIONS, TOPOLOGY))
    assert windows[:3].T.tolist() == [[0, 1, 2], [2, 3, 4], [2, 3, 4], [3, 4, 0]]


def test_conversion_to_senones() -> None:
    convert, model = converter(left_context_tree())
    hidden = alignment([(1, [2]), (2, [1, 1]), (3, [2, 2]), (4, [1, 1])])
    found = convert(hidden)
    assert found.dtype == np.int32
    assert model.pdf_ids_of(found).tolist() == [0, 3, 3, 4]
    assert model.phones_of(found).tolist() == [1, 3, 3, 4]
    assert model.is_self_loop(found).tolist() == [False, True, False, False]
    other = alignment([(4, [1, 2]), (3, [1, 2])])
    assert model.pdf_ids_of(convert(other)).tolist() == [4, 2]


def test_equal_phones_in_a_row_stay_two() -> None:
    convert, model = converter(left_context_tree())
    found = convert(alignment([(2, [3, 3]), (2, [2, 1]), (2, [1, 5])]))
    assert model.is_self_loop(found).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("seed", range(10))
def test_with_three_states_no_phone_vanishes(seed: int) -> None:
    """Counting the phones that leave their state gives the phones of the utterance."""
    random = np.random.default_rng(seed)
    topology = Topology.uniform([1, 2, 3, 4], 3)
    tree = monophone_tree([[1], [2], [3], [4]], topology)
    transitions = TransitionModel.from_triples(tree.possible_triples(topology), 0.5)
    phones = random.integers(1, 5, 30)
    ids = []
    for phone in phones:
        for state, pdf_id in enumerate(tree.triphone_pdf_ids(0, phone, 0, 3)):
            transition_state = transitions.transition_state(int(phone), state, pdf_id)
            length = random.integers(1, 4)
            ids += [2 * transition_state - 1] * (length - 1) + [2 * transition_state]
    low_rate = low_rate_topology(topology)
    low_rate_tree = monophone_tree([[1], [2], [3], [4]], low_rate)
    model = TransitionModel.from_triples(low_rate_tree.possible_triples(low_rate), 0.5)
    convert = AlignmentConverter(transitions, topology, low_rate_tree, model, low_frame_rate=True)
    found = convert(np.array(ids))
    assert model.phones_of(found)[~model.is_self_loop(found)].tolist() == phones.tolist()


def test_conversion_at_its_own_rate_keeps_states_and_durations() -> None:
    """To a tree in which phone 3's states share a pdf."""
    convert = AlignmentConverter(TRANSITIONS, TOPOLOGY, TREE, TRANSITIONS)
    made = alignment([(1, [2]), (2, [1, 3]), (3, [2, 2]), (3, [1, 1])])
    np.testing.assert_array_equal(convert(made), made)
    shared = ContextTree(**{**vars(TREE), "pdf_id": np.maximum(TREE.pdf_id, -1).copy()})
    shared.pdf_id[shared.pdf_id == 4] = 3
    model = TransitionModel.from_triples(shared.possible_triples(TOPOLOGY), 0.5)
    found = AlignmentConverter(TRANSITIONS, TOPOLOGY, shared, model)(made)
    old = TRANSITIONS.pdf_ids_of(made)
    np.testing.assert_array_equal(model.pdf_ids_of(found), np.where(old == 4, 3, old))
    np.testing.assert_array_equal(model.states_of(found), TRANSITIONS.states_of(made))
    np.testing.assert_array_equal(model.is_self_loop(found), TRANSITIONS.is_self_loop(made))
