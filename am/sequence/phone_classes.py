"""Which senones belong to the same phone, for a criterion that counts phones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from am.errors import InputError
from am.tree.context_tree import ContextTree


def phone_classes(tree_path: Path) -> np.ndarray:
    """(P,) int64 class of each pdf-id; two are alike where their senones are of one base phone.

    A class is a root of the tree, which the stress and position variants of a phone share.

    Raises:
        InputError: a senone stands below several roots, so that it is of no one phone.
    """
    tree = ContextTree.load(tree_path)
    classes = np.full(tree.num_pdfs, -1, dtype=np.int64)
    for number, root in enumerate(np.unique(tree.roots[tree.roots >= 0]).tolist()):
        pdf_ids = _pdf_ids_below(tree, root)
        if (classes[pdf_ids] >= 0).any():
            raise InputError(
                f"{tree_path}: phones of different roots share senones; criterion=mpfe needs "
                "senones that tell phones apart"
            )
        classes[pdf_ids] = number
    return classes


def _pdf_ids_below(tree: ContextTree, root: int) -> np.ndarray:
    """The distinct pdf-ids of the leaves below a node."""
    found, nodes = set(), [root]
    while nodes:
        node = nodes.pop()
        if tree.position[node] < 0:
            found.add(int(tree.pdf_id[node]))
        else:
            nodes += [int(tree.yes[node]), int(tree.no[node])]
    return np.array(sorted(found))
