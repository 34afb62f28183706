"""Hard labels from a decoding: the senones of the best of all paths."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from am.decoding.decoder import Scales, SearchSettings
from am.decoding.pseudo_labels import make_pseudo_labels
from am.errors import InputError
from am.storage import RaggedStore, check_store

SCALE, PENALTY = 0.7, 0.4
SETTINGS = SearchSettings(beam=1000.0, max_active=1000, min_active=1)


def label(stored_model: Path, small: SimpleNamespace, scores: dict[str, np.ndarray]) -> Path:
    """The labels that a decoding through the small graph gives."""
    folder = stored_model.parent
    output = folder / "labels"
    output.mkdir()
    graph = small.write_graph(folder / "graph", small.loop_graph(), tree_sha256="tree")
    data = small.write_data(folder / "data", scores, {})
    make_pseudo_labels(graph, data, stored_model, output, Scales(SCALE, PENALTY), SETTINGS)
    return output


def test_labels_are_the_senones_of_the_best_path(
    stored_model: Path, small: SimpleNamespace
) -> None:
    generator = np.random.default_rng(3)
    scores = {
        f"cut{index}": generator.normal(size=(length, small.num_pdfs)).astype(np.float32)
        for index, length in enumerate([1, 4, 6, 7])
    }
    output = label(stored_model, small, scores)
    check_store(output)
    store = RaggedStore(output)
    assert (store.kind, store.frame_shift) == ("pdf-ids", 0.01)
    assert store.description["tree_sha256"] == "tree"
    assert list(store) == list(scores)
    for cut_id, matrix in scores.items():
        paths = small.all_paths(small.loop_graph(), len(matrix))
        best = min(paths, key=lambda path: small.cost_of(path, matrix, SCALE, PENALTY))
        np.testing.assert_array_equal(store[cut_id]["pdf_ids"], np.array(best.labels) - 1)


def test_a_cut_that_cannot_be_decoded_has_no_labels(
    stored_model: Path, small: SimpleNamespace
) -> None:
    scores = {
        "good": np.zeros((3, small.num_pdfs), np.float32),
        "bad": np.full((3, small.num_pdfs), np.nan, np.float32),
    }
    output = label(stored_model, small, scores)
    assert list(RaggedStore(output)) == ["good"]
    assert (output / "failed.tsv").read_text() == "bad\tscores that are not finite\n"


def test_data_of_which_nothing_can_be_decoded_are_an_error(
    stored_model: Path, small: SimpleNamespace
) -> None:
    bad = {"bad": np.full((3, small.num_pdfs), np.nan, np.float32)}
    with pytest.raises(InputError, match="not one cut could be decoded; the first is bad"):
        label(stored_model, small, bad)
