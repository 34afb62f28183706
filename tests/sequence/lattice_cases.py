"""Small lattices for the tests: random ones, and all their paths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from am.decoding.lattices import LatticeArrays
from am.sequence.lattice import DenominatorLattice, denominator_lattice


def random_raw_lattice(
    rng: np.random.Generator, num_frames: int, num_pdfs: int, width: int = 3, dead_ends: bool = True
) -> LatticeArrays:
    """``width`` states a frame joined at random, with epsilon arcs, parallel arcs and dead ends.

    State numbers are shuffled; one path through the first state of each frame always exists.
    """
    num_states = width * (num_frames + 1)
    arcs: list[tuple[int, int, int]] = []
    for frame in range(num_frames):
        for _ in range(2 * width):
            source, target = rng.integers(width, size=2)
            label = int(rng.integers(1, num_pdfs + 1))
            arcs.append((frame * width + source, (frame + 1) * width + target, label))
        arcs.append((frame * width, (frame + 1) * width, int(rng.integers(1, num_pdfs + 1))))
        arcs.append(arcs[-1])
    for frame in range(num_frames + 1):
        for first in range(width):
            for second in range(first + 1, width):
                if rng.random() < 0.4:
                    arcs.append((frame * width + first, frame * width + second, 0))
    final_cost = np.full(num_states, np.inf, dtype=np.float32)
    final_cost[num_frames * width :] = rng.random(width)
    if dead_ends:
        final_cost[num_frames * width + 1] = np.inf
    shuffled = rng.permutation(num_states)
    source, target, label = np.array(arcs).T
    ordered = np.full(num_states, np.inf, dtype=np.float32)
    ordered[shuffled] = final_cost
    order = rng.permutation(len(arcs))
    return LatticeArrays(
        starts=shuffled[:1].astype(np.int64),
        source=shuffled[source][order],
        target=shuffled[target][order],
        word=label[order].astype(np.int32),
        graph_cost=rng.normal(size=len(arcs)).astype(np.float32),
        acoustic_cost=np.zeros(len(arcs), dtype=np.float32),
        final_cost=ordered,
    )


def random_lattice(
    rng: np.random.Generator, num_frames: int, num_pdfs: int, width: int = 3
) -> DenominatorLattice:
    """A random lattice in order."""
    lattice = denominator_lattice(random_raw_lattice(rng, num_frames, num_pdfs, width))
    assert lattice is not None
    return lattice


def raw_paths(raw: LatticeArrays) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every path of a raw lattice: its pdf-ids and its graph score, by following arcs."""

    def walk(state: int, pdf_ids: tuple[int, ...], score: float) -> Iterator:
        if np.isfinite(raw.final_cost[state]):
            yield pdf_ids, score - float(raw.final_cost[state])
        for arc in np.flatnonzero(raw.source == state):
            label = int(raw.word[arc])
            longer = (*pdf_ids, label - 1) if label else pdf_ids
            yield from walk(int(raw.target[arc]), longer, score - float(raw.graph_cost[arc]))

    yield from walk(int(raw.starts[0]), (), 0.0)


def paths(lattice: DenominatorLattice) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every path of a lattice: its pdf-ids and its graph score, by following arcs."""

    def walk(state: int, pdf_ids: tuple[int, ...], score: float) -> Iterator:
        if state == lattice.num_states - 1:
            yield pdf_ids, score
        for arc in np.flatnonzero(lattice.source == state):
            pdf_id = int(lattice.pdf_id[arc])
            longer = pdf_ids if pdf_id < 0 else (*pdf_ids, pdf_id)
            yield from walk(
                int(lattice.target[arc]), longer, score + float(lattice.graph_score[arc])
            )

    yield from walk(0, (), 0.0)
