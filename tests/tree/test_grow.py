"""Whole trees against a plain best-first grower that works on raw frames."""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from am.hmm.topology import Topology
from am.tree.context_tree import CENTRE, LEFT, PDF_CLASS, RIGHT, ContextTree
from am.tree.questions import pdf_class_questions, phone_questions
from am.tree.statistics import TriphoneStatistics
from am.tree.unseen import share_roots_of_seen

VARIANCE_FLOOR = 0.01
SILENCE_LEAVES, SPEECH_ROOTS = 5, 4


def direct(frames: np.ndarray) -> float:
    if len(frames) == 0:
        return 0.0
    deviation = np.sqrt(np.maximum(frames.var(0), VARIANCE_FLOOR))
    return float(norm.logpdf(frames, frames.mean(0), deviation).sum())


class PlainGrower:
    """Leaves are sets of frames; each step tries every question at every leaf."""

    def __init__(self, language: Any, utterances: list[Any], statistics: TriphoneStatistics):
        self.states = np.array([state for made in utterances for state in made.states()])
        self.frames = np.concatenate([made.frames for made in utterances])
        sets = phone_questions(
            statistics, language.roots, language.topology, language.extra_questions, VARIANCE_FLOOR
        )
        self.questions = [(p, s) for p in (LEFT, CENTRE, RIGHT) for s in sets]
        self.questions += [(PDF_CLASS, s) for s in pdf_class_questions(5)]
        self.leaves = [
            np.flatnonzero(np.isin(self.states[:, CENTRE], root))
            for root in language.roots
            if root[0] not in language.silence
        ]
        self.best: dict[bytes, tuple[float, np.ndarray, np.ndarray] | None] = {}
        self.gains: list[float] = []

    def best_split(self, leaf: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
        key = leaf.tobytes()
        if key not in self.best:
            found = None
            for position, members in self.questions:
                yes = np.isin(self.states[leaf, position], members)
                if yes.all() or not yes.any():
                    continue
                parts = leaf[yes], leaf[~yes]
                gain = sum(direct(self.frames[part]) for part in parts)
                gain -= direct(self.frames[leaf])
                if found is None or gain > found[0] + 1e-6:
                    found = gain, *parts
            self.best[key] = found
        return self.best[key]

    def split_once(self) -> None:
        candidates = [(self.best_split(leaf), index) for index, leaf in enumerate(self.leaves)]
        (gain, yes, no), index = max(
            ((split, index) for split, index in candidates if split), key=lambda pair: pair[0][0]
        )
        self.leaves[index : index + 1] = [yes, no]
        self.gains.append(gain)


def partition(labels: Iterable[int]) -> set[tuple[int, ...]]:
    """Groups of equal labels, whatever the labels are."""
    groups: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        groups.setdefault(label, []).append(index)
    return {tuple(group) for group in groups.values()}


@pytest.fixture(scope="module")
def plain(language: Any, utterances: list[Any], statistics: TriphoneStatistics) -> PlainGrower:
    grower = PlainGrower(language, utterances, statistics)
    for _ in range(25):
        grower.split_once()
    return grower


def frame_pdf_ids(tree: ContextTree, states: np.ndarray) -> np.ndarray:
    return tree.pdf_ids(states[:, 0], states[:, 1], states[:, 2], states[:, 3])


def test_splits_are_those_of_the_plain_grower(
    language: Any, statistics: TriphoneStatistics, plain: PlainGrower
) -> None:
    num_leaves = SILENCE_LEAVES + SPEECH_ROOTS + len(plain.gains)
    tree, report = language.grow(statistics, num_leaves=num_leaves)
    np.testing.assert_allclose(report.split_gains, plain.gains, rtol=1e-6)
    pdf_ids = frame_pdf_ids(tree, plain.states)
    speech = np.flatnonzero(plain.states[:, CENTRE] != 1)
    expected = np.zeros(len(plain.states), dtype=int)
    for label, leaf in enumerate(plain.leaves):
        expected[leaf] = label
    assert partition(pdf_ids[speech]) == partition(expected[speech])
    assert report.leaves == report.leaves_before_merging == tree.num_pdfs == num_leaves


def test_silence_has_a_leaf_for_each_state_and_no_context(
    language: Any, statistics: TriphoneStatistics
) -> None:
    tree, _ = language.grow(statistics, num_leaves=60)
    edges = np.arange(8)
    left, right, state = (axis.ravel() for axis in np.meshgrid(edges, edges, range(5)))
    pdf_ids = tree.pdf_ids(left, np.array(1), right, state)
    assert len(set(zip(pdf_ids.tolist(), state.tolist(), strict=True))) == 5
    speech = {pdf_id for phone, _, pdf_id in tree.possible_triples(language.topology) if phone > 1}
    assert speech.isdisjoint(pdf_ids.tolist())
    assert speech | set(pdf_ids.tolist()) == set(range(60))


def test_every_triphone_has_the_leaf_that_its_answers_lead_to(
    tmp_path: Path, language: Any, statistics: TriphoneStatistics
) -> None:
    """All contexts, most of them never seen, walked by hand through the tree as written."""
    tree, _ = language.grow(statistics, num_leaves=40, cluster_threshold=200.0)
    tree.save(tmp_path / "tree.json")
    stored = json.loads((tmp_path / "tree.json").read_text())
    loaded = ContextTree.load(tmp_path / "tree.json")

    def walk(state: tuple[int, ...]) -> int:
        node = stored["nodes"][stored["roots"][state[CENTRE]]]
        while "pdf_id" not in node:
            answer = state[node["position"]] in node["members"]
            node = stored["nodes"][node["yes" if answer else "no"]]
        return int(node["pdf_id"])

    states = np.array(
        [
            (left, centre, right, state)
            for left, centre, right in itertools.product(range(8), range(1, 8), range(8))
            for state in range(language.topology.num_states(centre))
        ]
    )
    expected = [walk(tuple(state)) for state in states.tolist()]
    assert frame_pdf_ids(tree, states).tolist() == expected
    assert frame_pdf_ids(loaded, states).tolist() == expected
    triples = set(zip(states[:, CENTRE].tolist(), states[:, 3].tolist(), expected, strict=True))
    assert set(tree.possible_triples(language.topology)) >= triples
    assert set(expected) == set(range(tree.num_pdfs))
    assert tree.triphone_pdf_ids(2, 4, 0, 3) == [walk((2, 4, 0, state)) for state in range(3)]


def test_likelihoods_of_the_report(
    language: Any, statistics: TriphoneStatistics, plain: PlainGrower
) -> None:
    tree, report = language.grow(statistics, num_leaves=35, cluster_threshold=None, exact=True)
    pdf_ids = frame_pdf_ids(tree, plain.states)
    leaves = sum(direct(plain.frames[pdf_ids == pdf]) for pdf in range(tree.num_pdfs))
    silence = [(plain.states[:, CENTRE] == 1) & (plain.states[:, 3] == state) for state in range(5)]
    speech = [np.isin(plain.states[:, CENTRE], root) for root in language.roots[1:]]
    roots = sum(direct(plain.frames[chosen]) for chosen in silence + speech)
    assert report.frames == len(plain.frames)
    assert report.log_likelihood * report.frames == pytest.approx(leaves, rel=1e-7)
    assert report.log_likelihood_at_roots * report.frames == pytest.approx(roots, rel=1e-7)
    assert report.merge_cost > 0
    assert report.triphone_states == len(statistics)


@pytest.mark.parametrize("threshold", [None, 30.0, 150.0])
def test_merging_is_that_of_a_plain_loop(
    language: Any, statistics: TriphoneStatistics, plain: PlainGrower, threshold: float | None
) -> None:
    split, report = language.grow(statistics, num_leaves=40)
    merged, merged_report = language.grow(statistics, num_leaves=40, cluster_threshold=threshold)
    limit = min(report.split_gains) if threshold is None else threshold
    before = frame_pdf_ids(split, plain.states)
    root_of_frame = np.zeros(len(before), dtype=int)
    for index, root in enumerate(language.roots):
        root_of_frame[np.isin(plain.states[:, CENTRE], root)] = index
    clusters = {
        pdf: (int(root_of_frame[before == pdf][0]), np.flatnonzero(before == pdf))
        for pdf in range(split.num_pdfs)
    }
    while True:
        pairs = [
            (
                direct(plain.frames[a])
                + direct(plain.frames[b])
                - direct(plain.frames[np.concatenate([a, b])]),
                i,
                j,
            )
            for (i, (root, a)), (j, (other, b)) in itertools.combinations(clusters.items(), 2)
            if root == other != 0
        ]
        cost, kept, absorbed = min(pairs)
        if cost >= limit:
            break
        root, frames = clusters[kept]
        clusters[kept] = root, np.concatenate([frames, clusters.pop(absorbed)[1]])
    expected = np.zeros(len(before), dtype=int)
    for label, (_, frames) in clusters.items():
        expected[frames] = label
    assert merged_report.leaves == merged.num_pdfs == len(clusters) < 40
    assert partition(frame_pdf_ids(merged, plain.states)) == partition(expected)


@pytest.mark.parametrize("num_leaves", [9, 10, 17, 30, 61, 90])
def test_the_number_of_leaves_is_exact(
    language: Any, statistics: TriphoneStatistics, num_leaves: int
) -> None:
    tree, report = language.grow(
        statistics, num_leaves=num_leaves, cluster_threshold=None, exact=True
    )
    assert report.leaves == tree.num_pdfs == num_leaves
    triples = tree.possible_triples(language.topology)
    assert {pdf_id for _, _, pdf_id in triples} == set(range(num_leaves))


def test_without_exactness_merging_costs_leaves(
    language: Any, statistics: TriphoneStatistics
) -> None:
    tree, report = language.grow(statistics, num_leaves=61, cluster_threshold=None, exact=False)
    assert report.leaves_before_merging == 61
    assert report.leaves == tree.num_pdfs < 61


def test_gain_threshold(language: Any, statistics: TriphoneStatistics) -> None:
    _, everything = language.grow(statistics, num_leaves=100)
    for min_gain in (50.0, 200.0, 1e9):
        _, report = language.grow(statistics, num_leaves=100, min_gain=min_gain)
        end = next(i for i, gain in enumerate((*everything.split_gains, 0)) if gain < min_gain)
        expected = list(everything.split_gains[:end])
        assert list(report.split_gains) == expected
        assert report.leaves == SILENCE_LEAVES + SPEECH_ROOTS + len(expected)


def test_smallest_leaf(language: Any, statistics: TriphoneStatistics, plain: PlainGrower) -> None:
    tree, _ = language.grow(statistics, min_count=40.0)
    counts = np.bincount(frame_pdf_ids(tree, plain.states))
    assert counts[SILENCE_LEAVES:].min() >= 40
    finest, _ = language.grow(statistics)
    assert np.bincount(frame_pdf_ids(finest, plain.states)).min() < 40


def test_stress_variants_may_part(language: Any) -> None:
    """Phones 2 and 3 share a root; only the extra question can tell them apart."""
    statistics = TriphoneStatistics(1)
    frames = np.random.default_rng(0).normal(size=(200, 1))
    for phone in range(1, 8):
        windows = np.array([[6], [phone], [6], [0]]).repeat(200, axis=1)
        statistics.add(frames + (100.0 if phone == 3 else 0.0), windows)
    tree, _ = language.grow(statistics, min_gain=1.0)
    assert tree.triphone_pdf_ids(6, 2, 6, 1) != tree.triphone_pdf_ids(6, 3, 6, 1)
    assert tree.triphone_pdf_ids(6, 4, 6, 1) == tree.triphone_pdf_ids(6, 5, 6, 1)


def test_a_base_phone_that_was_never_seen_shares_the_nearest_root(
    language: Any, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(0)
    made = [
        language.made_of([2, 2, 7, 2, 7], [[3, 3, 3]] * 5, random),
        language.made_of([7, 2, 7], [[3, 3, 3]] * 3, random),
    ]
    tree, report = language.grow(language.statistics(made), num_leaves=11)
    assert report.leaves == tree.num_pdfs == 11
    assert report.roots == 3
    assert report.unseen.variants == (3,)
    assert report.unseen.borrowers == (((4, 5), (2, 3)), ((6,), (7,)))
    assert report.unseen.alone == (1,)
    pdf_ids = {
        phone: {
            pdf for centre, _, pdf in tree.possible_triples(language.topology) if centre == phone
        }
        for phone in range(1, 8)
    }
    assert pdf_ids[2] == pdf_ids[3] == pdf_ids[4] == pdf_ids[5]
    assert pdf_ids[6] == pdf_ids[7]
    assert len(pdf_ids[1]) == SILENCE_LEAVES
    assert pdf_ids[1] | pdf_ids[2] | pdf_ids[7] == set(range(11))
    with caplog.at_level(logging.INFO):
        report.unseen.log({f"P{phone}": phone for phone in range(1, 8)})
    assert "no frame is aligned to P4 P5: shares the leaves of P2 P3" in caplog.text
    assert "no frame is aligned to P6: shares the leaves of P7" in caplog.text
    assert "no frame is aligned to P1: the leaves stay untrained" in caplog.text
    assert "1 variants, which share the leaves of the others: P3" in caplog.text


def test_an_unseen_phone_does_not_share_a_root_of_unlike_states(language: Any) -> None:
    made = language.made_of([2, 2], [[3, 3, 3]] * 2, np.random.default_rng(0))
    topology = Topology({**language.topology.states_of_phone, 6: 2})
    groups, unseen = share_roots_of_seen(
        language.statistics([made]), language.roots, topology, language.silence
    )
    assert groups == [[1], [2, 3, 4, 5, 7], [6]]
    assert unseen.alone == (1, 6)


def test_too_few_leaves_are_explained(language: Any, statistics: TriphoneStatistics) -> None:
    _, report = language.grow(statistics, num_leaves=10_000, min_gain=50.0)
    assert report.leaves < 10_000
    assert re.search(r"best split left wins \d+\.\d, below the 50 of min_gain", report.why_fewer)
    _, report = language.grow(statistics, num_leaves=10_000, min_count=30.0)
    assert "in two with 30 frames each (min_count)" in report.why_fewer
    assert f"{report.leaves} leaves" in report.summary()
    assert "fewer than the 10000 of num_leaves: no question parts" in report.summary()
    _, report = language.grow(statistics, num_leaves=61, cluster_threshold=None)
    assert report.why_fewer == f"{61 - report.leaves} leaves were merged with others like them"
    _, report = language.grow(statistics, num_leaves=61, cluster_threshold=None, exact=True)
    assert report.why_fewer == ""
    _, report = language.grow(statistics)
    assert report.why_fewer == ""


def test_one_state_a_phone(single_state_language: Any) -> None:
    random = np.random.default_rng(3)
    made = [single_state_language.utterance(random, 15) for _ in range(40)]
    statistics = single_state_language.statistics(made)
    tree, report = single_state_language.grow(statistics, num_leaves=20, exact=True)
    assert report.leaves == tree.num_pdfs == 20
    assert (tree.position != PDF_CLASS).all()


def test_numbering_is_depth_first_and_repeatable(
    language: Any, utterances: list[Any], statistics: TriphoneStatistics
) -> None:
    tree, _ = language.grow(statistics, num_leaves=50, cluster_threshold=None, exact=True)
    again, _ = language.grow(
        language.statistics(utterances),
        num_leaves=50,
        cluster_threshold=None,
        exact=True,
    )
    for name in ("roots", "position", "members", "yes", "no", "pdf_id"):
        np.testing.assert_array_equal(getattr(tree, name), getattr(again, name))
    order: list[int] = []

    def visit(node: int) -> None:
        if tree.position[node] < 0:
            order.append(int(tree.pdf_id[node]))
        else:
            visit(tree.yes[node])
            visit(tree.no[node])

    for root in language.roots:
        visit(tree.roots[root[0]])
    assert list(dict.fromkeys(order)) == list(range(50))
