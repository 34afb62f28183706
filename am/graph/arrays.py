"""Weighted transducers as numpy arrays, converted to and from kaldifst in bulk.

kaldifst gives access to one arc at a time, which is far too slow for a decoding graph.  Its
binary files are plain records, though: this module writes and reads those (OpenFst's
``vector-fst.h`` and ``const-fst.h``) with numpy, at memory speed.

Weights are costs: negative natural logarithms of probabilities, lower is better.
"""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np

from am.errors import InputError

EPSILON = 0
# fst.h: kFstMagicNumber; the property bits say no more than "expanded and mutable".
_MAGIC = 2125659606
_VECTOR_VERSION = 2
_EXPANDED_AND_MUTABLE = 3
_CONST_STATE = np.dtype(
    [("final", "<f4"), ("first", "<u4"), ("arcs", "<u4"), ("ieps", "<u4"), ("oeps", "<u4")]
)
_ARC = np.dtype([("ilabel", "<i4"), ("olabel", "<i4"), ("weight", "<f4"), ("nextstate", "<i4")])


@dataclass(frozen=True)
class FstArrays:
    """A transducer; state 0 is the start unless ``start`` says otherwise.

    Attributes:
        final: (states,) float32, cost of ending there, infinite where the state is not final.
        source, nextstate: (arcs,) int32 states.
        ilabel, olabel: (arcs,) int32, 0 is epsilon.
        weight: (arcs,) float32 costs.
        start: the start state; -1 in an empty transducer.
    """

    final: np.ndarray
    source: np.ndarray
    ilabel: np.ndarray
    olabel: np.ndarray
    weight: np.ndarray
    nextstate: np.ndarray
    start: int = 0

    @property
    def num_states(self) -> int:
        """Number of states."""
        return len(self.final)

    @property
    def num_arcs(self) -> int:
        """Number of arcs."""
        return len(self.source)


class ArcList:
    """A transducer being written arc by arc; states exist once they are named."""

    def __init__(self) -> None:
        self._arcs: list[tuple[int, int, int, float, int]] = []
        self._final: dict[int, float] = {}
        self._num_states = 0

    def add_state(self) -> int:
        """A new state."""
        self._num_states += 1
        return self._num_states - 1

    def add_arc(
        self, source: int, nextstate: int, ilabel: int, olabel: int, cost: float = 0.0
    ) -> None:
        """An arc from ``source`` to ``nextstate``."""
        self._arcs.append((source, ilabel, olabel, cost, nextstate))

    def set_final(self, state: int, cost: float = 0.0) -> None:
        """Let paths end in ``state``."""
        self._final[state] = cost

    def to_arrays(self) -> FstArrays:
        """The transducer so far; its start is state 0."""
        final = np.full(self._num_states, np.inf, dtype=np.float32)
        final[list(self._final)] = list(self._final.values())
        rows = np.array(self._arcs, dtype=np.float64).reshape(-1, 5)
        integers = rows[:, [0, 1, 2, 4]].astype(np.int32)
        return FstArrays(
            final=final,
            source=integers[:, 0],
            ilabel=integers[:, 1],
            olabel=integers[:, 2],
            weight=rows[:, 3].astype(np.float32),
            nextstate=integers[:, 3],
            start=0 if self._num_states else -1,
        )


def to_fst(arrays: FstArrays) -> kaldifst.StdVectorFst:
    """The same transducer in kaldifst; each state's arcs keep their order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.fst"
        path.write_bytes(_vector_bytes(arrays))
        return read_fst(path)


def from_fst(fst: kaldifst.StdVectorFst) -> FstArrays:
    """The same transducer in arrays, the arcs sorted by source state."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fst.const"
        kaldifst.StdConstFst(fst).write(str(path))
        content = path.read_bytes()
    start, num_states, num_arcs = _read_header(content)
    states_at = len(content) - num_states * _CONST_STATE.itemsize - num_arcs * _ARC.itemsize
    states = np.frombuffer(content, _CONST_STATE, num_states, states_at)
    arcs = np.frombuffer(content, _ARC, num_arcs, states_at + states.nbytes)
    return FstArrays(
        final=states["final"].copy(),
        source=np.repeat(np.arange(num_states, dtype=np.int32), states["arcs"]),
        ilabel=arcs["ilabel"].copy(),
        olabel=arcs["olabel"].copy(),
        weight=arcs["weight"].copy(),
        nextstate=arcs["nextstate"].copy(),
        start=start,
    )


def read_fst(path: Path) -> kaldifst.StdVectorFst:
    """Read an FST file.

    Raises:
        InputError: there is none, or it is not one.
    """
    fst = kaldifst.StdVectorFst.read(str(path)) if path.is_file() else None
    if fst is None:
        raise InputError(f"{path}: no readable FST; run the tool that writes it again")
    return fst


def _vector_bytes(arrays: FstArrays) -> bytes:
    """The file that ``StdVectorFst.write`` would write.

    A state is its final cost (float32), its number of arcs (int64) and the arcs (16 bytes each):
    all multiples of 4 bytes, so the file is laid out as one array of 4-byte words.
    """
    order = np.argsort(arrays.source, kind="stable")
    counts = np.bincount(arrays.source, minlength=arrays.num_states).astype(np.int64)
    arcs_before = np.concatenate([[0], np.cumsum(counts)])[:-1]
    state_at = 3 * np.arange(arrays.num_states) + 4 * arcs_before
    words = np.empty(3 * arrays.num_states + 4 * arrays.num_arcs, dtype=np.int32)
    words[state_at] = arrays.final.astype(np.float32).view(np.int32)
    words[state_at + 1] = counts
    words[state_at + 2] = 0
    arc_at = 4 * np.arange(arrays.num_arcs) + 3 * (arrays.source[order].astype(np.int64) + 1)
    words[arc_at] = arrays.ilabel[order]
    words[arc_at + 1] = arrays.olabel[order]
    words[arc_at + 2] = arrays.weight[order].astype(np.float32).view(np.int32)
    words[arc_at + 3] = arrays.nextstate[order]
    header = struct.pack(
        "<ii6si8siiQqqq",
        _MAGIC,
        6,
        b"vector",
        8,
        b"standard",
        _VECTOR_VERSION,
        0,
        _EXPANDED_AND_MUTABLE,
        arrays.start,
        arrays.num_states,
        arrays.num_arcs,
    )
    return header + words.astype("<i4", copy=False).tobytes()


def _read_header(content: bytes) -> tuple[int, int, int]:
    """Start state, number of states, number of arcs of a file's content."""
    (length,) = struct.unpack_from("<i", content, 4)
    (arc_length,) = struct.unpack_from("<i", content, 8 + length)
    start, num_states, num_arcs = struct.unpack_from("<qqq", content, 28 + length + arc_length)
    return start, num_states, num_arcs
