"""The tree itself, on one that can be checked by eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from am.errors import InputError
from am.hmm.topology import Topology
from am.tree.context_tree import CENTRE, LEFT, RIGHT, ContextTree, monophone_tree


def small_tree() -> ContextTree:
    """Phone 1 has a leaf; phones 2 and 3 share a root::

    left in {1, 3}? yes: pdf 2
                    no: centre is 3? yes: pdf 1
                                     no: right in {0}? yes: pdf 2, no: pdf 3
    """
    members = np.zeros((8, 4), dtype=bool)
    members[1, [1, 3]] = True
    members[3, 3] = True
    members[5, 0] = True
    return ContextTree(
        roots=np.array([-1, 0, 1, 1], dtype=np.int32),
        position=np.array([-1, LEFT, -1, CENTRE, -1, RIGHT, -1, -1], dtype=np.int8),
        members=members,
        yes=np.array([-1, 2, -1, 4, -1, 6, -1, -1], dtype=np.int32),
        no=np.array([-1, 3, -1, 5, -1, 7, -1, -1], dtype=np.int32),
        pdf_id=np.array([0, -1, 2, -1, 1, -1, 2, 3], dtype=np.int32),
    )


CASES = [
    ((0, 1, 0), 0),
    ((3, 1, 2), 0),
    ((1, 2, 0), 2),
    ((3, 3, 3), 2),
    ((0, 3, 0), 1),
    ((2, 3, 1), 1),
    ((2, 2, 0), 2),
    ((2, 2, 2), 3),
    ((0, 2, 1), 3),
]


@pytest.mark.parametrize("reloaded", [False, True])
def test_leaves(tmp_path: Path, reloaded: bool) -> None:
    tree = small_tree()
    if reloaded:
        tree.save(tmp_path / "tree.json")
        tree = ContextTree.load(tmp_path / "tree.json")
    left, centre, right = np.array([triphone for triphone, _ in CASES]).T
    found = tree.pdf_ids(left, centre, right, np.zeros(len(CASES), dtype=int))
    assert found.tolist() == [pdf_id for _, pdf_id in CASES]
    for (left, centre, right), pdf_id in CASES:
        assert tree.pdf_id_table(centre, 0)[left, right] == pdf_id
    assert tree.num_pdfs == 4
    assert set(tree.possible_triples(Topology.uniform([1, 2, 3], 1))) == {
        (1, 0, 0),
        (2, 0, 2),
        (2, 0, 3),
        (3, 0, 1),
        (3, 0, 2),
    }


@pytest.mark.parametrize("phone", [0, 4, 100])
def test_a_phone_without_a_root_is_named(phone: int) -> None:
    with pytest.raises(InputError, match=rf"no root for phones \[{phone}\]"):
        small_tree().pdf_ids(np.array([1, 1]), np.array([2, phone]), np.array([1, 1]), np.array(0))
    with pytest.raises(InputError, match=rf"no root for phones \[{phone}\]"):
        small_tree().pdf_id_table(phone, 0)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such tree"):
        ContextTree.load(tmp_path / "tree.json")


def test_monophones() -> None:
    topology = Topology({1: 5, 2: 3, 3: 3, 4: 1})
    tree = monophone_tree([[1], [2, 3], [4]], topology)
    assert tree.num_pdfs == 9
    assert tree.triphone_pdf_ids(0, 1, 2, 5) == [0, 1, 2, 3, 4]
    assert tree.triphone_pdf_ids(4, 2, 2, 3) == [5, 6, 7]
    assert tree.triphone_pdf_ids(1, 3, 0, 3) == [5, 6, 7]
    assert tree.triphone_pdf_ids(1, 4, 0, 1) == [8]
