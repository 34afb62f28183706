"""What a store of soft labels costs and what it keeps of the teacher's posteriors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from am.errors import InputError
from am.storage import RaggedStore


@dataclass(frozen=True)
class StoreStatistics:
    """A store of soft labels in two figures.

    Attributes:
        bytes_a_frame: size on disk, descriptions and indices of the shards included.
        probability_kept: mean over frames of the stored senones' posteriors together; a
            little above 1 where all are stored, because logits are stored in steps.
    """

    bytes_a_frame: float
    probability_kept: float


def store_statistics(folder: Path, max_cuts: int = 500) -> StoreStatistics:
    """Size of the whole store, and the probability in its first ``max_cuts`` cuts.

    Raises:
        InputError: the store is missing, altered or unfinished, or has no frames.
    """
    store = RaggedStore(folder)
    num_frames = sum(store.num_frames(cut_id) for cut_id in store)
    if num_frames == 0:
        raise InputError(f"{folder}: has no frames; make its soft labels again")
    size = sum(path.stat().st_size for path in folder.glob("shard-*"))
    logits = np.concatenate([store[cut_id]["logits"] for cut_id in islice(store, max_cuts)])
    return StoreStatistics(
        bytes_a_frame=size / num_frames,
        probability_kept=float(np.exp(logits).sum() / len(logits)),
    )
