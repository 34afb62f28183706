"""A Kaldi system's HMMs as ours: tree, topology, transition model, and the transition-ids' map."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from am.errors import InputError
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.kaldi.event_map import read_tree, to_context_tree
from am.kaldi.transition_model import NO_PDF, KaldiState, KaldiTransitionModel
from am.tree.context_tree import ContextTree

log = logging.getLogger(__name__)

TREE_NAME = "tree"
# Keeps a state that Kaldi can hardly leave, or never stays in, from a log-probability of -inf.
MIN_PROBABILITY = 1e-10


@dataclass(frozen=True)
class ImportedHmm:
    """What came of a Kaldi tree and transition model.

    Attributes:
        tree, topology, transitions: ours.
        state_of_id: (Kaldi's transition-ids + 1,) our transition-state; entry 0 is unused.
        is_self_loop: (Kaldi's transition-ids + 1,) bool.
        approximated_phones: Kaldi's phone-ids whose HMM had arcs that ours has not.
    """

    tree: ContextTree
    topology: Topology
    transitions: TransitionModel
    state_of_id: np.ndarray
    is_self_loop: np.ndarray
    approximated_phones: tuple[int, ...]


def import_hmm(
    folder: Path,
    model_path: Path,
    model: KaldiTransitionModel,
    phone_of: Mapping[int, int],
) -> ImportedHmm:
    """Turn a Kaldi system into our forms.

    Args:
        folder: holds ``tree``.
        model_path: of ``model``, for messages.
        model: Kaldi's transition model.
        phone_of: Kaldi's phone-id → ours.

    Raises:
        InputError: an HMM that cannot be expressed, or tree and model do not belong together.
    """
    states_of_phone: dict[int, int] = {}
    approximated = []
    for kaldi_phone in model.topology.entry_of_phone:
        states = model.topology.states(kaldi_phone)
        problem = _unusable(states)
        if problem:
            raise InputError(f"{model_path}: the HMM of phone-id {kaldi_phone} {problem}")
        if not _is_left_to_right(states):
            approximated.append(kaldi_phone)
        states_of_phone[phone_of[kaldi_phone]] = len(states) - 1
    first_phone = next(iter(model.topology.entry_of_phone))
    (initial,) = (p for target, p in model.topology.states(first_phone)[0].arcs if target == 0)
    topology = Topology(dict(sorted(states_of_phone.items())), float(np.float32(initial)))
    num_values = max(max(phone_of.values()) + 1, max(states_of_phone.values()))
    tree_path = folder / TREE_NAME
    tree = to_context_tree(read_tree(tree_path), phone_of, num_values, tree_path)
    transitions, new_state = _transitions(model, phone_of)
    triples = {
        (int(phone), int(state), int(pdf_id))
        for phone, state, pdf_id in zip(
            transitions.phones, transitions.states, transitions.pdf_ids, strict=True
        )
    }
    if not triples.issuperset(tree.possible_triples(topology)):
        raise InputError(
            f"{tree_path}: gives pdf-ids that {model_path} has not; give the tree and the model of "
            "one folder"
        )
    return ImportedHmm(
        tree,
        topology,
        transitions,
        np.concatenate([[0], new_state])[model.state_of_id],
        model.is_self_loop,
        tuple(approximated),
    )


def _unusable(states: tuple[KaldiState, ...]) -> str | None:
    """Why an HMM cannot be used at all, or None."""
    *emitting, final = states
    if not emitting or final.arcs or final.pdf_class != NO_PDF:
        return "has no final state at its end; only HMMs as steps/train_mono.sh makes can be used"
    for place, state in enumerate(emitting):
        if state.pdf_class != state.self_loop_pdf_class:
            return "has a self-loop with a pdf of its own (a chain model); only HMMs can be used"
        if state.pdf_class != place:
            return f"gives state {place} the pdf-class {state.pdf_class}; only {place} can be used"
        targets = [target for target, _ in state.arcs]
        if place not in targets or len(set(targets)) != len(targets):
            return f"has no self-loop in state {place}; only states with one can be used"
        if (len(emitting) in targets) != (place == len(emitting) - 1):
            return (
                f"is left from state {place} of {len(emitting)} states, or cannot be left from its "
                "last; only HMMs that are left from the last state alone can be used"
            )
    return None


def _is_left_to_right(states: tuple[KaldiState, ...]) -> bool:
    return all(
        sorted(target for target, _ in state.arcs) == [place, place + 1]
        for place, state in enumerate(states[:-1])
    )


def _transitions(
    model: KaldiTransitionModel, phone_of: Mapping[int, int]
) -> tuple[TransitionModel, np.ndarray]:
    """Our transition model, and (transition-states,) our transition-state of each of Kaldi's."""
    phones = np.array([phone_of[phone] for phone in model.tuples[:, 0].tolist()])
    triples = np.stack([phones, model.tuples[:, 1], model.tuples[:, 2]], axis=1)
    order = np.lexsort(triples.T[::-1])
    new_state = np.empty(len(order), dtype=np.int64)
    new_state[order] = np.arange(1, len(order) + 1)
    loops = np.flatnonzero(model.is_self_loop)
    stay = np.exp(model.log_probabilities[loops].astype(np.float64))
    stay = np.clip(stay, MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)
    return TransitionModel(triples[order].astype(np.int32), stay[order]), new_state
