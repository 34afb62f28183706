"""Splitting of states and self-loops, on small random transducers."""

import math
import random
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from am.graph.arrays import ArcList, FstArrays
from am.graph.hmm import add_self_loops, split_by_incoming_label, substitute
from am.hmm.transitions import TransitionModel

NUM_LABELS = 3


def random_transducer(seed: int) -> FstArrays:
    """An acyclic transducer of six states, labels up to 3, its weights summing to one a state."""
    chooser = random.Random(seed)
    arcs = ArcList()
    for _ in range(6):
        arcs.add_state()
    for state in range(6):
        ways = [
            (target, chooser.randint(0, NUM_LABELS), chooser.randint(0, 2))
            for target in range(state + 1, 6)
            if chooser.random() < 0.6
        ]
        is_final = state == 5 or chooser.random() < 0.3 or not ways
        shares = [chooser.random() for _ in range(len(ways) + is_final)]
        costs = [-math.log(share / sum(shares)) for share in shares]
        for (target, ilabel, olabel), cost in zip(ways, costs, strict=False):
            arcs.add_arc(state, target, ilabel, olabel, cost)
        if is_final:
            arcs.set_final(state, costs[-1])
    return arcs.to_arrays()


def paths(fst: FstArrays) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], float]]:
    """(input labels, output labels, cost) of every path; self-loops are not taken."""
    stack = [(fst.start, (), (), 0.0)]
    while stack:
        state, inputs, outputs, cost = stack.pop()
        if np.isfinite(fst.final[state]):
            yield inputs, outputs, round(cost + float(fst.final[state]), 3)
        for arc in np.flatnonzero((fst.source == state) & (fst.nextstate != state)):
            ilabel, olabel = int(fst.ilabel[arc]), int(fst.olabel[arc])
            stack.append(
                (
                    int(fst.nextstate[arc]),
                    (*inputs, ilabel) if ilabel else inputs,
                    (*outputs, olabel) if olabel else outputs,
                    cost + float(fst.weight[arc]),
                )
            )


@pytest.mark.parametrize("seed", range(30))
def test_splitting_changes_no_path(seed: int) -> None:
    fst = random_transducer(seed)
    split, label_of_state = split_by_incoming_label(fst)
    assert Counter(paths(split)) == Counter(paths(fst))
    for state in range(split.num_states):
        entering = set(split.ilabel[split.nextstate == state].tolist())
        if label_of_state[state]:
            assert entering == {label_of_state[state]}
            assert state != split.start
        else:
            assert entering <= {0}


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_self_loops(seed: int, scale: float) -> None:
    fst = random_transducer(seed)
    stay = np.array([0.25, 0.5, 0.9])
    transitions = TransitionModel(np.array([(1, 0, 0), (2, 0, 1), (3, 0, 2)]), stay)
    looped = add_self_loops(fst, transitions, scale)
    is_loop = looped.source == looped.nextstate
    np.testing.assert_allclose(
        looped.weight[is_loop], -scale * np.log(stay[looped.ilabel[is_loop] - 1]), rtol=1e-6
    )
    assert len(set(looped.source[is_loop].tolist())) == is_loop.sum()
    # Each label of a path costs its way out of the state, once.
    leave = np.append(0.0, -scale * np.log(1 - stay))
    expected = Counter(
        (inputs, outputs, cost + sum(leave[label] for label in inputs))
        for inputs, outputs, cost in paths(fst)
    )
    found = Counter(paths(looped))
    assert len(found) == len(expected)
    for one, other in zip(sorted(found), sorted(expected), strict=True):
        assert one[:2] == other[:2]
        assert one[2] == pytest.approx(other[2], abs=3e-3)
    if scale == 1.0:
        mass = np.bincount(looped.source, np.exp(-looped.weight), looped.num_states)
        mass += np.exp(-looped.final)
        reached = np.isin(np.arange(looped.num_states), looped.nextstate)
        reached[looped.start] = True
        np.testing.assert_allclose(mass[reached], 1.0, rtol=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_substitution_replaces_each_label_by_its_sequence(seed: int) -> None:
    fst = random_transducer(seed)
    sequences = np.array([[0, 0, 0], [4, 0, 0], [5, 6, 0], [7, 6, 8]], dtype=np.int32)
    found = Counter(paths(substitute(fst, sequences)))
    expected = Counter(
        (tuple(state for label in inputs for state in sequences[label] if state), outputs, cost)
        for inputs, outputs, cost in paths(fst)
    )
    assert found == expected
