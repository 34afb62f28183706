"""An alignment folder: transition-ids by cut, and the model they are of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from am.errors import InputError
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.storage import RaggedStore

KIND = "transition-ids"
FIELD = "transition_ids"


@dataclass(frozen=True)
class AlignmentFolder:
    """What ``steps/align.py`` wrote.

    Attributes:
        folder: where it lies.
        store: the alignments by cut id.
        transitions, topology: of the model that made them.
    """

    folder: Path
    store: RaggedStore
    transitions: TransitionModel
    topology: Topology

    @staticmethod
    def open(folder: Path) -> AlignmentFolder:
        """Open a folder for reading at random.

        Raises:
            InputError: a file is missing, or the store holds something else or nothing.
        """
        store = RaggedStore(folder)
        if store.kind != KIND:
            raise InputError(
                f"{folder}: holds {store.kind}, not {KIND}; give a folder of steps/align.py"
            )
        if len(store) == 0:
            raise InputError(f"{folder}: holds no alignment; see its failed.tsv and align again")
        return AlignmentFolder(
            folder,
            store,
            TransitionModel.load(folder / "transitions.json"),
            Topology.load(folder / "topology.json"),
        )

    def __reduce__(self) -> tuple[Callable[[Path], AlignmentFolder], tuple[Path]]:
        # Another process opens it, rather than being sent the index of all cuts.
        return AlignmentFolder.open, (self.folder,)

    def __contains__(self, cut_id: str) -> bool:
        return cut_id in self.store

    def transition_ids(self, cut_id: str, num_frames: int | None = None) -> np.ndarray:
        """(T,) int32 of one cut; with ``num_frames``, T must be that.

        Raises:
            InputError: the lengths differ, or a transition-id is none of the model.
        """
        found: np.ndarray = self.store[cut_id][FIELD]
        if num_frames is not None and len(found) != num_frames:
            raise InputError(
                f"{self.folder}: {cut_id}: {len(found)} frames aligned, {num_frames} frames of "
                "features; align the same feature data"
            )
        highest = 2 * self.transitions.num_transition_states
        if len(found) and not 1 <= found.min() <= found.max() <= highest:
            raise InputError(
                f"{self.folder}: {cut_id}: a transition-id lies outside 1 … {highest}; "
                "transitions.json is not of the model that aligned; align again"
            )
        return found
