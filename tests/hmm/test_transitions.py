"""Transition-ids: what each of them says, and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from am.errors import InputError
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel

# Phone 1 has one state; phone 2 two, the first with pdf 3 or 4 as its context may be.
TRIPLES = [(2, 1, 1), (1, 0, 0), (2, 0, 4), (2, 0, 3)]
STATES_OF_PHONE = np.array([0, 1, 2])


@pytest.fixture
def model() -> TransitionModel:
    return TransitionModel.from_triples([*TRIPLES, TRIPLES[0]], 0.75)


def test_numbering_is_sorted_and_from_one(model: TransitionModel) -> None:
    assert model.num_transition_states == 4
    assert [model.transition_state(*triple) for triple in sorted(TRIPLES)] == [1, 2, 3, 4]
    assert model.num_pdfs == 5
    with pytest.raises(KeyError):
        model.transition_state(1, 0, 4)


def test_round_trip_of_every_transition_id(model: TransitionModel) -> None:
    ids = np.arange(1, 2 * model.num_transition_states + 1)
    for index, phone, state, pdf_id, stays in zip(
        ids,
        model.phones_of(ids),
        model.states_of(ids),
        model.pdf_ids_of(ids),
        model.is_self_loop(ids),
        strict=True,
    ):
        assert (phone, state, pdf_id) in TRIPLES
        transition_state = model.transition_state(int(phone), int(state), int(pdf_id))
        assert index == 2 * transition_state - stays
    assert model.is_self_loop(ids).tolist() == [True, False] * 4
    grid = ids.reshape(2, 4)
    assert model.pdf_ids_of(grid).shape == (2, 4)


def test_phone_ends_on_a_repeated_phone(model: TransitionModel) -> None:
    """Phones 1, 2, 2, 1, 1 with one or two frames a state."""
    one = model.transition_state(1, 0, 0)
    first, other = model.transition_state(2, 0, 3), model.transition_state(2, 0, 4)
    last = model.transition_state(2, 1, 1)
    walk = [
        (one, "stay"), (one, "leave"),
        (first, "stay"), (first, "leave"), (last, "leave"),
        (other, "leave"), (last, "stay"), (last, "leave"),
        (one, "leave"),
        (one, "stay"), (one, "leave"),
    ]  # fmt: skip
    ids = np.array([2 * state - (what == "stay") for state, what in walk])
    ends = model.phone_ends(ids, STATES_OF_PHONE)
    assert np.flatnonzero(ends).tolist() == [1, 4, 7, 8, 10]
    assert model.phones_of(ids)[ends].tolist() == [1, 2, 2, 1, 1]


def test_log_probabilities(model: TransitionModel) -> None:
    logs = model.log_probabilities()
    assert logs.shape == (9,)
    pairs = np.exp(logs[1:]).reshape(-1, 2)
    np.testing.assert_allclose(pairs, [[0.75, 0.25]] * 4)


def test_update_is_maximum_likelihood_with_floors(model: TransitionModel) -> None:
    """Seen often, always staying, never staying, and less than five times."""
    counts = np.array([0.0, 6, 2, 100, 0, 0, 50, 3, 1])
    model.update(counts)
    np.testing.assert_allclose(model.self_loop, [0.75, 0.99, 0.01, 0.75])
    counts[8] = 2
    model.update(counts)
    np.testing.assert_allclose(model.self_loop, [0.75, 0.99, 0.01, 0.6])


def test_save_and_load(tmp_path: Path, model: TransitionModel) -> None:
    model.update(np.array([0.0, 7, 2, 100, 0, 0, 50, 3, 9]))
    model.save(tmp_path / "transitions.json")
    loaded = TransitionModel.load(tmp_path / "transitions.json")
    for name in ("phones", "states", "pdf_ids", "self_loop"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
    assert loaded.transition_state(2, 0, 4) == model.transition_state(2, 0, 4)
    with pytest.raises(InputError, match="no such transition model"):
        TransitionModel.load(tmp_path / "none.json")


def test_topology(tmp_path: Path) -> None:
    topology = Topology({1: 5, 2: 3}, 0.6)
    topology.save(tmp_path / "topology.json")
    assert Topology.load(tmp_path / "topology.json") == topology
    assert (topology.num_states(1), topology.num_states(2)) == (5, 3)
    assert Topology.uniform([2, 4], 1).states_of_phone == {2: 1, 4: 1}
    with pytest.raises(InputError, match="no such topology"):
        Topology.load(tmp_path / "none.json")
