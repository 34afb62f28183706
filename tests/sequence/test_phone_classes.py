"""Senones of one phone, against the question put to the tree in every context."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from am.errors import InputError
from am.sequence.phone_classes import phone_classes
from am.tree.context_tree import CENTRE, LEFT, RIGHT, ContextTree

# Roots: phone 1 alone (silence), phones 2 and 3 (variants of one), phone 4.
PHONES = {1: 0, 2: 1, 3: 1, 4: 2}


def tree(pdf_id: list[int]) -> ContextTree:
    """Phone 1: a leaf.  2, 3: left 1? centre 2?  4: right 1 or 2?"""
    members = np.zeros((9, 5), dtype=bool)
    members[1, 1] = members[2, 2] = True
    members[6, 1:3] = True
    return ContextTree(
        roots=np.array([-1, 0, 1, 1, 6], dtype=np.int32),
        position=np.array([-1, LEFT, CENTRE, -1, -1, -1, RIGHT, -1, -1], dtype=np.int8),
        members=members,
        yes=np.array([-1, 2, 4, -1, -1, -1, 7, -1, -1], dtype=np.int32),
        no=np.array([-1, 3, 5, -1, -1, -1, 8, -1, -1], dtype=np.int32),
        pdf_id=np.array(pdf_id, dtype=np.int32),
    )


def test_two_senones_are_alike_if_some_contexts_of_one_phone_have_them(tmp_path: Path) -> None:
    made = tree([3, -1, -1, 0, 4, 1, -1, 2, 5])
    made.save(tmp_path / "tree.json")
    classes = phone_classes(tmp_path / "tree.json")
    assert classes.shape == (6,)
    found = set()
    for phone, number in PHONES.items():
        left, right = (part.ravel() for part in np.meshgrid(np.arange(5), np.arange(5)))
        pdf_ids = made.pdf_ids(left, np.full(25, phone), right, np.zeros(25, dtype=int))
        found |= {(number, int(classes[pdf_id])) for pdf_id in pdf_ids}
    assert len(found) == len(set(PHONES.values())) == len({of_tree for _, of_tree in found})


def test_senones_of_no_one_phone_are_refused(tmp_path: Path) -> None:
    tree([0, -1, -1, 0, 4, 1, -1, 2, 3]).save(tmp_path / "tree.json")
    with pytest.raises(InputError, match=r"tree\.json: phones of different roots share senones"):
        phone_classes(tmp_path / "tree.json")
