"""Graphs without arcs that take no frame, against the enumeration of every path."""

from collections import Counter
from dataclasses import replace

import kaldifst
import numpy as np
import pytest
import torch

from am.errors import InputError
from am.graph.arrays import ArcList, from_fst
from am.k2.graph import EmittingGraph, emitting_graph
from tests.k2.k2_cases import Paths, all_paths, random_graph


def paths_of(graph: EmittingGraph, num_frames: int) -> Paths:
    """As :func:`all_paths` gives of the transducer."""
    paths: Paths = Counter()
    stack: list[tuple[int, tuple[int, ...], tuple[int, ...], float]] = [(0, (), (), 0.0)]
    while stack:
        state, labels, words, cost = stack.pop()
        if len(labels) == num_frames:
            if np.isfinite(graph.final[state]):
                paths[labels, words, cost - float(graph.final[state])] += 1
            continue
        for arc in np.flatnonzero(graph.source == state).tolist():
            more = graph.word_sequences[graph.words[arc]]
            stack.append(
                (
                    int(graph.target[arc]),
                    (*labels, int(graph.label[arc])),
                    words + more,
                    cost - float(graph.score[arc]),
                )
            )
    return paths


@pytest.mark.parametrize("seed", range(12))
def test_every_path_is_kept_with_its_words_and_score(seed: int) -> None:
    fst = random_graph(np.random.default_rng(seed), 6, num_pdfs=3, num_words=3, exact=True)
    graph = emitting_graph(fst)
    assert (graph.label > 0).all() and graph.word_sequences[0] == ()
    for num_frames in (1, 2, 4):
        assert paths_of(graph, num_frames) == all_paths(fst, num_frames)


def test_a_back_off_state_is_shared() -> None:
    """Arcs into a history lead to the back-off state too; its own arcs are not copied."""
    graph = ArcList()
    for _ in range(12):
        graph.add_state()
    for history in range(1, 11):
        graph.add_arc(0, history, history, history)
        graph.add_arc(history, 11, 0, 0, 1.0)
        graph.add_arc(history, history, history, 0)
    for word in range(1, 101):
        graph.add_arc(11, 1 + word % 10, word, word)
    graph.set_final(11)
    # 120 arcs, each into its history and the back-off state; those of the start stand twice.
    assert len(emitting_graph(graph.to_arrays()).source) == 2 * (120 + 10)


def test_a_cycle_without_labels_is_told() -> None:
    fst = random_graph(np.random.default_rng(0), 4, 2, 2)
    cyclic = replace(
        fst,
        source=np.append(fst.source, [1, 2]),
        nextstate=np.append(fst.nextstate, [2, 1]),
        ilabel=np.append(fst.ilabel, [0, 0]),
        olabel=np.append(fst.olabel, [0, 1]),
        weight=np.append(fst.weight, [0, 0]).astype(np.float32),
    )
    with pytest.raises(InputError, match="cycle without input labels through state"):
        emitting_graph(cyclic)


def test_a_graph_without_frames_is_told() -> None:
    fst = kaldifst.StdVectorFst()
    for _ in range(2):
        fst.add_state()
    fst.start = 0
    fst.add_arc(0, kaldifst.StdArc(0, 1, 0.0, 1))
    fst.set_final(1, 0.0)
    with pytest.raises(InputError, match="no path takes a frame"):
        emitting_graph(from_fst(fst))


@pytest.mark.k2
def test_k2_holds_the_same_arcs() -> None:
    graph = emitting_graph(random_graph(np.random.default_rng(5), 6, 3, 3))
    for ends, num_final in (("final", np.isfinite(graph.final).sum()), ("any", len(graph.final))):
        fsas = graph.to_k2(torch.device("cpu"), ends)
        assert fsas.shape[0] == 1
        arcs = fsas.arcs.values().numpy()
        assert (arcs[:, 2] == -1).sum() == num_final and (arcs[:, 2] != 0).all()
        emits = arcs[:, 2] > 0
        found = {
            (*row[:3], score, words)
            for row, score, words in zip(
                arcs[emits].tolist(),
                fsas.scores[emits].tolist(),
                fsas.words[emits].tolist(),
                strict=True,
            )
        }
        columns = (graph.source, graph.target, graph.label, graph.score, graph.words)
        assert found == set(zip(*(column.tolist() for column in columns), strict=True))
        assert torch.equal(fsas.graph_score, fsas.scores)
