"""Graphs whose output labels are pieces of words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from am.decoding.decode_data import decode_data
from am.decoding.decoder import Scales, SearchSettings
from am.decoding.graph import load_graph
from am.decoding.search_scales import search_scales
from am.decoding.settings import DecodingSettings, ScaleSearchSettings
from am.lang.subword_model import SubwordDescription
from am.lang.text_rules import TextRules
from am.scoring.transcripts import read_transcripts

SCORES = np.array([[5, 0], [0, 5], [5, 0]], dtype=np.float32)


@pytest.fixture
def graph(tmp_path: Path, small: SimpleNamespace) -> Path:
    """Pieces ▁a and b; texts are folded."""
    folder: Path = small.write_graph(tmp_path / "graph", small.loop_graph(), tree_sha256="tree")
    (folder / "words.txt").write_text("<eps> 0\n▁a 1\nb 2\n", encoding="utf-8")
    SubwordDescription("0", "<UNK>", True, TextRules(case="fold")).save(folder)
    return folder


def test_words_are_put_together(
    tmp_path: Path, small: SimpleNamespace, graph: Path, stored_model: Path
) -> None:
    data = small.write_data(tmp_path / "data", {"cut1": SCORES}, {"cut1": "AB A!"})
    output = tmp_path / "output"
    output.mkdir()
    decode_data(graph, data, stored_model, output, Scales(1.0), SearchSettings())
    assert read_transcripts(output / "hypotheses.txt") == {"cut1": ["ab", "a"]}
    assert SubwordDescription.load(output) == SubwordDescription.load(graph)
    assert load_graph(graph).spelled(["AB", "A!"]) == ["ab", "a"]


def test_scales_are_searched_over_words(
    tmp_path: Path, small: SimpleNamespace, graph: Path, stored_model: Path
) -> None:
    """The reference is spelled by the rules: two words, both right."""
    data = small.write_data(tmp_path / "data", {"cut1": SCORES}, {"cut1": "AB A!"})
    output = tmp_path / "output"
    output.mkdir()
    tried = ScaleSearchSettings(500, acoustic_scales=(1.0,), word_insertion_penalties=(0.0,))
    settings = replace(DecodingSettings().network, scale_search=tried)
    search_scales(graph, data, stored_model, output, settings)
    best = json.loads((output / "best_scale.json").read_text())
    assert best["words"] == 2 and best["wer_percent"] == 0.0
