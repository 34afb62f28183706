"""Decoding and searching scales over data folders whose features are the scores."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from am.decoding.decode_data import decode_data
from am.decoding.decoder import Scales, SearchSettings
from am.decoding.processes import map_chunks
from am.decoding.search_scales import best_scales, search_scales
from am.decoding.settings import DecodingSettings, ScaleGrid
from am.errors import InputError
from am.scoring.transcripts import read_transcripts
from am.scoring.word_errors import WordErrors, count_errors

CPU = torch.device("cpu")


def scores_of(word_string: str, margin: float = 5.0) -> np.ndarray:
    """One frame a letter (A: pdf-id 0, B: pdf-id 1), the right pdf-id ``margin`` ahead."""
    rows = [[margin, 0.0] if letter == "A" else [0.0, margin] for letter in word_string]
    return np.array(rows, dtype=np.float32).reshape(-1, 2)


@pytest.mark.parametrize("jobs", [1, 2])
def test_decodes_a_folder(
    tmp_path: Path, small: SimpleNamespace, stored_model: Path, jobs: int
) -> None:
    graph = small.write_graph(tmp_path / "graph", small.loop_graph(), tree_sha256="tree")
    matrices = {f"cut{i:02d}": scores_of("AABBA" if i % 2 else "BBB") for i in range(20, 0, -1)}
    matrices["cut05"] = np.full((3, 2), np.nan, dtype=np.float32)
    matrices["cut06"] = np.zeros((0, 2), dtype=np.float32)
    data = small.write_data(tmp_path / "data", matrices, {})
    output = tmp_path / "output"
    output.mkdir()
    summary = decode_data(
        graph, data, stored_model, output, Scales(1.0), SearchSettings(), jobs=jobs
    )
    lines = (output / "hypotheses.txt").read_text().splitlines()
    assert lines == sorted(lines) and len(lines) == 20
    hypotheses = read_transcripts(output / "hypotheses.txt")
    assert hypotheses["cut01"] == ["A", "B", "A"] and hypotheses["cut02"] == ["B"]
    assert hypotheses["cut05"] == [] and hypotheses["cut06"] == []
    failed = dict(line.split("\t") for line in (output / "failed.tsv").read_text().splitlines())
    assert failed == {"cut05": "scores that are not finite", "cut06": "no frames"}
    assert (summary.cuts, summary.failed, summary.without_final_state) == (20, 2, 0)
    used = json.loads((output / "settings.json").read_text())
    assert used["acoustic_scale"] == 1.0 and used["beam"] == 13.0
    assert json.loads((output / "summary.json").read_text())["cuts"] == 20


def test_all_cuts_failing_is_an_error(
    tmp_path: Path, small: SimpleNamespace, stored_model: Path
) -> None:
    graph = small.write_graph(tmp_path / "graph", small.loop_graph())
    nothing = {"cut1": np.full((2, 2), np.inf, dtype=np.float32)}
    data = small.write_data(tmp_path / "data", nothing, {"cut1": "A"})
    with pytest.raises(InputError, match="not one cut could be decoded; the first is cut1"):
        decode_data(graph, data, stored_model, tmp_path, Scales(1.0), SearchSettings())
    with pytest.raises(InputError, match="not one cut could be decoded"):
        search_scales(graph, data, stored_model, tmp_path, DecodingSettings())


def test_graph_of_another_model(tmp_path: Path, small: SimpleNamespace, stored_model: Path) -> None:
    data = small.write_data(tmp_path / "data", {"cut1": scores_of("AB")}, {})
    graph = small.write_graph(tmp_path / "senones", small.loop_graph(), num_pdfs=7)
    for jobs in (1, 2):
        with pytest.raises(InputError, match="made for 7 senones"):
            decode_data(
                graph, data, stored_model, tmp_path, Scales(1.0), SearchSettings(), jobs=jobs
            )
    graph = small.write_graph(tmp_path / "tree", small.loop_graph(), tree_sha256="other")
    with pytest.raises(InputError, match="another tree"):
        decode_data(graph, data, stored_model, tmp_path, Scales(1.0), SearchSettings())


def test_empty_data(tmp_path: Path, small: SimpleNamespace, stored_model: Path) -> None:
    graph = small.write_graph(tmp_path / "graph", small.loop_graph())
    data = small.write_data(tmp_path / "data", {}, {})
    with pytest.raises(InputError, match="holds no cuts"):
        decode_data(graph, data, stored_model, tmp_path, Scales(1.0), SearchSettings())


def test_search_equals_decoding_with_every_scale(
    tmp_path: Path, small: SimpleNamespace, stored_model: Path
) -> None:
    generator = np.random.default_rng(0)
    texts = {f"cut{i}": "".join(generator.choice(["A", "B"], 4)) for i in range(12)}
    matrices, references = {}, {}
    for cut_id, letters in texts.items():
        noise = generator.normal(0, 2.5, (12, 2)).astype(np.float32)
        matrices[cut_id] = scores_of("".join(3 * letter for letter in letters), 3.0) + noise
        references[cut_id] = " ".join(letters)
    data = small.write_data(tmp_path / "data", matrices, references)
    graph = small.write_graph(tmp_path / "graph", small.loop_graph())
    settings = DecodingSettings(
        network_scales=ScaleGrid(1.0, (0.3, 0.7, 1.0)), word_insertion_penalties=(-1.0, 0.0, 1.0)
    )
    output = tmp_path / "output"
    output.mkdir()
    best = search_scales(graph, data, stored_model, output, settings, jobs=2)
    rows = json.loads((output / "grid.json").read_text())
    assert len(rows) == 9
    for row in rows:
        scales = Scales(row["acoustic_scale"], row["word_insertion_penalty"])
        folder = tmp_path / f"decoded{scales.acoustic_scale}{scales.word_insertion_penalty}"
        folder.mkdir()
        decode_data(graph, data, stored_model, folder, scales, SearchSettings())
        hypotheses = read_transcripts(folder / "hypotheses.txt")
        errors = sum(
            (count_errors(references[c].split(), hypotheses[c]) for c in references), WordErrors()
        )
        assert errors.as_row() == {name: row[name] for name in errors.as_row()}
    assert min(row["wer_percent"] for row in rows) == next(
        row["wer_percent"]
        for row in rows
        if Scales(row["acoustic_scale"], row["word_insertion_penalty"]) == best
    )
    assert Scales.load(output / "best_scale.json") == best
    assert len((output / "grid.tsv").read_text().splitlines()) == 4


def test_search_needs_transcripts(
    tmp_path: Path, small: SimpleNamespace, stored_model: Path
) -> None:
    graph = small.write_graph(tmp_path / "graph", small.loop_graph())
    data = small.write_data(tmp_path / "data", {"cut1": scores_of("AB")}, {})
    with pytest.raises(InputError, match="cut1: has no transcript"):
        search_scales(graph, data, stored_model, tmp_path, DecodingSettings())


def test_ties_go_to_the_smallest_penalty_then_the_usual_scale() -> None:
    grid = [Scales(s, p) for s in (0.5, 1.0, 2.0) for p in (-1.0, 0.0, 1.0)]
    same = [WordErrors(10, 1, 1, 1)] * len(grid)
    assert grid[best_scales(grid, same, usual=1.0)] == Scales(1.0, 0.0)
    assert grid[best_scales(grid, same, usual=1.9)] == Scales(2.0, 0.0)
    same[0] = WordErrors(10, 0, 1, 1)
    assert grid[best_scales(grid, same, usual=1.0)] == Scales(0.5, -1.0)


def test_settings_need_a_grid() -> None:
    with pytest.raises(InputError, match="at least one"):
        DecodingSettings(word_insertion_penalties=()).grid("network")


def _double(state: int, chunk: list[int]) -> list[int]:
    return [state * item for item in chunk]


def _break_down(state: int, chunk: list[int]) -> list[int]:
    import os

    os._exit(9)


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_order(jobs: int) -> None:
    chunks = map_chunks(_double, partial(int, 2), range(50), jobs, chunk_size=4, device=CPU)
    assert [item for chunk in chunks for item in chunk] == list(range(0, 100, 2))


def test_items_are_read_as_needed() -> None:
    taken = []
    items = (taken.append(i) or i for i in range(1000))  # type: ignore[func-returns-value]
    chunks = map_chunks(_double, partial(int, 2), items, 2, chunk_size=1, device=CPU)
    next(chunks)
    assert len(taken) < 20
    chunks.close()  # type: ignore[attr-defined]


def test_killed_process_is_told() -> None:
    with pytest.raises(InputError, match="killed"):
        list(map_chunks(_break_down, partial(int, 2), range(4), 2, chunk_size=1, device=CPU))


def test_state_is_made_by_each_process_where_memory_cannot_be_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.platform", "elsewhere")
    chunks = map_chunks(_double, partial(int, 3), range(5), 2, chunk_size=2, device=CPU)
    assert [item for chunk in chunks for item in chunk] == [0, 3, 6, 9, 12]


