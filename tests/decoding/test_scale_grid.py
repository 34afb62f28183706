"""The grid of weights and penalties, against the enumeration of every path."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from am.decoding.decoder import Scales
from am.decoding.lattices import LatticeMaker, LatticeSettings
from am.decoding.scale_grid import (
    ScaleGridSettings,
    best_path_words,
    best_place,
    choose_on_others,
    decode_grid,
)
from am.errors import InputError
from am.processes import LocalProcesses
from am.scoring.transcripts import read_transcripts
from am.scoring.word_errors import WordErrors, count_errors

WIDE = ScaleGridSettings(
    beam=200.0,
    lattice_beam=100.0,
    lattice_acoustic_scale=0.5,
    language_model_weights=(0.5, 1.0, 4.0),
    word_insertion_penalties=(-1.0, 0.0, 1.5),
)


def cheapest_words(
    small: SimpleNamespace, scores: np.ndarray, scales: Scales
) -> tuple[tuple[int, ...], float]:
    """By enumeration: the words of the cheapest path, and how far the next words are behind."""
    costs: dict[tuple[int, ...], float] = {}
    for path in small.all_paths(small.loop_graph(), len(scores)):
        cost = small.cost_of(path, scores, scales.acoustic_scale, scales.word_insertion_penalty)
        costs[path.words] = min(cost, costs.get(path.words, np.inf))
    ranked = sorted(costs, key=lambda words: costs[words])
    return ranked[0], costs[ranked[1]] - costs[ranked[0]]


def test_best_paths_are_those_of_enumeration(small: SimpleNamespace) -> None:
    maker = LatticeMaker(small.loop_graph(), 0.5, LatticeSettings(200.0, 100.0))
    generator = np.random.default_rng(7)
    compared = 0
    for _ in range(10):
        scores = generator.normal(0, 2, (5, 2)).astype(np.float32)
        lattice = maker.make(scores)
        assert lattice is not None
        for scales in WIDE.grid():
            words, margin = cheapest_words(small, scores, scales)
            if margin > 1e-3:
                assert tuple(best_path_words(lattice, scales)) == words
                compared += 1
    assert compared > 60


def test_grid_is_weights_times_penalties() -> None:
    grid = ScaleGridSettings().grid()
    assert len(grid) == 33
    assert grid[1] == Scales(1 / 7, 0.5) and grid[-1] == Scales(1 / 17, 1.0)
    with pytest.raises(InputError, match="above 0"):
        ScaleGridSettings(language_model_weights=(0.0, 7.0))
    with pytest.raises(InputError, match="word_insertion_penalties"):
        ScaleGridSettings(word_insertion_penalties=())


def test_a_speaker_has_no_say_in_its_own_scales() -> None:
    def errors(*counts: int) -> list[WordErrors]:
        return [WordErrors(10, substitutions=count) for count in counts]

    by_speaker = {"a": errors(9, 0, 5), "b": errors(1, 3, 2), "c": errors(1, 4, 2)}
    # Without a: 2, 7, 4; without b: 10, 4, 7; without c: 10, 3, 7.
    assert choose_on_others(by_speaker) == {"a": 0, "b": 1, "c": 1}
    assert best_place(errors(4, 2, 2)) == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_decodes_a_folder_on_the_grid(
    tmp_path: Path, small: SimpleNamespace, stored_model: Path, jobs: int
) -> None:
    generator = np.random.default_rng(5)
    scores = {f"cut{i}": generator.normal(0, 2, (5, 2)).astype(np.float32) for i in range(9, 0, -1)}
    texts = dict.fromkeys(scores, "A B A")
    speakers = {cut_id: f"speaker{int(cut_id[3:]) % 3}" for cut_id in scores}
    data = small.write_data(tmp_path / "data", scores, texts, speakers)
    graph = small.write_graph(tmp_path / "graph", small.loop_graph(), tree_sha256="tree")
    output = tmp_path / "output"
    output.mkdir()
    decode_grid(graph, data, stored_model, output, WIDE, executor=LocalProcesses(jobs))

    rows = [line.split("\t") for line in (output / "tried.tsv").read_text().splitlines()]
    expected = []
    for scales in WIDE.grid():
        of_pair = WordErrors()
        for cut_id, matrix in scores.items():
            words, _ = cheapest_words(small, matrix, scales)
            hypothesis = [small.words[word] for word in words]
            of_pair += count_errors(texts[cut_id].split(), hypothesis)
        expected.append(of_pair.errors)
    found = [sum(int(count) for count in row[-3:]) for row in rows[1:]]
    assert found == expected

    summary = json.loads((output / "summary.json").read_text())
    best = read_transcripts(output / "best" / "hypotheses.txt")
    assert list(best) == sorted(scores)
    errors = sum((count_errors(["A", "B", "A"], words) for words in best.values()), WordErrors())
    assert errors.errors == min(expected)
    assert summary["best"]["wer_percent"] == pytest.approx(100 * min(expected) / 27, abs=1e-3)
    others = read_transcripts(output / "chosen_on_others" / "hypotheses.txt")
    errors = sum((count_errors(["A", "B", "A"], words) for words in others.values()), WordErrors())
    assert summary["chosen_on_others"]["wer_percent"] == pytest.approx(100 * errors.wer, abs=1e-3)
    assert errors.errors >= min(expected)


def test_cuts_without_scores_are_deletions(
    tmp_path: Path, small: SimpleNamespace, stored_model: Path
) -> None:
    scores = {
        "cut1": np.full((3, 2), np.nan, dtype=np.float32),
        "cut2": np.zeros((2, 2), dtype=np.float32),
    }
    texts = {"cut1": "A B", "cut2": "A"}
    graph = small.write_graph(tmp_path / "graph", small.loop_graph())
    data = small.write_data(tmp_path / "data", scores, texts, {"cut1": "one", "cut2": "two"})
    output = tmp_path / "output"
    output.mkdir()
    decode_grid(graph, data, stored_model, output, WIDE)
    assert read_transcripts(output / "best" / "hypotheses.txt")["cut1"] == []
    assert json.loads((output / "summary.json").read_text())["failed"] == 1
    one_speaker = small.write_data(tmp_path / "one", scores, texts)
    output = tmp_path / "second"
    output.mkdir()
    with pytest.raises(InputError, match="one speaker only"):
        decode_grid(graph, one_speaker, stored_model, output, WIDE)
