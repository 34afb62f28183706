"""Sufficient statistics of every triphone state that an alignment shows.

Shapes: N seen triphone states, D feature dimensions, T frames of one utterance.

A triphone state is (left phone, centre phone, right phone, pdf-class); context outside the
utterance is phone 0.  Keys are packed into int64 with the centre phone first, so that sorted
keys keep the states of a phone together.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from am.errors import InputError
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.tree.context_tree import CENTRE, LEFT, PDF_CLASS, RIGHT

# Bits of each part of a key.
FIELD_BITS = 15
FIELD_MASK = (1 << FIELD_BITS) - 1
SHIFT_OF_POSITION = {CENTRE: 3 * FIELD_BITS, LEFT: 2 * FIELD_BITS, RIGHT: FIELD_BITS, PDF_CLASS: 0}
# Rows of recent utterances are merged into the sorted ones when they are this many, or as many.
MIN_PENDING_ROWS = 20_000


def phone_segments(
    transition_ids: np.ndarray, transitions: TransitionModel, topology: Topology
) -> np.ndarray:
    """Which phone of the utterance, counted from 0, each frame of an alignment belongs to.

    Args:
        transition_ids: (T,) alignment of one utterance.
        transitions: the model that made it.
        topology: its topology.

    Returns:
        (T,) int64, ascending; two equal phones in a row are two segments.
    """
    num_states = np.zeros(max(topology.states_of_phone) + 1, dtype=np.int32)
    num_states[list(topology.states_of_phone)] = list(topology.states_of_phone.values())
    ends = transitions.phone_ends(transition_ids, num_states)
    return np.cumsum(ends) - ends


def triphone_windows(
    transition_ids: np.ndarray, transitions: TransitionModel, topology: Topology
) -> np.ndarray:
    """The triphone state of each frame of an alignment.

    Args:
        transition_ids, transitions, topology: see :func:`phone_segments`; state ``i`` of a phone
            has pdf-class ``i``.

    Returns:
        (4, T) int32: left, centre, right phone and pdf-class.
    """
    phones = transitions.phones_of(transition_ids)
    segment = phone_segments(transition_ids, transitions, topology)
    starts = np.flatnonzero(np.diff(segment, prepend=-1))
    # The neighbours of segment i are entries i and i + 2; both edges are phone 0.
    padded = np.zeros(len(starts) + 2, dtype=np.int32)
    padded[1:-1] = phones[starts]
    windows = [padded[segment], phones, padded[segment + 2], transitions.states_of(transition_ids)]
    return np.stack(windows).astype(np.int32)


class TriphoneStatistics:
    """Count, sum and sum of squares by triphone state, in arrays sorted by key.

    Args:
        dim: feature dimension D.
    """

    def __init__(self, dim: int):
        self.dim = dim
        self._keys = np.zeros(0, dtype=np.int64)
        self._rows = np.zeros((0, 1 + 2 * dim))
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []
        self._num_pending = 0

    def accumulate(
        self,
        frames: np.ndarray,
        transition_ids: np.ndarray,
        transitions: TransitionModel,
        topology: Topology,
    ) -> None:
        """Add one utterance.

        Args:
            frames: (T, D) features.
            transition_ids: (T,) its alignment, at the same frame rate.
            transitions, topology: of the model that made the alignment.
        """
        self.add(frames, triphone_windows(transition_ids, transitions, topology))

    def add(self, frames: np.ndarray, windows: np.ndarray) -> None:
        """Add frames (T, D) whose triphone states are ``windows`` (4, T).

        Raises:
            ValueError: the two differ in T, or the frames have another dimension.
        """
        if frames.shape != (windows.shape[1], self.dim):
            raise ValueError(
                f"features of shape {frames.shape} for an alignment of {windows.shape[1]} frames "
                f"and statistics of dimension {self.dim}"
            )
        if len(frames) == 0:
            return
        keys = encode(windows)
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        frames = np.asarray(frames, dtype=np.float64)
        rows = np.empty((len(starts), 1 + 2 * self.dim))
        rows[:, 0] = np.diff(starts, append=len(keys))
        rows[:, 1 : 1 + self.dim] = np.add.reduceat(frames, starts)
        rows[:, 1 + self.dim :] = np.add.reduceat(frames * frames, starts)
        self._append(keys[starts], rows)

    def add_sums(self, windows: np.ndarray, rows: np.ndarray) -> None:
        """Add statistics (n, 1 + 2 D) made elsewhere, of the triphone states ``windows`` (4, n)."""
        self._append(encode(windows), np.array(rows, dtype=np.float64))

    def merge(self, other: TriphoneStatistics) -> None:
        """Add the statistics of ``other``, e.g. of another part of the data."""
        if other.dim != self.dim:
            raise ValueError(f"statistics of dimensions {self.dim} and {other.dim} do not merge")
        other._settle()
        # Copied, for ``other`` may be added to before these rows are settled.
        self._append(other._keys.copy(), other._rows.copy())

    @property
    def windows(self) -> np.ndarray:
        """(4, N) int64: left, centre, right phone, pdf-class of each seen triphone state."""
        self._settle()
        shifts = [SHIFT_OF_POSITION[position] for position in (LEFT, CENTRE, RIGHT, PDF_CLASS)]
        return np.stack([(self._keys >> shift) & FIELD_MASK for shift in shifts])

    @property
    def rows(self) -> np.ndarray:
        """(N, 1 + 2 D) float64: count, sums, sums of squares side by side."""
        self._settle()
        return self._rows

    @property
    def count(self) -> np.ndarray:
        """(N,) frames."""
        return self.rows[:, 0]

    @property
    def sum(self) -> np.ndarray:
        """(N, D)."""
        return self.rows[:, 1 : 1 + self.dim]

    @property
    def sum_of_squares(self) -> np.ndarray:
        """(N, D)."""
        return self.rows[:, 1 + self.dim :]

    def __len__(self) -> int:
        self._settle()
        return len(self._keys)

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        self._settle()
        save_file(
            {"keys": self._keys, "rows": self._rows},
            str(path),
            metadata={"statistics": json.dumps({"dim": self.dim, "field_bits": FIELD_BITS})},
        )

    @staticmethod
    def load(path: Path) -> TriphoneStatistics:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: the file is missing or is something else.
        """
        try:
            with safe_open(str(path), framework="np") as stored:
                described = json.loads((stored.metadata() or {})["statistics"])
                statistics = TriphoneStatistics(described["dim"])
                statistics._append(stored.get_tensor("keys"), stored.get_tensor("rows"))
        except (OSError, SafetensorError, KeyError) as error:
            raise InputError(
                f"{path}: not readable as triphone statistics ({error}); accumulate them again"
            ) from error
        return statistics

    def _append(self, keys: np.ndarray, rows: np.ndarray) -> None:
        self._pending.append((keys, rows))
        self._num_pending += len(keys)
        # A merge costs as much as all rows: waiting for as many new ones keeps the sum linear.
        if self._num_pending > max(MIN_PENDING_ROWS, len(self._keys) // 2):
            self._settle()

    def _settle(self) -> None:
        """Merge the rows of recent utterances into the sorted ones."""
        if not self._pending:
            return
        recent_keys = np.concatenate([keys for keys, _ in self._pending])
        recent = np.concatenate([rows for _, rows in self._pending])
        self._pending, self._num_pending = [], 0
        distinct, recent = _sum_by_key(recent_keys, recent)
        place = np.searchsorted(self._keys, distinct)
        known = np.zeros(len(distinct), dtype=bool)
        inside = place < len(self._keys)
        known[inside] = self._keys[place[inside]] == distinct[inside]
        self._rows[place[known]] += recent[known]
        if not known.all():
            new = ~known
            self._keys = np.insert(self._keys, place[new], distinct[new])
            self._rows = np.insert(self._rows, place[new], recent[new], axis=0)


def encode(windows: np.ndarray) -> np.ndarray:
    """(N,) int64 keys of triphone states (4, N)."""
    if windows.min() < 0 or windows.max() > FIELD_MASK:
        raise ValueError(f"phone-ids and pdf-classes must lie in 0 … {FIELD_MASK}")
    keys = np.zeros(windows.shape[1], dtype=np.int64)
    for position, shift in SHIFT_OF_POSITION.items():
        keys |= windows[position].astype(np.int64) << shift
    return keys


def _sum_by_key(keys: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys, ascending, and the sums of their rows."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[starts], np.add.reduceat(rows[order], starts)
