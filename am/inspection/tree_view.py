"""A context tree for the eye: one root's splits as text, and a table of all roots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from am.errors import InputError
from am.hmm.topology import Topology
from am.inspection.phone_names import PhoneNames
from am.inspection.tables import table
from am.inspection.tree_questions import QuestionWords
from am.lang.lang import Lang, check_phones
from am.tree.context_tree import PDF_CLASS, ContextTree


@dataclass(frozen=True)
class TreeNode:
    """A node as it is shown.

    Attributes:
        question: in words; empty at a leaf.
        frames: that reached the node when the tree was grown; None where that is not stored.
        gain: log-likelihood (natural) that the split won; None at a leaf, where the topology
            asked for the split, and where it is not stored.
        pdf_id: of a leaf; -1 at a split.
        children: where yes and no lead to; empty at a leaf and where the depth is limited.
        num_leaves: below the node, shown or not; itself counted if it is a leaf.
        senones: pdf-ids of these leaves.
    """

    question: str
    frames: float | None
    gain: float | None
    pdf_id: int
    children: tuple[TreeNode, ...]
    num_leaves: int
    senones: frozenset[int]

    @property
    def facts(self) -> str:
        """Frames and gain, or senone and frames, in a few words."""
        parts = []
        if self.pdf_id >= 0:
            parts.append(f"senone {self.pdf_id}")
        if self.frames is not None:
            parts.append(f"{self.frames:.0f} frames")
        if self.gain is not None:
            parts.append(f"gain {self.gain:.1f}")
        if self.pdf_id < 0 and not self.children:
            parts.append(f"{self.num_leaves} leaves below")
        return ", ".join(parts)

    def leaves(self) -> Iterator[TreeNode]:
        """The leaves below that are shown, yes before no."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()

    @property
    def depth(self) -> int:
        """Questions on the longest path that is shown."""
        return max((1 + child.depth for child in self.children), default=0)


class TreeView:
    """A tree with the names of its phones.

    Args:
        folder: holds ``tree.json``, ``topology.json`` and ``phones.txt``: a GMM, an alignment
            or senones.
        lang_folder: that the tree was grown with.

    Raises:
        InputError: the folder holds no tree, or one of other phones.
    """

    def __init__(self, folder: Path, lang_folder: Path):
        lang = Lang.load(lang_folder)
        self.tree = ContextTree.load(folder / "tree.json")
        self.topology = Topology.load(folder / "topology.json")
        check_phones(lang, folder)
        self.names = PhoneNames(lang)
        self._words = QuestionWords(self.names, lang.extra_questions)

    def root(self, phone: int, state: int | None = None, max_depth: int | None = None) -> TreeNode:
        """The tree of a phone's root.

        Args:
            phone: phone-id; its variants share the root.
            state: HMM state, from 0: questions about the state are answered, not shown.  A
                node's frames are still those of all states that reach it.
            max_depth: questions shown on a path.

        Raises:
            InputError: the phone has no such state.
        """
        num_states = self.topology.num_states(phone)
        if state is not None and not 0 <= state < num_states:
            raise InputError(
                f"{self.names.symbols[phone]} has no HMM state {state}; give 0 to {num_states - 1}"
            )
        return self._node(int(self.tree.roots[phone]), state, max_depth)

    def title(self, phone: int, state: int | None = None) -> str:
        """The base phones that share a phone's root, and the state."""
        sharing = np.flatnonzero(self.tree.roots == self.tree.roots[phone])
        named = ", ".join(self.names.listed(sharing.tolist()))
        num_states = self.topology.num_states(phone)
        return f"{named}, {'all states' if state is None else f'state {state}'} of {num_states}"

    def text(self, root: TreeNode, title: str) -> str:
        """One line a node: its question or senone, its frames, the gain of its split."""
        head = f"{title}: {root.num_leaves} leaves, {len(root.senones)} senones"
        return "\n".join([head, *_lines(root, "", "")])

    def summary(self) -> str:
        """A table of the roots: leaves, senones, depth, frames."""
        rows: list[tuple[str, ...]] = [("base phones", "leaves", "senones", "depth", "frames")]
        for number in dict.fromkeys(self.tree.roots[self.tree.roots >= 0].tolist()):
            sharing = np.flatnonzero(self.tree.roots == number).tolist()
            node = self._node(number, None, None)
            counts = (node.num_leaves, len(node.senones), node.depth)
            frames = "?" if node.frames is None else f"{node.frames:.0f}"
            rows.append((" ".join(self.names.listed(sharing)), *map(str, counts), frames))
        leaves = int((self.tree.position < 0).sum())
        head = f"{len(rows) - 1} roots, {leaves} leaves, {self.tree.num_pdfs} senones"
        return "\n".join([head + self._totals(), *table(rows)])

    def _totals(self) -> str:
        """Frames and gains of the whole tree, where they are stored."""
        frames, gain = self.tree.frames, self.tree.gain
        if frames is None or gain is None:
            return "; frames and gains are not stored, grow the tree again to see them"
        total = float(frames[np.unique(self.tree.roots[self.tree.roots >= 0])].sum())
        splits = int(np.isfinite(gain).sum())
        won = float(np.nansum(gain)) / max(total, 1.0)
        return f", {total:.0f} frames; {splits} splits won {won:.3f} log-likelihood a frame"

    def _node(self, node: int, state: int | None, max_depth: int | None) -> TreeNode:
        tree = self.tree
        while state is not None and tree.position[node] == PDF_CLASS:
            node = int((tree.yes if tree.members[node, state] else tree.no)[node])
        frames = None if tree.frames is None else float(tree.frames[node])
        if tree.position[node] < 0:
            pdf_id = int(tree.pdf_id[node])
            return TreeNode("", frames, None, pdf_id, (), 1, frozenset({pdf_id}))
        deeper = None if max_depth is None else max_depth - 1
        children = tuple(
            self._node(int(child[node]), state, deeper) for child in (tree.yes, tree.no)
        )
        members = np.flatnonzero(tree.members[node]).tolist()
        gain = None if tree.gain is None or np.isnan(tree.gain[node]) else float(tree.gain[node])
        num_leaves = sum(child.num_leaves for child in children)
        shown = children if max_depth is None or max_depth > 0 else ()
        question = self._words.describe(int(tree.position[node]), members)
        senones = children[0].senones | children[1].senones
        return TreeNode(question, frames, gain, -1, shown, num_leaves, senones)


def _lines(node: TreeNode, first: str, following: str) -> Iterator[str]:
    """A node's line behind ``first`` and those of its children behind ``following``."""
    question = f"{node.question}? " if node.question else ""
    yield f"{first}{question}[{node.facts}]"
    for child, answer in zip(node.children, ("yes", "no"), strict=False):
        last = answer == "no"
        yield from _lines(
            child,
            f"{following}{'└─' if last else '├─'} {answer}: ",
            f"{following}{'   ' if last else '│  '}",
        )
