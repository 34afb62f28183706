"""The decision tree that turns a triphone's state into a pdf-id.

The tree is a forest in arrays: an internal node asks whether the phone at one position of the
context window (0 left, 1 centre, 2 right) or the pdf-class (position ``PDF_CLASS``) is in a set,
and goes to ``yes`` or ``no``; a leaf has a pdf-id.  Each phone starts at a root of its own or at
one it shares.  Context outside the utterance is phone 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from am.errors import InputError
from am.hmm.topology import Topology

LEFT, CENTRE, RIGHT, PDF_CLASS = 0, 1, 2, 3


@dataclass(frozen=True)
class ContextTree:
    """A tree over (left phone, centre phone, right phone, pdf-class).

    Attributes:
        roots: (phones + 1,) int32, root node by phone-id; -1 where the phone has none.
        position: (nodes,) int8, which of the four is asked; -1 at a leaf.
        members: (nodes, values) bool, the asked set: phones, or pdf-classes.
        yes, no: (nodes,) int32, children; -1 at a leaf.
        pdf_id: (nodes,) int32, at a leaf; -1 at an internal node.
        frames: (nodes,) float64, frames of the statistics that reached each node; None where
            the tree was not grown on statistics.
        gain: (nodes,) float64, log-likelihood (natural) won by the node's split; NaN at a leaf
            and where the topology asked for the split; None as ``frames``.
    """

    roots: np.ndarray
    position: np.ndarray
    members: np.ndarray
    yes: np.ndarray
    no: np.ndarray
    pdf_id: np.ndarray
    frames: np.ndarray | None = None
    gain: np.ndarray | None = None

    @property
    def num_pdfs(self) -> int:
        """Number of leaves' distinct pdf-ids (senones)."""
        return int(self.pdf_id.max()) + 1

    def pdf_ids(
        self, left: np.ndarray, centre: np.ndarray, right: np.ndarray, pdf_class: np.ndarray
    ) -> np.ndarray:
        """The pdf-id of each of many triphone states.

        Args:
            left, centre, right: (n,) phone-ids, 0 outside the utterance.
            pdf_class: (n,) state's label, from 0.

        Returns:
            (n,) int32.

        Raises:
            InputError: a centre phone has no root.
        """
        windows = np.stack(np.broadcast_arrays(left, centre, right, pdf_class)).astype(np.int64)
        known = windows[CENTRE] < len(self.roots)
        node = self.roots[np.where(known, windows[CENTRE], 0)]
        if not known.all() or (node < 0).any():
            unknown = np.unique(windows[CENTRE, ~known | (node < 0)]).tolist()
            raise InputError(
                f"tree: no root for phones {unknown}; tree and phones must come from the same lang"
            )
        inner = np.flatnonzero(self.position[node] >= 0)
        while len(inner):
            asking = node[inner]
            value = windows[self.position[asking], inner]
            answer = self.members[asking, value]
            node[inner] = np.where(answer, self.yes[asking], self.no[asking])
            inner = inner[self.position[node[inner]] >= 0]
        return self.pdf_id[node]

    def pdf_id_table(self, centre: int, pdf_class: int) -> np.ndarray:
        """The pdf-ids of one phone's state in every context.

        Quick for whole phone sets: a node is reached by a set of left phones with a set of right
        phones, so each leaf fills a rectangle of the table, and no triphone is walked alone.

        Args:
            centre: phone-id.
            pdf_class: state's label, from 0.

        Returns:
            (phones + 1, phones + 1) int32 by left and right phone-id, 0 outside the utterance.

        Raises:
            InputError: the phone has no root.
        """
        if not 0 <= centre < len(self.roots) or self.roots[centre] < 0:
            raise InputError(
                f"tree: no root for phones [{centre}]; tree and phones must come from the same lang"
            )
        num_values = len(self.roots)
        table = np.empty((num_values, num_values), dtype=np.int32)
        everyone = np.arange(num_values)
        reached = [(int(self.roots[centre]), everyone, everyone)]
        while reached:
            node, left, right = reached.pop()
            asked = self.position[node]
            if len(left) == 0 or len(right) == 0:
                continue
            if asked < 0:
                table[left[:, None], right] = self.pdf_id[node]
                continue
            members, yes, no = self.members[node], int(self.yes[node]), int(self.no[node])
            if asked == LEFT:
                asked_for = members[left]
                reached += [(yes, left[asked_for], right), (no, left[~asked_for], right)]
            elif asked == RIGHT:
                asked_for = members[right]
                reached += [(yes, left, right[asked_for]), (no, left, right[~asked_for])]
            else:
                value = centre if asked == CENTRE else pdf_class
                reached.append((yes if members[value] else no, left, right))
        return table

    def triphone_pdf_ids(self, left: int, centre: int, right: int, num_states: int) -> list[int]:
        """The pdf-ids of the states of one triphone."""
        pdf_ids = self.pdf_ids(
            np.array([left]), np.array([centre]), np.array([right]), np.arange(num_states)
        )
        return [int(pdf_id) for pdf_id in pdf_ids]

    def possible_triples(self, topology: Topology) -> Iterator[tuple[int, int, int]]:
        """Every (phone, state, pdf-id) that some context of the phone can have."""
        for phone, num_states in topology.states_of_phone.items():
            for state in range(num_states):
                for pdf_id in self._reachable(phone, state):
                    yield phone, state, pdf_id

    def _reachable(self, phone: int, pdf_class: int) -> set[int]:
        found: set[int] = set()
        stack = [int(self.roots[phone])]
        while stack:
            node = stack.pop()
            asked = self.position[node]
            if asked < 0:
                found.add(int(self.pdf_id[node]))
            elif asked in (CENTRE, PDF_CLASS):
                value = phone if asked == CENTRE else pdf_class
                child = self.yes if self.members[node, value] else self.no
                stack.append(int(child[node]))
            else:
                stack += [int(self.yes[node]), int(self.no[node])]
        return found

    def save(self, path: Path) -> None:
        """Write as JSON; a question is the list of its members."""
        nodes: list[dict[str, Any]] = [
            {"pdf_id": int(self.pdf_id[node])}
            if self.position[node] < 0
            else {
                "position": int(self.position[node]),
                "members": np.flatnonzero(self.members[node]).tolist(),
                "yes": int(self.yes[node]),
                "no": int(self.no[node]),
            }
            for node in range(len(self.position))
        ]
        for name, values in (("frames", self.frames), ("gain", self.gain)):
            if values is not None:
                for node in np.flatnonzero(~np.isnan(values)).tolist():
                    nodes[node][name] = float(values[node])
        path.write_text(
            json.dumps(
                {"roots": self.roots.tolist(), "values": self.members.shape[1], "nodes": nodes}
            )
        )

    @staticmethod
    def load(path: Path) -> ContextTree:
        """Read what :meth:`save` wrote."""
        if not path.is_file():
            raise InputError(f"{path}: no such tree; give the folder of a trained model")
        stored = json.loads(path.read_text())
        nodes = stored["nodes"]
        members = np.zeros((len(nodes), stored["values"]), dtype=bool)
        for index, node in enumerate(nodes):
            members[index, node.get("members", [])] = True

        def column(name: str, dtype: type, default: float = -1) -> np.ndarray:
            return np.array([node.get(name, default) for node in nodes], dtype=dtype)

        grown = "frames" in nodes[0]
        return ContextTree(
            roots=np.array(stored["roots"], dtype=np.int32),
            position=column("position", np.int8),
            members=members,
            yes=column("yes", np.int32),
            no=column("no", np.int32),
            pdf_id=column("pdf_id", np.int32),
            frames=column("frames", np.float64, np.nan) if grown else None,
            gain=column("gain", np.float64, np.nan) if grown else None,
        )


def monophone_tree(roots: list[list[int]], topology: Topology) -> ContextTree:
    """One leaf for each pdf-class of each group of phones; no question on the context.

    Args:
        roots: groups of phone-ids that share their states.
        topology: the phones of a group have the same number of states.
    """
    max_phone = max(topology.states_of_phone)
    max_states = max(topology.states_of_phone.values())
    root_of_phone = np.full(max_phone + 1, -1, dtype=np.int32)
    position: list[int] = []
    questions: list[list[int]] = []
    yes: list[int] = []
    no: list[int] = []
    pdf_id: list[int] = []
    next_pdf = 0

    def add(asked: int, question: list[int], yes_child: int, no_child: int, pdf: int) -> int:
        for values, value in ((position, asked), (yes, yes_child), (no, no_child), (pdf_id, pdf)):
            values.append(value)
        questions.append(question)
        return len(position) - 1

    for group in roots:
        num_states = topology.num_states(group[0])
        node = add(-1, [], -1, -1, next_pdf)
        for state in range(1, num_states):
            leaf = add(-1, [], -1, -1, next_pdf + state)
            node = add(PDF_CLASS, [state], leaf, node, -1)
        root_of_phone[group] = node
        next_pdf += num_states
    members = np.zeros((len(position), max(max_phone + 1, max_states)), dtype=bool)
    for index, question in enumerate(questions):
        members[index, question] = True
    return ContextTree(
        roots=root_of_phone,
        position=np.array(position, dtype=np.int8),
        members=members,
        yes=np.array(yes, dtype=np.int32),
        no=np.array(no, dtype=np.int32),
        pdf_id=np.array(pdf_id, dtype=np.int32),
    )
