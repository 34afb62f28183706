"""The transition model: which HMM states exist, and how long each is stayed in.

Integers, as in Kaldi's ``hmm/transition-model.h``:

* transition-state, from 1: a distinct (phone, state of the phone, pdf-id);
* transition-id, from 1: ``2 * transition_state - 1`` is the self-loop of that state (the next
  frame is in the same state), ``2 * transition_state`` leaves it (the next frame is elsewhere).

An alignment is one transition-id a frame; it gives back phone, state and pdf-id of each frame,
and the boundary between two equal phones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from am.errors import InputError

# Kaldi's floor for transition probabilities (transition-model.h, MleTransitionUpdateConfig).
PROBABILITY_FLOOR = 0.01
MIN_COUNT = 5.0


class TransitionModel:
    """Transition-states and their self-loop probabilities.

    Attributes:
        phones, states, pdf_ids: (transition_states,) int32, entry ``i`` describes
            transition-state ``i + 1``.
        self_loop: (transition_states,) float64, probability of staying.
    """

    def __init__(self, triples: np.ndarray, self_loop: np.ndarray):
        """``triples``: (transition_states, 3) phone, state, pdf-id, sorted and distinct."""
        self.phones = triples[:, 0].astype(np.int32)
        self.states = triples[:, 1].astype(np.int32)
        self.pdf_ids = triples[:, 2].astype(np.int32)
        self.self_loop = self_loop.astype(np.float64)
        self._index = {tuple(map(int, row)): i + 1 for i, row in enumerate(triples)}

    @staticmethod
    def from_triples(
        triples: Iterable[tuple[int, int, int]], initial_self_loop: float
    ) -> TransitionModel:
        """A model of the given (phone, state, pdf-id) with one initial probability for all."""
        ordered = np.array(sorted(set(triples)), dtype=np.int32).reshape(-1, 3)
        return TransitionModel(ordered, np.full(len(ordered), initial_self_loop))

    @property
    def num_transition_states(self) -> int:
        """How many distinct (phone, state, pdf-id) there are."""
        return len(self.phones)

    @property
    def num_pdfs(self) -> int:
        """Highest pdf-id plus one."""
        return int(self.pdf_ids.max()) + 1

    def transition_state(self, phone: int, state: int, pdf_id: int) -> int:
        """The transition-state (from 1) of a triple that the model has."""
        return self._index[phone, state, pdf_id]

    def pdf_ids_of(self, transition_ids: np.ndarray) -> np.ndarray:
        """pdf-id of each transition-id, same shape."""
        return self.pdf_ids[(transition_ids - 1) // 2]

    def phones_of(self, transition_ids: np.ndarray) -> np.ndarray:
        """phone-id of each transition-id, same shape."""
        return self.phones[(transition_ids - 1) // 2]

    def states_of(self, transition_ids: np.ndarray) -> np.ndarray:
        """State (from 0) within its phone of each transition-id, same shape."""
        return self.states[(transition_ids - 1) // 2]

    @staticmethod
    def is_self_loop(transition_ids: np.ndarray) -> np.ndarray:
        """Whether each transition-id stays in its state, same shape, bool."""
        return transition_ids % 2 == 1

    def phone_ends(self, transition_ids: np.ndarray, num_states_of_phone: np.ndarray) -> np.ndarray:
        """Whether each frame is the last of its phone.

        Args:
            transition_ids: (frames,) an alignment.
            num_states_of_phone: (highest phone-id + 1,) states by phone-id.

        Returns:
            (frames,) bool.
        """
        last_state = num_states_of_phone[self.phones_of(transition_ids)] - 1
        leaves = ~self.is_self_loop(transition_ids)
        return leaves & (self.states_of(transition_ids) == last_state)

    def log_probabilities(self) -> np.ndarray:
        """(2 * transition_states + 1,) natural log by transition-id; entry 0 is unused."""
        logs = np.zeros(2 * self.num_transition_states + 1)
        logs[1::2] = np.log(self.self_loop)
        logs[2::2] = np.log1p(-self.self_loop)
        return logs

    def update(self, counts: np.ndarray) -> None:
        """Maximum-likelihood update with Kaldi's floors.

        Args:
            counts: (2 * transition_states + 1,) how often each transition-id was seen.
        """
        stays, leaves = counts[1::2], counts[2::2]
        total = stays + leaves
        seen = total >= MIN_COUNT
        estimate = np.clip(
            stays / np.maximum(total, 1.0), PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR
        )
        self.self_loop = np.where(seen, estimate, self.self_loop)

    def save(self, path: Path) -> None:
        """Write as JSON: rows of phone, state, pdf-id, self-loop probability."""
        rows = [
            [int(phone), int(state), int(pdf_id), float(stay)]
            for phone, state, pdf_id, stay in zip(
                self.phones, self.states, self.pdf_ids, self.self_loop, strict=True
            )
        ]
        path.write_text(json.dumps(rows))

    @staticmethod
    def load(path: Path) -> TransitionModel:
        """Read what :meth:`save` wrote."""
        if not path.is_file():
            raise InputError(
                f"{path}: no such transition model; give the folder of a trained model"
            )
        rows = np.array(json.loads(path.read_text()), dtype=np.float64).reshape(-1, 4)
        return TransitionModel(rows[:, :3].astype(np.int32), rows[:, 3])
