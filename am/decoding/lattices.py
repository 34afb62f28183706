"""Raw (state-level) lattices as numpy arrays.

A lattice is every path that the search found within the lattice beam.  Each arc keeps graph cost
and acoustic cost apart, so that other scales can be tried without searching again.  Costs are
negative natural logarithms, lower is better; acoustic costs are unscaled.
"""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import kaldi_decoder
import kaldifst
import numpy as np

from am.decoding.decoder import scaled_decodable

# OpenFst's vector-fst.h: a state is its final weight, its number of arcs (int64) and its arcs;
# all fields are multiples of 4 bytes, so a file is one array of words behind its header.
_WORDS_A_STATE = 4
_WORDS_AN_ARC = 5


@dataclass(frozen=True)
class LatticeArrays:
    """A lattice.

    Attributes:
        starts: (1,) int64 start state.
        source, target: (arcs,) int64 states.
        word: (arcs,) int32 word-id, 0 is none.
        graph_cost, acoustic_cost: (arcs,) float32.
        final_cost: (states,) float32 graph cost of ending there, infinite where not final.
    """

    starts: np.ndarray
    source: np.ndarray
    target: np.ndarray
    word: np.ndarray
    graph_cost: np.ndarray
    acoustic_cost: np.ndarray
    final_cost: np.ndarray

    @property
    def num_states(self) -> int:
        """Number of states."""
        return len(self.final_cost)


@dataclass(frozen=True)
class LatticeSettings:
    """How rich the lattices are.

    Attributes:
        beam: of the search.
        lattice_beam: paths costlier than the best one by more than this are left out.
    """

    beam: float = 11.0
    lattice_beam: float = 8.0


class LatticeMaker:
    """Makes the lattices of one utterance after the other with the same graph."""

    def __init__(
        self, fst: kaldifst.StdVectorFst, acoustic_scale: float, settings: LatticeSettings
    ):
        self._fst = fst
        self._acoustic_scale = acoustic_scale
        config = kaldi_decoder.LatticeSimpleDecoderConfig(
            beam=settings.beam, lattice_beam=settings.lattice_beam
        )
        self._decoder = kaldi_decoder.LatticeSimpleDecoder(fst, config)

    def make(self, scores: np.ndarray) -> LatticeArrays | None:
        """The lattice of ``scores`` (frames, num_pdfs), or None where no path was found.

        Where no path ends in a final state, every state of the last frame counts as final.
        """
        if len(scores) == 0:
            return None
        # decode() says whether a final state was reached, not whether there is a lattice.
        self._decoder.decode(scaled_decodable(scores, self._acoustic_scale))
        found, lattice = self._decoder.get_raw_lattice()
        if not found:
            return None
        arrays = lattice_to_arrays(lattice)
        if arrays is None:
            return None
        unscaled = arrays.acoustic_cost / np.float32(self._acoustic_scale)
        return replace(arrays, acoustic_cost=unscaled)


def lattice_to_arrays(lattice: kaldifst.Lattice) -> LatticeArrays | None:
    """The arcs of a kaldifst lattice in bulk; None if it is empty."""
    if lattice.num_states == 0 or lattice.start < 0:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lattice.fst"
        lattice.write(str(path))
        content = path.read_bytes()
    (length,) = struct.unpack_from("<i", content, 4)
    (arc_length,) = struct.unpack_from("<i", content, 8 + length)
    header = 8 + length + 4 + arc_length + 16
    start, num_states, _ = struct.unpack_from("<qqq", content, header)
    words = np.frombuffer(content, "<i4", offset=header + 24)
    counts = np.empty(num_states, dtype=np.int64)
    state_at = np.empty(num_states, dtype=np.int64)
    position = 0
    for state in range(num_states):
        state_at[state] = position
        counts[state] = words[position + 2]
        position += _WORDS_A_STATE + _WORDS_AN_ARC * int(counts[state])
    source = np.repeat(np.arange(num_states), counts)
    arc_at = _WORDS_AN_ARC * np.arange(len(source)) + _WORDS_A_STATE * (source + 1)
    return LatticeArrays(
        starts=np.array([start], dtype=np.int64),
        source=source,
        target=words[arc_at + 4].astype(np.int64),
        word=words[arc_at + 1],
        graph_cost=words[arc_at + 2].view(np.float32),
        acoustic_cost=words[arc_at + 3].view(np.float32),
        final_cost=words[state_at].view(np.float32) + words[state_at + 1].view(np.float32),
    )
