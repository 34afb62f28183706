"""Decoding and searching scales over data folders whose features are the scores."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from am.decoding.decode_data import decode_data
from am.decoding.decoder import Scales, SearchSettings
from am.decoding.search_scales import best_scales, coordinate_search, search_scales
from am.decoding.settings import DecodingSettings, KindSettings, ScaleSearchSettings
from am.errors import InputError
from am.processes import LocalProcesses
from am.scoring.transcripts import read_transcripts
from am.scoring.word_errors import WordErrors, count_errors


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
        graph,
        data,
        stored_model,
        output,
        Scales(1.0),
        SearchSettings(),
        executor=LocalProcesses(jobs),
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
        search_scales(graph, data, stored_model, tmp_path, DecodingSettings().network)


def test_graph_of_another_model(tmp_path: Path, small: SimpleNamespace, stored_model: Path) -> None:
    data = small.write_data(tmp_path / "data", {"cut1": scores_of("AB")}, {})
    graph = small.write_graph(tmp_path / "senones", small.loop_graph(), num_pdfs=7)
    for jobs in (1, 2):
        with pytest.raises(InputError, match="made for 7 senones"):
            decode_data(
                graph,
                data,
                stored_model,
                tmp_path,
                Scales(1.0),
                SearchSettings(),
                executor=LocalProcesses(jobs),
            )
    graph = small.write_graph(tmp_path / "tree", small.loop_graph(), tree_sha256="other")
    with pytest.raises(InputError, match="another tree"):
        decode_data(graph, data, stored_model, tmp_path, Scales(1.0), SearchSettings())


def test_empty_data(tmp_path: Path, small: SimpleNamespace, stored_model: Path) -> None:
    graph = small.write_graph(tmp_path / "graph", small.loop_graph())
    data = small.write_data(tmp_path / "data", {}, {})
    with pytest.raises(InputError, match="holds no cuts"):
        decode_data(graph, data, stored_model, tmp_path, Scales(1.0), SearchSettings())


def noisy_data(folder: Path, small: SimpleNamespace) -> tuple[Path, dict[str, list[str]]]:
    """Cuts of four letters a word each, hidden in noise, and their words."""
    generator = np.random.default_rng(0)
    matrices, references = {}, {}
    for index in range(12):
        letters = [str(letter) for letter in generator.choice(["A", "B"], 4)]
        noise = generator.normal(0, 2.5, (12, 2)).astype(np.float32)
        matrices[f"cut{index}"] = scores_of("".join(3 * letter for letter in letters), 3.0) + noise
        references[f"cut{index}"] = letters
    texts = {cut_id: " ".join(words) for cut_id, words in references.items()}
    return small.write_data(folder, matrices, texts), references


def test_search_reports_what_decoding_gives(
    tmp_path: Path, small: SimpleNamespace, stored_model: Path
) -> None:
    data, references = noisy_data(tmp_path / "data", small)
    graph = small.write_graph(tmp_path / "graph", small.loop_graph())
    settings = KindSettings(0.7, ScaleSearchSettings(100, (0.3, 0.7, 1.0), (-1.0, 0.0, 1.0)))
    output = tmp_path / "output"
    output.mkdir()
    best = search_scales(graph, data, stored_model, output, settings, executor=LocalProcesses(2))
    header, *lines = (output / "tried.tsv").read_text().splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    assert 5 <= len(rows) <= 7
    for number, row in enumerate(rows):
        scales = Scales(float(row["acoustic_scale"]), float(row["word_insertion_penalty"]))
        folder = tmp_path / f"decoded{number}"
        folder.mkdir()
        decode_data(graph, data, stored_model, folder, scales, SearchSettings())
        hypotheses = read_transcripts(folder / "hypotheses.txt")
        errors = sum((count_errors(w, hypotheses[c]) for c, w in references.items()), WordErrors())
        assert {name: str(value) for name, value in errors.as_row().items()} == {
            name: row[name] for name in errors.as_row()
        }
    assert Scales.load(output / "best_scale.json") == best
    chosen = json.loads((output / "best_scale.json").read_text())
    assert chosen["wer_percent"] == min(float(row["wer_percent"]) for row in rows)


def bowl(centre: Scales) -> Callable[[Sequence[Scales]], list[WordErrors]]:
    """Error counts that grow with the distance from ``centre``."""

    def evaluate(candidates: Sequence[Scales]) -> list[WordErrors]:
        return [
            WordErrors(
                1000,
                substitutions=round(
                    100 * abs(scales.acoustic_scale - centre.acoustic_scale)
                    + 10 * abs(scales.word_insertion_penalty - centre.word_insertion_penalty)
                ),
            )
            for scales in candidates
        ]

    return evaluate


@pytest.mark.parametrize("acoustic_scale", [0.5, 0.7, 1.0])
@pytest.mark.parametrize("penalty", [-1.0, 0.0, 2.0])
def test_search_finds_the_bottom_of_a_bowl(acoustic_scale: float, penalty: float) -> None:
    settings = ScaleSearchSettings(100, (0.5, 0.7, 1.0), (-1.0, 0.0, 1.0, 2.0))
    centre = Scales(acoustic_scale, penalty)
    tried = coordinate_search(bowl(centre), settings, usual=1.0)
    assert best_scales(tried, usual=1.0) == centre
    assert len(tried) <= 3 + 3 + 2


def test_no_scales_are_tried_twice() -> None:
    asked: list[Scales] = []

    def evaluate(candidates: Sequence[Scales]) -> list[WordErrors]:
        asked.extend(candidates)
        return bowl(Scales(0.7, 0.0))(candidates)

    coordinate_search(evaluate, ScaleSearchSettings(100, (0.5, 0.7, 1.0), (-1.0, 0.0)), usual=1.0)
    assert len(asked) == len(set(asked)) == 4


def test_search_needs_transcripts(
    tmp_path: Path, small: SimpleNamespace, stored_model: Path
) -> None:
    graph = small.write_graph(tmp_path / "graph", small.loop_graph())
    data = small.write_data(tmp_path / "data", {"cut1": scores_of("AB")}, {})
    with pytest.raises(InputError, match="cut1: has no transcript"):
        search_scales(graph, data, stored_model, tmp_path, DecodingSettings().network)


def test_ties_go_to_the_smallest_penalty_then_the_usual_scale() -> None:
    tried = {Scales(s, p): WordErrors(10, 1, 1, 1) for s in (0.5, 1.0, 2.0) for p in (-1.0, 0.0)}
    assert best_scales(tried, usual=1.0) == Scales(1.0, 0.0)
    assert best_scales(tried, usual=1.9) == Scales(2.0, 0.0)
    tried[Scales(0.5, -1.0)] = WordErrors(10, 0, 1, 1)
    assert best_scales(tried, usual=1.0) == Scales(0.5, -1.0)


def test_best_at_the_edge_is_told(
    tmp_path: Path,
    small: SimpleNamespace,
    stored_model: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data, _ = noisy_data(tmp_path / "data", small)
    graph = small.write_graph(tmp_path / "graph", small.loop_graph())
    settings = KindSettings(0.7, ScaleSearchSettings(100, (0.01, 0.02), (0.0,)))
    search_scales(graph, data, stored_model, tmp_path, settings)
    assert "the best acoustic scale, 0.0" in caplog.text and "at the edge" in caplog.text
    assert "penalty" not in caplog.text


@pytest.mark.parametrize("scales", [(), (1.0, 0.5), (0.5, 0.5)])
def test_settings_are_ascending(scales: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="acoustic_scales must be one or more ascending"):
        ScaleSearchSettings(100, scales, (0.0,))


def test_scales_that_are_not_given_are_the_usual_ones() -> None:
    tried = ScaleSearchSettings(100, (0.1,), (0.0,))
    settings = DecodingSettings(KindSettings(0.8, tried), KindSettings(0.1, tried))
    assert settings.of("network").scales(None, None) == Scales(0.8, 0.0)
    assert settings.of("gmm").scales(None, 0.5) == Scales(0.1, 0.5)
    assert settings.of("gmm").scales(0.07, None) == Scales(0.07, 0.0)
