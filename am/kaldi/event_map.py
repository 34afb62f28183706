"""Kaldi's decision tree: the file ``tree``, and how it becomes a ContextTree and comes of one.

As Kaldi's ``tree/event-map.h`` and ``tree/context-dep.cc`` define it.  A node asks one key: a place
in the window of phones (from 0), or the pdf-class (``PDF_CLASS_KEY``).  Of the three kinds of node,
``CE`` is a leaf, ``SE`` asks whether the value is in a set, ``TE`` has a branch for each value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from am.errors import InputError
from am.kaldi.tokens import KaldiReader, KaldiWriter
from am.tree.context_tree import CENTRE, LEFT, PDF_CLASS, RIGHT, ContextTree

PDF_CLASS_KEY = -1
# Kaldi's own trees are some tens deep; far more is no tree.
MAX_DEPTH = 250


@dataclass(frozen=True)
class Leaf:
    """``CE``: the answer."""

    pdf_id: int


@dataclass(frozen=True)
class Split:
    """``SE``: ``yes`` where the key's value is in ``values``, else ``no``."""

    key: int
    values: tuple[int, ...]
    yes: EventMap
    no: EventMap


@dataclass(frozen=True)
class Table:
    """``TE``: the branch of each value from 0; None where the value cannot occur."""

    key: int
    branches: tuple[EventMap | None, ...]


EventMap: TypeAlias = Leaf | Split | Table


@dataclass(frozen=True)
class KaldiTree:
    """Kaldi's ``ContextDependency``.

    Attributes:
        context_width: phones in the window, e.g. 3.
        central_position: place of the phone itself, e.g. 1.
        root: asks first.
    """

    context_width: int
    central_position: int
    root: EventMap


def read_tree(path: Path) -> KaldiTree:
    """Read a file ``tree``, text or binary.

    Raises:
        InputError: it is none, or is cut short.
    """
    reader = KaldiReader(path, "a decision tree (tree)")
    reader.token("ContextDependency")
    context_width, central_position = reader.integer(), reader.integer()
    # Older versions have a map of pdf-classes first.
    if reader.token("ToLength", "ToPdf") == "ToLength":
        _read_map(reader, 0)
        reader.token("ToPdf")
    root = _read_map(reader, 0)
    reader.token("EndContextDependency")
    if root is None:
        raise reader.fault("an empty tree")
    return KaldiTree(context_width, central_position, root)


def write_tree(path: Path, tree: KaldiTree, *, binary: bool = True) -> None:
    """Write a file ``tree``."""
    writer = KaldiWriter(binary=binary)
    writer.token("ContextDependency")
    writer.integer(tree.context_width)
    writer.integer(tree.central_position)
    writer.token("ToPdf")
    _write_map(writer, tree.root)
    writer.token("EndContextDependency")
    writer.end_line()
    path.write_bytes(writer.to_bytes())


def _read_map(reader: KaldiReader, depth: int) -> EventMap | None:
    if depth > MAX_DEPTH:
        raise reader.fault(f"a tree deeper than {MAX_DEPTH} questions")
    kind = reader.token("CE", "SE", "TE", "NULL")
    if kind == "NULL":
        return None
    if kind == "CE":
        pdf_id = reader.integer()
        if pdf_id < 0:
            raise reader.fault(f"the pdf-id {pdf_id}")
        return Leaf(pdf_id)
    key = reader.integer()
    if kind == "SE":
        values = tuple(reader.integers().tolist())
        reader.token("{")
        yes, no = _read_map(reader, depth + 1), _read_map(reader, depth + 1)
        reader.token("}")
        if yes is None or no is None:
            raise reader.fault("a question without an answer")
        return Split(key, values, yes, no)
    count = reader.integer()
    reader.token("(")
    branches = []
    for _ in range(count):
        branches.append(_read_map(reader, depth + 1))
    reader.token(")")
    return Table(key, tuple(branches))


def _write_map(writer: KaldiWriter, node: EventMap | None) -> None:
    if node is None:
        writer.token("NULL")
    elif isinstance(node, Leaf):
        writer.token("CE")
        writer.integer(node.pdf_id)
    elif isinstance(node, Split):
        writer.token("SE")
        writer.integer(node.key)
        writer.integers(np.array(node.values, dtype=np.int32))
        writer.token("{")
        _write_map(writer, node.yes)
        _write_map(writer, node.no)
        writer.token("}")
        writer.end_line()
    else:
        writer.token("TE")
        writer.integer(node.key)
        writer.integer(len(node.branches), signed=False)
        writer.token("(")
        for branch in node.branches:
            _write_map(writer, branch)
        writer.token(")")
        writer.end_line()


def to_context_tree(
    tree: KaldiTree, phone_of: Mapping[int, int], num_values: int, path: Path
) -> ContextTree:
    """The same decisions as a ContextTree.

    Args:
        tree: of Kaldi.
        phone_of: Kaldi's phone-id → ours, of every phone that has an HMM.
        num_values: more than any of our phone-ids and pdf-classes.
        path: for messages.

    Raises:
        InputError: the tree asks about phones further away than the neighbours, or knows
            nothing of a phone.
    """
    return _Conversion(tree, phone_of, num_values, path).context_tree()


class _Conversion:
    """Grows the arrays of a ContextTree from a Kaldi tree.

    A subtree reached by several phones is converted once, so that they share their root.
    """

    def __init__(self, tree: KaldiTree, phone_of: Mapping[int, int], num_values: int, path: Path):
        self._tree = tree
        self._phone_of = {0: 0, **phone_of}
        self._path = path
        self._num_values = num_values
        self._node_of: dict[int, int] = {}
        self._position: list[int] = []
        self._members: list[list[int]] = []
        self._yes: list[int] = []
        self._no: list[int] = []
        self._pdf_id: list[int] = []

    def context_tree(self) -> ContextTree:
        """Convert what each phone can reach."""
        phones = {kaldi: ours for kaldi, ours in self._phone_of.items() if ours}
        roots = np.full(max(phones.values()) + 1, -1, dtype=np.int32)
        for kaldi_phone, phone in phones.items():
            roots[phone] = self._convert(self._root_of(kaldi_phone))
        members = np.zeros((len(self._position), self._num_values), dtype=bool)
        for node, values in enumerate(self._members):
            members[node, values] = True
        return ContextTree(
            roots=roots,
            position=np.array(self._position, dtype=np.int8),
            members=members,
            yes=np.array(self._yes, dtype=np.int32),
            no=np.array(self._no, dtype=np.int32),
            pdf_id=np.array(self._pdf_id, dtype=np.int32),
        )

    def _root_of(self, kaldi_phone: int) -> EventMap:
        """The first node that asks something other than the phone itself."""
        node: EventMap | None = self._tree.root
        while node is not None and not isinstance(node, Leaf):
            if self._position_of(node.key) != CENTRE:
                break
            if isinstance(node, Split):
                node = node.yes if kaldi_phone in node.values else node.no
            else:
                known = kaldi_phone < len(node.branches)
                node = node.branches[kaldi_phone] if known else None
        if node is None:
            raise InputError(
                f"{self._path}: no branch for phone-id {kaldi_phone}; give the tree and the "
                "model of one folder"
            )
        return node

    def _position_of(self, key: int) -> int:
        if key == PDF_CLASS_KEY:
            return PDF_CLASS
        position = key - self._tree.central_position + CENTRE
        if not LEFT <= position <= RIGHT:
            raise InputError(
                f"{self._path}: asks about phones further away than the neighbours (context of "
                f"{self._tree.context_width} phones); only trees of at most triphones can be used"
            )
        return position

    def _convert(self, node: EventMap) -> int:
        if id(node) not in self._node_of:
            self._node_of[id(node)] = self._convert_new(node)
        return self._node_of[id(node)]

    def _convert_new(self, node: EventMap) -> int:
        if isinstance(node, Leaf):
            return self._add(-1, [], -1, -1, node.pdf_id)
        position = self._position_of(node.key)
        if isinstance(node, Split):
            values = self._our_values(position, node.values)
            no = self._convert(node.no)
            return self._add(position, values, self._convert(node.yes), no, -1) if values else no
        branches = [
            (values, branch)
            for value, branch in enumerate(node.branches)
            if branch is not None and (values := self._our_values(position, (value,)))
        ]
        if not branches:
            raise InputError(f"{self._path}: a question without answers; give a whole tree")
        # Only the last branch needs no question: a value that has no branch does not occur.
        index = self._convert(branches[-1][1])
        for values, branch in reversed(branches[:-1]):
            index = self._add(position, values, self._convert(branch), index, -1)
        return index

    def _our_values(self, position: int, values: tuple[int, ...]) -> list[int]:
        """The asked values in our ids; those that cannot occur are dropped."""
        if position == PDF_CLASS:
            return [value for value in values if 0 <= value < self._num_values]
        return sorted(self._phone_of[value] for value in values if value in self._phone_of)

    def _add(self, position: int, members: list[int], yes: int, no: int, pdf_id: int) -> int:
        self._position.append(position)
        self._members.append(members)
        self._yes.append(yes)
        self._no.append(no)
        self._pdf_id.append(pdf_id)
        return len(self._position) - 1


def from_context_tree(tree: ContextTree) -> KaldiTree:
    """The same decisions as a Kaldi tree, phone-ids unchanged.

    A tree that never asks for a neighbour becomes one without context, as Kaldi's monophone
    systems have it.
    """
    asks_neighbours = bool(np.isin(tree.position, (LEFT, RIGHT)).any())
    width, centre = (3, 1) if asks_neighbours else (1, 0)

    def convert(node: int) -> EventMap:
        position = int(tree.position[node])
        if position < 0:
            return Leaf(int(tree.pdf_id[node]))
        key = PDF_CLASS_KEY if position == PDF_CLASS else position - CENTRE + centre
        members = tuple(np.flatnonzero(tree.members[node]).tolist())
        return Split(key, members, convert(int(tree.yes[node])), convert(int(tree.no[node])))

    phones_of_root: dict[int, list[int]] = {}
    for phone in np.flatnonzero(tree.roots >= 0).tolist():
        phones_of_root.setdefault(int(tree.roots[phone]), []).append(phone)
    groups = [(phones, convert(root)) for root, phones in phones_of_root.items()]
    return KaldiTree(width, centre, _choose_by_phone(groups, centre))


def _choose_by_phone(groups: list[tuple[list[int], EventMap]], key: int) -> EventMap:
    """A node that leads each group of phones to its own subtree: halves, as Kaldi's trees do."""
    if len(groups) == 1:
        return groups[0][1]
    half = len(groups) // 2
    asked = sorted(phone for phones, _ in groups[:half] for phone in phones)
    return Split(
        key,
        tuple(asked),
        _choose_by_phone(groups[:half], key),
        _choose_by_phone(groups[half:], key),
    )
