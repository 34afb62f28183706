"""The reference's own path in denominator lattices.

A search under a weak language model may lose the state sequence of the forced alignment.  In a
lattice without it sMBR pulls towards the nearest of the wrong paths, and MMI's ratio of reference
to lattice can grow without bound (Vesely et al., "Sequence-discriminative training of deep neural
networks", Interspeech 2013).
"""

from __future__ import annotations

import kaldifst
import numpy as np

from am.decoding.lattices import LatticeMaker, LatticeSettings
from am.sequence.lattice import EPSILON_PDF, DenominatorLattice, arranged, denominator_lattice

# One frame with another senone costs more than the beam forgives, and the beam is far above what
# an utterance's graph costs differ by: what survives is exactly the reference.
MISMATCH_SCORE = -1e5
WHOLE_GRAPH = LatticeSettings(beam=1e4, lattice_beam=1e4)


def holds_path(lattice: DenominatorLattice, pdf_ids: np.ndarray) -> bool:
    """Whether some path of a lattice has exactly these senones.

    Args:
        lattice: of T frames.
        pdf_ids: (T,) integers.
    """
    kept = _agrees(lattice, pdf_ids)
    reached = {0}
    # Arcs are sorted by target and lead upwards, so a source is settled before it is asked for.
    for source, target in zip(
        lattice.source[kept].tolist(), lattice.target[kept].tolist(), strict=True
    ):
        if source in reached:
            reached.add(target)
    return lattice.num_states - 1 in reached


def with_paths_of(lattice: DenominatorLattice, other: DenominatorLattice) -> DenominatorLattice:
    """The lattice with the other's paths beside its own; first and last state are shared.

    Raises:
        ValueError: the two have different numbers of frames.
    """
    if lattice.num_frames != other.num_frames:
        raise ValueError(f"lattices of {lattice.num_frames} and of {other.num_frames} frames")
    numbers = np.arange(other.num_states) + lattice.num_states
    numbers[[0, -1]] = 0, lattice.num_states - 1
    return arranged(
        np.concatenate([lattice.source, numbers[other.source]]),
        np.concatenate([lattice.target, numbers[other.target]]),
        np.concatenate([lattice.pdf_id, other.pdf_id]) + 1,
        np.concatenate([lattice.graph_score, other.graph_score]).astype(np.float64),
        start=0,
    )


class ReferenceLattices:
    """The paths of a graph that have given senones, with the graph's scores.

    Args:
        fst: the denominator's graph; its output labels are pdf-id + 1, as its input labels.
        num_pdfs: senones.
    """

    def __init__(self, fst: kaldifst.StdVectorFst, num_pdfs: int):
        self._num_pdfs = num_pdfs
        self._maker = LatticeMaker(fst, 1.0, WHOLE_GRAPH)

    def make(self, pdf_ids: np.ndarray) -> DenominatorLattice | None:
        """The lattice of the paths with the senones ``pdf_ids`` (T,); None if there is none."""
        scores = np.full((len(pdf_ids), self._num_pdfs), MISMATCH_SCORE, dtype=np.float32)
        scores[np.arange(len(pdf_ids)), pdf_ids] = 0.0
        raw = self._maker.make(scores)
        lattice = denominator_lattice(raw) if raw is not None else None
        if lattice is None or lattice.num_frames != len(pdf_ids):
            return None
        return lattice if _agrees(lattice, pdf_ids).all() else None


def _agrees(lattice: DenominatorLattice, pdf_ids: np.ndarray) -> np.ndarray:
    """(A,) bool, arcs that take no frame, or take it with the senone given for it."""
    emits = lattice.pdf_id != EPSILON_PDF
    frame = np.minimum(lattice.state_frames[lattice.source], len(pdf_ids) - 1)
    return ~emits | (lattice.pdf_id == pdf_ids[frame])
