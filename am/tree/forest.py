"""A context tree while it grows, root by root, and its leaves while they are merged."""

from __future__ import annotations

import heapq
import math

import numpy as np

from am.hmm.topology import Topology
from am.tree.clustering import Merge, bottom_up_merges, log_likelihood
from am.tree.context_tree import CENTRE, PDF_CLASS, ContextTree
from am.tree.splitting import Split, Splitter


class Forest:
    """The tree while it grows: nodes in lists, leaves that may be split in a heap.

    Args:
        splitter: finds a leaf's best split.
        windows: (4, N) the triphone states of the statistics.
        topology: of all phones.
        groups: phones that share a root; those of silence hold silence phones alone.
        silence: phones without context.
        num_values: see :class:`am.tree.splitting.Splitter`.

    Attributes:
        num_leaves: now, merged leaves counted apart.
        split_gains: log-likelihood won by each split so far.
        log_likelihood_at_roots: of all frames before any split, natural log.
    """

    def __init__(
        self,
        splitter: Splitter,
        windows: np.ndarray,
        topology: Topology,
        groups: list[list[int]],
        silence: frozenset[int],
        num_values: int,
    ):
        self.split_gains: list[float] = []
        self.log_likelihood_at_roots = 0.0
        self.num_leaves = 0
        self._splitter = splitter
        self._floor = splitter.variance_floor
        self._nobody = np.zeros(num_values, dtype=bool)
        self._position: list[int] = []
        self._members: list[np.ndarray] = []
        self._yes: list[int] = []
        self._no: list[int] = []
        self._frames: list[float] = []
        self._gain: list[float] = []
        self._total_of_leaf: dict[int, np.ndarray] = {}
        self._cluster_of_leaf: dict[int, int] = {}
        self._heap: list[tuple[float, int, int, Split]] = []
        # Leaves that may be merged, and the merges found for as many of them, by root.
        self._leaves_of_root: dict[int, list[int]] = {}
        self._merges_of_root: dict[int, tuple[int, list[Merge]]] = {}
        self._root_of_phone = np.full(max(topology.states_of_phone) + 1, -1, dtype=np.int32)

        order = np.argsort(windows[CENTRE], kind="stable")
        centre = windows[CENTRE, order]
        for group in groups:
            ranges = [np.searchsorted(centre, [phone, phone + 1]) for phone in group]
            states = np.sort(np.concatenate([order[low:high] for low, high in ranges]))
            if group[0] in silence:
                num_states = topology.num_states(group[0])
                root = self._add_silence(states, windows[PDF_CLASS, states], num_states)
            else:
                root = self._add_speech(states)
            self._root_of_phone[group] = root
        self.log_likelihood_at_roots = sum(
            float(log_likelihood(total, self._floor)) for total in self._total_of_leaf.values()
        )

    def split_until(self, num_leaves: float, min_gain: float) -> None:
        """Make the split that wins most, again and again."""
        while self._heap and self.num_leaves < num_leaves:
            if -self._heap[0][0] < min_gain:
                return
            _, node, root, split = heapq.heappop(self._heap)
            self.split_gains.append(split.gain)
            self._position[node], self._members[node] = split.position, split.members
            self._gain[node] = split.gain
            self.num_leaves -= 1
            del self._total_of_leaf[node]
            self._yes[node] = self._add_leaf(split.yes)
            self._no[node] = self._add_leaf(split.no)
            leaves = self._leaves_of_root[root]
            leaves.remove(node)
            for child, states in ((self._yes[node], split.yes), (self._no[node], split.no)):
                leaves.append(child)
                self._offer(child, root, states)

    @property
    def best_gain(self) -> float | None:
        """What the best split that is left would win; None if no leaf can be split."""
        return -self._heap[0][0] if self._heap else None

    def cheapest_merges(self) -> list[tuple[int, Merge]]:
        """All possible merges within roots, each with its root, the cheapest that can be next."""
        queue: list[tuple[float, int, int]] = []
        for root, leaves in self._leaves_of_root.items():
            if self._merges_of_root.get(root, (0,))[0] != len(leaves):
                rows = np.stack([self._total_of_leaf[leaf] for leaf in leaves])
                found = bottom_up_merges(rows, self._floor)
                self._merges_of_root[root] = len(leaves), found
            if len(leaves) > 1:
                queue.append((self._merges_of_root[root][1][0].cost, root, 0))
        heapq.heapify(queue)
        ordered: list[tuple[int, Merge]] = []
        while queue:
            _, root, place = heapq.heappop(queue)
            merges = self._merges_of_root[root][1]
            ordered.append((root, merges[place]))
            if place + 1 < len(merges):
                heapq.heappush(queue, (merges[place + 1].cost, root, place + 1))
        return ordered

    def apply(self, merges: list[tuple[int, Merge]]) -> None:
        """Let merged leaves share a cluster; the leaves themselves stay."""
        for root, merge in merges:
            leaves = self._leaves_of_root[root]
            kept, absorbed = leaves[merge.kept], leaves[merge.absorbed]
            for leaf in leaves:
                if self._cluster_of_leaf.get(leaf, leaf) == absorbed:
                    self._cluster_of_leaf[leaf] = kept

    def tree(self) -> ContextTree:
        """The tree as it is, with pdf-ids."""
        pdf_id = np.full(len(self._position), -1, dtype=np.int32)
        pdf_of_cluster: dict[int, int] = {}
        roots = self._root_of_phone[self._root_of_phone >= 0]
        stack = sorted({int(root) for root in roots}, reverse=True)
        while stack:
            node = stack.pop()
            if self._position[node] >= 0:
                stack += [self._no[node], self._yes[node]]
                continue
            cluster = self._cluster_of_leaf.get(node, node)
            pdf_id[node] = pdf_of_cluster.setdefault(cluster, len(pdf_of_cluster))
        return ContextTree(
            roots=self._root_of_phone,
            position=np.array(self._position, dtype=np.int8),
            members=np.stack(self._members),
            yes=np.array(self._yes, dtype=np.int32),
            no=np.array(self._no, dtype=np.int32),
            pdf_id=pdf_id,
            frames=np.array(self._frames),
            gain=np.array(self._gain),
        )

    def _add_node(self, position: int, members: np.ndarray, frames: float = 0.0) -> int:
        self._position.append(position)
        self._members.append(members)
        self._yes.append(-1)
        self._no.append(-1)
        self._frames.append(frames)
        self._gain.append(math.nan)
        return len(self._position) - 1

    def _add_leaf(self, states: np.ndarray) -> int:
        total = self._splitter.total(states)
        leaf = self._add_node(-1, self._nobody, float(total[0]))
        self._total_of_leaf[leaf] = total
        self.num_leaves += 1
        return leaf

    def _add_speech(self, states: np.ndarray) -> int:
        """One leaf that may be split; returns it."""
        root = self._add_leaf(states)
        self._leaves_of_root[root] = [root]
        self._offer(root, root, states)
        return root

    def _add_silence(self, states: np.ndarray, pdf_class: np.ndarray, num_states: int) -> int:
        """A leaf for each pdf-class; returns the node that asks first."""
        node = self._add_leaf(states[pdf_class == num_states - 1])
        for state in reversed(range(num_states - 1)):
            members = self._nobody.copy()
            members[state] = True
            asking = self._add_node(PDF_CLASS, members)
            self._yes[asking] = self._add_leaf(states[pdf_class == state])
            self._no[asking] = node
            self._frames[asking] = self._frames[self._yes[asking]] + self._frames[node]
            node = asking
        return node

    def _offer(self, leaf: int, root: int, states: np.ndarray) -> None:
        split = self._splitter.best(states)
        if split is not None:
            heapq.heappush(self._heap, (-split.gain, leaf, root, split))
