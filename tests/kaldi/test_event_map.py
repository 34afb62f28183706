"""Trees: Kaldi's files byte by byte, and its own answers to every triphone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kaldi_cases import FIXTURES, phone_of, rows_of

from am.errors import InputError
from am.hmm.topology import Topology
from am.kaldi.event_map import (
    KaldiTree,
    Leaf,
    Split,
    Table,
    from_context_tree,
    read_tree,
    to_context_tree,
    write_tree,
)
from am.tree.context_tree import monophone_tree

PHONES = {1: 3, 2: 1, 3: 2}
KEYS = st.sampled_from([-1, 0, 1, 2])
LEAVES = st.builds(Leaf, st.integers(0, 50))


def nodes(children):
    values = st.sets(st.integers(0, 5)).map(lambda found: tuple(sorted(found)))
    branches = st.lists(st.none() | children, max_size=4).map(tuple)
    return st.builds(Split, KEYS, values, children, children) | st.builds(Table, KEYS, branches)


TREES = st.builds(KaldiTree, st.just(3), st.just(1), st.recursive(LEAVES, nodes, max_leaves=20))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tree") / "tree"


def test_kaldis_binary_file_is_read_and_written_byte_by_byte(path):
    tree = read_tree(FIXTURES / "binary" / "tree")
    write_tree(path, tree)
    assert path.read_bytes() == (FIXTURES / "binary" / "tree").read_bytes()


def test_kaldis_text_file_is_the_same_tree(path):
    tree = read_tree(FIXTURES / "text" / "tree")
    assert tree == read_tree(FIXTURES / "binary" / "tree")
    write_tree(path, tree, binary=False)
    assert path.read_text().split() == (FIXTURES / "text" / "tree").read_text().split()


@pytest.mark.parametrize("binary", [True, False])
@given(tree=TREES)
def test_any_tree_is_read_back(path, binary, tree):
    write_tree(path, tree, binary=binary)
    assert read_tree(path) == tree


def test_every_triphone_has_kaldis_answer(lang):
    ours = phone_of(lang)
    tree = to_context_tree(read_tree(FIXTURES / "text" / "tree"), ours, 8, Path("tree"))
    ours = {0: 0, **ours}
    for left, centre, right, *pdf_ids in (
        [int(x) for x in row] for row in rows_of("tree_answers.txt")
    ):
        found = tree.triphone_pdf_ids(ours[left], ours[centre], ours[right], len(pdf_ids))
        assert found == pdf_ids


def answer(tree: KaldiTree, window: tuple[int, int, int], pdf_class: int) -> int | None:
    """Kaldi's meaning of a tree, directly; None where it has no answer."""
    node = tree.root
    while not isinstance(node, Leaf):
        value = pdf_class if node.key == -1 else window[node.key]
        if isinstance(node, Split):
            node = node.yes if value in node.values else node.no
        else:
            node = node.branches[value] if value < len(node.branches) else None
        if node is None:
            return None
    return node.pdf_id


@given(tree=TREES)
def test_the_context_tree_and_its_way_back_answer_alike(tree):
    try:
        converted = to_context_tree(tree, PHONES, 4, Path("tree"))
    except InputError:
        return
    back = from_context_tree(converted)
    for kaldi in np.ndindex(4, 3, 4, 3):
        window, pdf_class = (kaldi[0], kaldi[1] + 1, kaldi[2]), kaldi[3]
        ours = tuple({0: 0, **PHONES}[phone] for phone in window)
        (found,) = converted.pdf_ids(*(np.array([value]) for value in (*ours, pdf_class)))
        expected = answer(tree, window, pdf_class)
        assert expected is None or found == expected
        shown = ours[1:2] if back.context_width == 1 else ours
        assert answer(back, shown, pdf_class) == found


def test_a_tree_without_neighbours_goes_out_without_context(path):
    tree = monophone_tree([[1], [2, 3]], Topology({1: 5, 2: 3, 3: 3}))
    write_tree(path, from_context_tree(tree))
    found = read_tree(path)
    assert (found.context_width, found.central_position) == (1, 0)
    back = to_context_tree(found, {1: 1, 2: 2, 3: 3}, 6, path)
    for phone, states in ((1, 5), (2, 3), (3, 3)):
        assert back.triphone_pdf_ids(0, phone, 0, states) == tree.triphone_pdf_ids(
            0, phone, 0, states
        )


def test_a_wider_context_is_refused():
    tree = KaldiTree(5, 2, Split(0, (1,), Leaf(0), Leaf(1)))
    with pytest.raises(InputError, match="further away than the neighbours"):
        to_context_tree(tree, PHONES, 4, Path("tree"))


def test_a_phone_without_a_branch_is_refused():
    tree = KaldiTree(3, 1, Table(1, (None, Leaf(0))))
    with pytest.raises(InputError, match="no branch for phone-id 2"):
        to_context_tree(tree, PHONES, 4, Path("tree"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ContextDependency 3 1 ToPdf SE 0 [ 1 ]\n{ CE 0", "found 'the end"),
        ("ContextDependency 3 1 ToPdf XE 0", "expected CE or SE or TE or NULL"),
        ("ContextDependency 3 1 ToPdf NULL EndContextDependency", "an empty tree"),
        ("ContextDependency 3 1 ToPdf SE 0 [ ] { NULL CE 1 } ", "without an answer"),
        ("ContextDependency 3 1 ToPdf CE -4 ", "the pdf-id -4"),
        ("<TransitionModel>", "expected ContextDependency"),
        ("ContextDependency 3 1 ToPdf " + 300 * "SE 0 [ 1 ] { ", "deeper than 250"),
        ("", "the end"),
    ],
)
def test_bad_trees_are_refused(path, text, problem):
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        read_tree(path)


@pytest.mark.parametrize("form", ["text", "binary"])
def test_a_tree_cut_short_anywhere_is_refused(path, form):
    whole = (FIXTURES / form / "tree").read_bytes()
    for length in range(0, len(whole.rstrip()), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_tree(path)
