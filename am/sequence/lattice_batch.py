"""Several denominator lattices laid out for a forward-backward pass over all of them at once.

The lattices become one graph whose states are sorted by level: frame, then depth.  Arcs lead from
lower to higher levels, so a pass takes one step a level, for the arcs of all utterances.

Shapes: B utterances, A arcs, S states, L levels, N = the sum of the utterances' frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from am.sequence.lattice import EPSILON_PDF, DenominatorLattice


@dataclass(frozen=True)
class LatticeBatch:
    """Lattices side by side.

    Attributes:
        source, target: (A,) int64 states; arcs are sorted by target.
        utterance: (A,) int64, from 0.
        emits: (A,) bool, whether an arc takes a frame.
        row: (A,) int64, the frame's row among the N; 0 for epsilon arcs.
        pdf_id: (A,) int64; 0 for epsilon arcs.
        graph_score: (A,) float64, natural log.
        by_source: (A,) int64, the arcs in order of their source.
        ends: (B,) int64, each utterance's last state; the first states are 0 … B − 1.
        states_a_level, arcs_into_level, arcs_out_of_level: L counts each.
        num_frames: N.
    """

    source: Tensor
    target: Tensor
    utterance: Tensor
    emits: Tensor
    row: Tensor
    pdf_id: Tensor
    graph_score: Tensor
    by_source: Tensor
    ends: Tensor
    states_a_level: tuple[int, ...]
    arcs_into_level: tuple[int, ...]
    arcs_out_of_level: tuple[int, ...]
    num_frames: int

    @property
    def num_utterances(self) -> int:
        """B."""
        return len(self.ends)

    @property
    def num_states(self) -> int:
        """S."""
        return sum(self.states_a_level)

    def to(self, device: torch.device) -> LatticeBatch:
        """The same on a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def batch_lattices(lattices: Sequence[DenominatorLattice]) -> LatticeBatch:
    """Lay out lattices (at least one), on the CPU.

    The rows of scores are those of the utterances one after the other, ``num_frames`` of each.
    """
    state_offsets = _offsets([lattice.num_states for lattice in lattices])
    row_offsets = _offsets([lattice.num_frames for lattice in lattices])
    frames = np.concatenate([lattice.state_frames for lattice in lattices])
    depths = np.concatenate([lattice.state_depths for lattice in lattices])
    order = np.lexsort((depths, frames))
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.arange(len(order))
    level_keys = (frames * (depths.max() + 1) + depths)[order]
    level_of_state = np.cumsum(np.diff(level_keys, prepend=level_keys[0]) != 0)

    def joined(name: str, offsets: np.ndarray | None = None) -> np.ndarray:
        parts = [getattr(lattice, name) for lattice in lattices]
        if offsets is not None:
            parts = [part + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
        return np.concatenate(parts)

    old_source = joined("source", state_offsets)
    source, target = numbers[old_source], numbers[joined("target", state_offsets)]
    counts = [lattice.num_arcs for lattice in lattices]
    utterance = np.repeat(np.arange(len(lattices)), counts)
    pdf_id = joined("pdf_id")
    emits = pdf_id != EPSILON_PDF
    row = np.where(emits, frames[old_source] + row_offsets[utterance], 0)
    by_target = np.argsort(target, kind="stable")
    source, target = source[by_target], target[by_target]
    num_levels = int(level_of_state[-1]) + 1

    def a_level(states: np.ndarray) -> tuple[int, ...]:
        return tuple(np.bincount(level_of_state[states], minlength=num_levels).tolist())

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values[by_target])

    return LatticeBatch(
        source=torch.from_numpy(source),
        target=torch.from_numpy(target),
        utterance=tensor(utterance),
        emits=tensor(emits),
        row=tensor(row),
        pdf_id=tensor(np.maximum(pdf_id, 0)),
        graph_score=tensor(joined("graph_score").astype(np.float64)),
        by_source=torch.from_numpy(np.argsort(source, kind="stable")),
        ends=torch.from_numpy(numbers[state_offsets[1:] - 1]),
        states_a_level=a_level(np.arange(len(order))),
        arcs_into_level=a_level(target),
        arcs_out_of_level=a_level(source),
        num_frames=int(row_offsets[-1]),
    )


def _offsets(counts: list[int]) -> np.ndarray:
    return np.cumsum([0, *counts])
