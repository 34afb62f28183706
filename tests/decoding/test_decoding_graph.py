"""Graph folders that do not fit are refused before anything is decoded."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import kaldifst
import pytest

from am.decoding.graph import check_graph_fits, load_graph
from am.decoding.scorers import ModelFacts
from am.errors import InputError

FACTS = ModelFacts(Path("model"), "network", 2, "tree", 0.03, 64)


def test_reads_a_graph(tmp_path: Path, small: SimpleNamespace) -> None:
    folder = small.write_graph(tmp_path / "graph", small.loop_graph(), tree_sha256="tree")
    graph = load_graph(folder)
    assert graph.words == ("<eps>", "A", "B")
    assert graph.words_of([2, 1]) == ["B", "A"]
    check_graph_fits(graph, folder, FACTS)


def test_model_that_does_not_fit(tmp_path: Path, small: SimpleNamespace) -> None:
    folder = small.write_graph(
        tmp_path / "graph", small.loop_graph(), tree_sha256="tree", frame_shift=0.03
    )
    graph = load_graph(folder)
    check_graph_fits(graph, folder, replace(FACTS, tree_sha256=None))
    with pytest.raises(InputError, match="made for 2 senones, model has 3"):
        check_graph_fits(graph, folder, replace(FACTS, num_pdfs=3))
    with pytest.raises(InputError, match="another tree"):
        check_graph_fits(graph, folder, replace(FACTS, tree_sha256="other"))
    with pytest.raises(InputError, match=r"frames of 0\.03 s, model has frames of 0\.01 s"):
        check_graph_fits(graph, folder, replace(FACTS, frame_shift=0.01))


def test_labels_outside_the_tables(tmp_path: Path, small: SimpleNamespace) -> None:
    fst = small.loop_graph()
    fst.add_arc(0, kaldifst.StdArc(3, 0, 0.0, 1))
    with pytest.raises(InputError, match="input label 3 stands for pdf-id 2"):
        load_graph(small.write_graph(tmp_path / "pdf", fst))
    fst = small.loop_graph()
    fst.add_arc(0, kaldifst.StdArc(1, 3, 0.0, 1))
    with pytest.raises(InputError, match=r"output label 3 is not in words\.txt"):
        load_graph(small.write_graph(tmp_path / "word", fst))


def test_empty_graph(tmp_path: Path, small: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="empty graph"):
        load_graph(small.write_graph(tmp_path / "empty", kaldifst.StdVectorFst()))
    fst = kaldifst.StdVectorFst()
    fst.add_state()
    fst.start = 0
    fst.add_arc(0, kaldifst.StdArc(1, 1, 0.0, 0))
    with pytest.raises(InputError, match="no state is final"):
        load_graph(small.write_graph(tmp_path / "endless", fst))


@pytest.mark.parametrize("name", ["HCLG.fst", "words.txt", "graph.json"])
def test_missing_file_is_named(tmp_path: Path, small: SimpleNamespace, name: str) -> None:
    folder = small.write_graph(tmp_path / "graph", small.loop_graph())
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        load_graph(folder)


def test_broken_description(tmp_path: Path, small: SimpleNamespace) -> None:
    folder = small.write_graph(tmp_path / "graph", small.loop_graph())
    (folder / "graph.json").write_text("{}")
    with pytest.raises(InputError, match="does not say num_pdfs"):
        load_graph(folder)
    (folder / "graph.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        load_graph(folder)
