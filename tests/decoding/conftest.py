"""A graph small enough to check by eye, and data folders whose features are the scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import kaldifst
import numpy as np
import pytest
from lhotse import CutSet, Features, MonoCut, NumpyFilesWriter, Recording, SupervisionSegment
from lhotse.cut import Cut

from am.decoding import decode_data as decode_data_module
from am.decoding import pseudo_labels as pseudo_labels_module
from am.decoding.scorers import ModelFacts

WORDS = ("<eps>", "A", "B")
NUM_PDFS = 2
LOOP_COST, WORD_COSTS, FINAL_COST = 0.2, (0.7, 0.9), 0.3


def loop_graph() -> kaldifst.StdVectorFst:
    """Any number of words: A is one or more frames of pdf-id 0, B of pdf-id 1.

    ::

        0 --1:A--> 1 (loop 1:eps) --eps--> 3 (final) --eps--> 0
        0 --2:B--> 2 (loop 2:eps) --eps--> 3
    """
    fst = kaldifst.StdVectorFst()
    for _ in range(4):
        fst.add_state()
    fst.start = 0
    for word_id, cost in enumerate(WORD_COSTS, 1):
        fst.add_arc(0, kaldifst.StdArc(word_id, word_id, cost, word_id))
        fst.add_arc(word_id, kaldifst.StdArc(word_id, 0, LOOP_COST, word_id))
        fst.add_arc(word_id, kaldifst.StdArc(0, 0, 0.0, 3))
    fst.add_arc(3, kaldifst.StdArc(0, 0, 0.0, 0))
    fst.set_final(3, FINAL_COST)
    return fst


@dataclass(frozen=True)
class GraphPath:
    """One way through a graph: words, graph cost, and the label emitted at each frame."""

    words: tuple[int, ...]
    graph_cost: float
    labels: tuple[int, ...]


def all_paths(fst: kaldifst.StdVectorFst, num_frames: int) -> Iterator[GraphPath]:
    """Every whole path of ``num_frames`` labels (the graph has no cycle of epsilons)."""
    stack = [(fst.start, GraphPath((), 0.0, ()))]
    while stack:
        state, path = stack.pop()
        final = fst.final(state).value
        if len(path.labels) == num_frames and np.isfinite(final):
            yield GraphPath(path.words, path.graph_cost + final, path.labels)
        for arc in kaldifst.ArcIterator(fst, state):
            labels = path.labels + ((arc.ilabel,) if arc.ilabel else ())
            if len(labels) <= num_frames:
                words = path.words + ((arc.olabel,) if arc.olabel else ())
                cost = path.graph_cost + arc.weight.value
                stack.append((arc.nextstate, GraphPath(words, cost, labels)))


def cost_of(path: GraphPath, scores: np.ndarray, acoustic_scale: float, penalty: float) -> float:
    """What a path costs."""
    score = sum(scores[frame, label - 1] for frame, label in enumerate(path.labels))
    return path.graph_cost - acoustic_scale * score + penalty * len(path.words)


def write_graph(folder: Path, fst: kaldifst.StdVectorFst, **description: object) -> Path:
    """A graph folder."""
    folder.mkdir(parents=True)
    fst.write(str(folder / "HCLG.fst"))
    (folder / "words.txt").write_text("".join(f"{w} {i}\n" for i, w in enumerate(WORDS)))
    (folder / "graph.json").write_text(json.dumps({"num_pdfs": NUM_PDFS, **description}))
    return folder


def write_data(
    folder: Path,
    scores: Mapping[str, np.ndarray],
    texts: Mapping[str, str | None],
    speakers: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """A data folder whose cuts carry ``scores`` as features."""
    folder.mkdir(parents=True)
    with (
        NumpyFilesWriter(folder / "storage") as storage,
        CutSet.open_writer(folder / "cuts.jsonl.gz") as cuts,
    ):
        for cut_id, matrix in scores.items():
            duration = max(len(matrix), 1) * 0.01
            recording = Recording(cut_id, [], 16000, round(duration * 16000), duration)
            features = Features(
                type="scores",
                num_frames=len(matrix),
                num_features=NUM_PDFS,
                frame_shift=0.01,
                sampling_rate=16000,
                start=0.0,
                duration=duration,
                storage_type=storage.name,
                storage_path=str(storage.storage_path),
                storage_key=storage.write(cut_id, matrix),
            )
            supervision = SupervisionSegment(
                cut_id,
                cut_id,
                0.0,
                duration,
                text=texts.get(cut_id),
                speaker=speakers.get(cut_id, "speaker"),
            )
            cuts.write(MonoCut(cut_id, 0.0, duration, 0, [supervision], features, recording))
    return folder


class StoredScorer:
    """Scores are the features themselves."""

    def __init__(self, folder: Path, num_pdfs: int = NUM_PDFS):
        self.facts = ModelFacts(folder, "network", num_pdfs, "tree", 0.01, num_pdfs)

    def scores(self, cut: Cut) -> np.ndarray:
        """The features."""
        return np.asarray(cut.load_features(), dtype=np.float32)


@pytest.fixture
def stored_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder whose scores are the data's features."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").touch()
    for module in (decode_data_module, pseudo_labels_module):
        monkeypatch.setattr(module, "load_scorer", lambda *_: StoredScorer(folder))
    return folder


@pytest.fixture
def small() -> SimpleNamespace:
    """What the tests of this folder share."""
    return SimpleNamespace(
        words=WORDS,
        num_pdfs=NUM_PDFS,
        loop_graph=loop_graph,
        all_paths=all_paths,
        cost_of=cost_of,
        write_graph=write_graph,
        write_data=write_data,
    )
