"""The decoder against the enumeration of every path."""

from types import SimpleNamespace

import kaldifst
import numpy as np
import pytest

from am.decoding.decoder import Decoder, Scales, SearchSettings, fault_of_scores
from am.decoding.graph import DecodingGraph, add_word_insertion_penalty
from am.errors import InputError
from am.graph.arrays import from_fst

WIDE = SearchSettings(beam=100.0, max_active=1000, min_active=0)


def make_graph(small: SimpleNamespace) -> DecodingGraph:
    return DecodingGraph(small.loop_graph(), small.words, small.num_pdfs, None, None)


@pytest.mark.parametrize("acoustic_scale", [0.3, 1.0])
@pytest.mark.parametrize("penalty", [-0.8, 0.0, 1.2])
def test_finds_the_cheapest_of_all_paths(
    small: SimpleNamespace, acoustic_scale: float, penalty: float
) -> None:
    graph = make_graph(small)
    decoder = Decoder(graph, Scales(acoustic_scale, penalty), WIDE)
    generator = np.random.default_rng(0)
    for num_frames in (1, 2, 5):
        paths = list(small.all_paths(graph.fst, num_frames))
        for _ in range(10):
            scores = generator.normal(0, 2, (num_frames, 2)).astype(np.float32)
            costs = [small.cost_of(path, scores, acoustic_scale, penalty) for path in paths]
            best = decoder.decode(scores)
            assert best is not None and best.reached_final
            assert best.cost == pytest.approx(min(costs), abs=1e-4)
            cheapest = paths[int(np.argmin(costs))]
            assert tuple(best.word_ids) == cheapest.words
            assert tuple(best.pdf_ids + 1) == cheapest.labels


def test_words_of_a_path_seen_by_eye(small: SimpleNamespace) -> None:
    graph = make_graph(small)
    scores = np.array([[5, 0], [5, 0], [0, 5], [0, 5], [5, 0]], dtype=np.float32)
    best = Decoder(graph, Scales(1.0), WIDE).decode(scores)
    assert best is not None
    assert graph.words_of(best.word_ids) == ["A", "B", "A"]
    # graph: 0.7 + 0.9 + 0.7 for the words, two loops, the end; acoustics: five times 5.
    assert best.cost == pytest.approx(2.3 + 2 * 0.2 + 0.3 - 25.0)


def test_penalty_changes_only_the_costs_of_words(small: SimpleNamespace) -> None:
    before = from_fst(small.loop_graph())
    after = from_fst(add_word_insertion_penalty(small.loop_graph(), 0.5))
    for name in ("source", "ilabel", "olabel", "nextstate", "final"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    np.testing.assert_allclose(after.weight, before.weight + 0.5 * (before.olabel > 0))


def test_without_a_final_state_the_best_unfinished_path_is_taken() -> None:
    fst = kaldifst.StdVectorFst()
    for _ in range(4):
        fst.add_state()
    fst.start = 0
    for state in range(3):  # exactly three frames are final, with word B
        fst.add_arc(state, kaldifst.StdArc(1, 2 if state == 0 else 0, 0.0, state + 1))
    fst.set_final(3, 0.0)
    graph = DecodingGraph(fst, ("<eps>", "A", "B"), 1, None, None)
    decoder = Decoder(graph, Scales(1.0), WIDE)
    unfinished = decoder.decode(np.zeros((2, 1), dtype=np.float32))
    assert unfinished is not None and not unfinished.reached_final
    assert graph.words_of(unfinished.word_ids) == ["B"]
    finished = decoder.decode(np.zeros((3, 1), dtype=np.float32))
    assert finished is not None and finished.reached_final
    # Four frames fit no path at all.
    assert decoder.decode(np.zeros((4, 1), dtype=np.float32)) is None


def test_no_frames_no_path(small: SimpleNamespace) -> None:
    decoder = Decoder(make_graph(small), Scales(1.0), WIDE)
    assert decoder.decode(np.zeros((0, 2), dtype=np.float32)) is None


def test_faults_of_scores() -> None:
    assert fault_of_scores(np.zeros((3, 2))) is None
    assert fault_of_scores(np.zeros((0, 2))) == "no frames"
    assert fault_of_scores(np.array([[0.0, np.nan]])) == "scores that are not finite"


@pytest.mark.parametrize("acoustic_scale", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_scales(acoustic_scale: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        Scales(acoustic_scale)
    with pytest.raises(InputError, match="finite"):
        Scales(1.0, float("nan"))


@pytest.mark.parametrize("beams", [(0.0, 10, 1), (13.0, 10, 10), (13.0, 10, -1)])
def test_bad_beams(beams: tuple[float, int, int]) -> None:
    with pytest.raises(InputError, match="search: "):
        SearchSettings(*beams)


def test_scales_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "best_scale.json"
    with pytest.raises(InputError, match="search_scales"):
        Scales.load(path)
    path.write_text('{"acoustic_scale": 0.7, "word_insertion_penalty": 1, "wer_percent": 3.2}')
    assert Scales.load(path) == Scales(0.7, 1.0)
    path.write_text('{"word_insertion_penalty": 1}')
    with pytest.raises(InputError, match="acoustic_scale"):
        Scales.load(path)
    path.write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        Scales.load(path)
