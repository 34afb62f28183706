"""A decoding graph in memory, and whether it fits a model.

Input labels are pdf-id + 1, output labels word-ids; weights are costs (negative natural
logarithms of probabilities).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import kaldifst
import numpy as np

from am.decoding.scorers import ModelFacts
from am.errors import InputError
from am.graph.arrays import EPSILON, from_fst, read_fst, to_fst
from am.lang.lang import read_symbols
from am.lang.subword_model import SubwordDescription
from am.nnet.network import FRAME_SHIFT_TOLERANCE

FST_NAME = "HCLG.fst"
DESCRIPTION_NAME = "graph.json"
MAKE_IT = "run utils/mkgraph.py"


@dataclass(frozen=True)
class DecodingGraph:
    """What ``utils/mkgraph.py`` wrote.

    Attributes:
        fst: HCLG.
        words: word (or piece) by word-id; an id without a word is empty.
        num_pdfs: pdf-ids of the model that the graph was made for.
        tree_sha256: fingerprint of that model's tree.json, where known.
        frame_shift: seconds a frame that its self-loops were made for, where known.
        subword: how words become pieces; None where ``words`` are whole words.
    """

    fst: kaldifst.StdVectorFst
    words: tuple[str, ...]
    num_pdfs: int
    tree_sha256: str | None
    frame_shift: float | None
    subword: SubwordDescription | None = None

    def words_of(self, word_ids: list[int]) -> list[str]:
        """The words of a path's output labels, pieces put together."""
        words = [self.words[word_id] for word_id in word_ids]
        return words if self.subword is None else self.subword.join(words)

    def spelled(self, words: list[str]) -> list[str]:
        """The words of a transcript, as the graph's are spelled."""
        return words if self.subword is None else self.subword.text_rules.words(" ".join(words))


def load_graph(folder: Path) -> DecodingGraph:
    """Read a graph folder.

    Raises:
        InputError: a file is missing or broken, the graph is empty, or it has a label that
            graph.json or words.txt do not know.
    """
    description = read_graph_description(folder)
    fst = read_fst(folder / FST_NAME)
    word_ids = read_symbols(folder / "words.txt")
    words = [""] * (max(word_ids.values(), default=0) + 1)
    for word, word_id in word_ids.items():
        words[word_id] = word
    graph = DecodingGraph(
        fst=fst,
        words=tuple(words),
        num_pdfs=int(description["num_pdfs"]),
        tree_sha256=description.get("tree_sha256"),
        frame_shift=description.get("frame_shift"),
        subword=SubwordDescription.load(folder),
    )
    _check_labels(graph, folder / FST_NAME)
    return graph


def read_graph_description(folder: Path) -> dict[str, Any]:
    """The content of ``graph.json``."""
    path = folder / DESCRIPTION_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; {MAKE_IT}")
    try:
        description: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON ({error}); {MAKE_IT}") from error
    if "num_pdfs" not in description:
        raise InputError(f"{path}: does not say num_pdfs; {MAKE_IT}")
    return description


def check_graph_fits(graph: DecodingGraph, graph_dir: Path, model: ModelFacts) -> None:
    """Raise InputError unless ``graph`` was made for the senones and frames of ``model``."""
    where = graph_dir / DESCRIPTION_NAME
    mend = f"make the graph with the tree of {model.folder}"
    if graph.num_pdfs != model.num_pdfs:
        raise InputError(
            f"{where}: made for {graph.num_pdfs} senones, {model.folder} has {model.num_pdfs}; "
            f"{mend}"
        )
    if graph.tree_sha256 and model.tree_sha256 and graph.tree_sha256 != model.tree_sha256:
        raise InputError(
            f"{where}: made with another tree ({graph.tree_sha256[:12]}) than {model.folder} "
            f"({model.tree_sha256[:12]}); {mend}"
        )
    if (
        graph.frame_shift is not None
        and abs(graph.frame_shift - model.frame_shift) > FRAME_SHIFT_TOLERANCE
    ):
        raise InputError(
            f"{where}: made for frames of {graph.frame_shift} s, {model.folder} has frames of "
            f"{model.frame_shift} s; {mend}"
        )


def add_word_insertion_penalty(fst: kaldifst.StdVectorFst, penalty: float) -> kaldifst.StdVectorFst:
    """A graph with ``penalty`` added to the cost of every word (or piece).

    Args:
        fst: HCLG; left as it is.
        penalty: natural log; positive means fewer words.
    """
    if penalty == 0.0:
        return fst
    arrays = from_fst(fst)
    paid = np.where(arrays.olabel != EPSILON, np.float32(penalty), np.float32(0))
    return to_fst(replace(arrays, weight=arrays.weight + paid))


def _check_labels(graph: DecodingGraph, path: Path) -> None:
    arrays = from_fst(graph.fst)
    if arrays.num_states == 0 or arrays.start < 0 or arrays.num_arcs == 0:
        raise InputError(f"{path}: an empty graph; {MAKE_IT} and look at its log")
    if not np.isfinite(arrays.final).any():
        raise InputError(f"{path}: no state is final; {MAKE_IT} and look at its log")
    highest = int(arrays.ilabel.max())
    if highest > graph.num_pdfs:
        raise InputError(
            f"{path}: input label {highest} stands for pdf-id {highest - 1}, but graph.json has "
            f"{graph.num_pdfs} senones; {MAKE_IT}"
        )
    highest = int(arrays.olabel.max())
    if highest >= len(graph.words):
        raise InputError(f"{path}: output label {highest} is not in words.txt; {MAKE_IT}")
