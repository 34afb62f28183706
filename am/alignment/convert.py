"""An alignment in the transition-ids of another tree, at its own or at the low frame rate."""

from __future__ import annotations

import numpy as np

from am.alignment.low_frame_rate import labelled_frames, low_rate_windows
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.tree.context_tree import CENTRE, LEFT, PDF_CLASS, RIGHT, ContextTree
from am.tree.statistics import phone_segments, triphone_windows


class AlignmentConverter:
    """Turns transition-ids of one model into those of a tree grown on it.

    Args:
        transitions, topology: of the model that made the alignments.
        tree: gives the new pdf-ids.
        new_transitions: has a transition-state for whatever ``tree`` can give.
        low_frame_rate: whether the result has one state a phone and a frame every 30 ms.
    """

    def __init__(
        self,
        transitions: TransitionModel,
        topology: Topology,
        tree: ContextTree,
        new_transitions: TransitionModel,
        *,
        low_frame_rate: bool = False,
    ):
        self._transitions = transitions
        self._topology = topology
        self._tree = tree
        self._low_frame_rate = low_frame_rate
        self._num_states = int(new_transitions.states.max()) + 1
        self._num_pdfs = new_transitions.num_pdfs
        # The model's triples are sorted, hence so are their codes.
        self._codes = self._encode(
            new_transitions.phones, new_transitions.states, new_transitions.pdf_ids
        )

    def __call__(self, transition_ids: np.ndarray) -> np.ndarray:
        """(T,) transition-ids → (T,) or, at the low frame rate, (ceil(T / 3),) int32."""
        windows = triphone_windows(transition_ids, self._transitions, self._topology)
        stays = self._transitions.is_self_loop(transition_ids)
        if self._low_frame_rate:
            segment = phone_segments(transition_ids, self._transitions, self._topology)
            segment = segment[labelled_frames(len(transition_ids))]
            stays = segment == np.append(segment[1:], -1)
            windows = low_rate_windows(windows)
        pdf_ids = pdf_ids_of_windows(self._tree, windows)
        wanted = self._encode(windows[CENTRE], windows[PDF_CLASS], pdf_ids)
        transition_states = np.searchsorted(self._codes, wanted) + 1
        return (2 * transition_states - stays).astype(np.int32)

    def _encode(self, phones: np.ndarray, states: np.ndarray, pdf_ids: np.ndarray) -> np.ndarray:
        return (phones.astype(np.int64) * self._num_states + states) * self._num_pdfs + pdf_ids


def pdf_ids_of_windows(tree: ContextTree, windows: np.ndarray) -> np.ndarray:
    """(n,) int32 pdf-ids of triphone states (4, n)."""
    return tree.pdf_ids(windows[LEFT], windows[CENTRE], windows[RIGHT], windows[PDF_CLASS])
