"""HMM topologies: left-to-right states with self-loops, a number of states a phone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from am.errors import InputError


@dataclass(frozen=True)
class Topology:
    """How many emitting states each phone has.

    State ``i`` of a phone (from 0) has pdf-class ``i``, a self-loop and a transition to state
    ``i + 1``, the last one out of the phone.

    Attributes:
        states_of_phone: phone-id (from 1) → number of states.
        initial_self_loop_probability: before training, for every state.
    """

    states_of_phone: Mapping[int, int]
    initial_self_loop_probability: float = 0.75

    @staticmethod
    def uniform(phones: list[int], num_states: int, self_loop: float = 0.5) -> Topology:
        """The same number of states for every phone, e.g. 1 at the low frame rate."""
        return Topology(dict.fromkeys(phones, num_states), self_loop)

    def num_states(self, phone: int) -> int:
        """Emitting states of ``phone``."""
        return self.states_of_phone[phone]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(
            json.dumps(
                {
                    "initial_self_loop_probability": self.initial_self_loop_probability,
                    "states_of_phone": {str(p): n for p, n in self.states_of_phone.items()},
                },
                indent=1,
            )
        )

    @staticmethod
    def load(path: Path) -> Topology:
        """Read what :meth:`save` wrote."""
        if not path.is_file():
            raise InputError(f"{path}: no such topology; run utils/prepare_lang.py")
        values = json.loads(path.read_text())
        return Topology(
            {int(phone): count for phone, count in values["states_of_phone"].items()},
            values["initial_self_loop_probability"],
        )
