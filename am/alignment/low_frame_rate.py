"""From alignments at 10 ms to the low frame rate of 30 ms.

T frames become T' = ceil(T / 3) vectors; vector ``i`` stands for frames 3i, 3i + 1, 3i + 2, and
its label is that of frame 3i + 1; past the end the last frame is repeated.  A phone's neighbours
stay those of the 10 ms alignment, even where a phone is so short that no vector shows it.  With
three states a phone none is: it lasts three frames at least, one of which is labelled.
"""

from __future__ import annotations

import numpy as np

from am.features.low_frame_rate import STACKED_FRAMES, num_low_rate_frames
from am.hmm.topology import Topology
from am.tree.context_tree import PDF_CLASS


def labelled_frames(num_frames: int) -> np.ndarray:
    """(T',) int64, the 10 ms frame that gives each vector its label: min(3i + 1, T − 1)."""
    first = np.arange(num_low_rate_frames(num_frames)) * STACKED_FRAMES
    return np.minimum(first + STACKED_FRAMES // 2, num_frames - 1)


def low_rate_windows(windows: np.ndarray) -> np.ndarray:
    """Triphone states (4, T) at 10 ms → (4, T') of the one-state topology."""
    chosen = windows[:, labelled_frames(windows.shape[1])]
    chosen[PDF_CLASS] = 0
    return chosen


def low_rate_topology(topology: Topology) -> Topology:
    """One state for each phone of a 10 ms topology."""
    return Topology.uniform(sorted(topology.states_of_phone), 1)
