"""The path of a lattice with the fewest word errors: what no rescoring can do better than.

Shapes: R reference words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from am.storage import Record


def oracle_errors(record: Record, reference: Sequence[int]) -> int:
    """The least word errors (insertions, deletions, substitutions) of all paths of a lattice.

    Edit distance by dynamic programming over lattice states and places in the reference.

    Args:
        record: a lattice (:mod:`am.k2.lattices`).
        reference: R word-ids; one that is in no lattice, such as −1, stands for an unknown word.
    """
    places = np.arange(len(reference) + 1)
    wanted = np.array(reference, dtype=np.int64)
    order, source, target = _in_topological_order(record)
    # (R + 1,) by state: the least errors of a way there against so many reference words.
    errors: dict[int, np.ndarray] = {int(source[0]): places.astype(np.int64)}
    for arc, state, following in zip(order, source, target, strict=True):
        row = errors[int(state)]
        for word in record["words"][arc]:
            if word:
                row = _with_word(row, int(word), wanted, places)
        known = errors.get(int(following))
        errors[int(following)] = row if known is None else np.minimum(known, row)
    return int(errors[int(target.max())][-1])


def _with_word(row: np.ndarray, word: int, reference: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(R + 1,) errors after one more word."""
    longer = row + 1
    longer[1:] = np.minimum(longer[1:], row[:-1] + (reference != word))
    # A deleted reference word costs one more than the place before it.
    return np.minimum.accumulate(longer - places) + places


def _in_topological_order(record: Record) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arcs so that none comes before an arc into its source; their sources and targets.

    k2 numbers a lattice's states frame by frame, and every arc takes a frame or ends.
    """
    order = np.argsort(record["source"], kind="stable")
    source, target = record["source"][order], record["target"][order]
    if (target <= source).any():
        raise ValueError("a lattice's states are not in topological order")
    return order, source, target
