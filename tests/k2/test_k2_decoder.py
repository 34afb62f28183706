"""k2's search against kaldi-decoder's: the same best paths and scores at wide beams."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from am.decoding.decode_data import decode_data, load_graph_and_scorer
from am.decoding.decoder import BestPath, Decoder, Scales, SearchSettings
from am.decoding.graph import DecodingGraph
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.graph.arrays import ArcList, to_fst
from am.k2.decoder import BatchDecoder, K2Settings
from am.k2.lattice_store import LatticeStore
from am.k2.lattices import Lattices, best_paths
from am.storage import write_store_description
from tests.k2.k2_cases import SpokenTask, make_spoken_task, random_graph

pytestmark = pytest.mark.k2
WIDE = SearchSettings(beam=1000.0, max_active=100_000, min_active=0)
CPU = torch.device("cpu")
NUM_PDFS, NUM_WORDS = 4, 5


def decoding_graph(seed: int, num_states: int = 12) -> DecodingGraph:
    fst = to_fst(random_graph(np.random.default_rng(seed), num_states, NUM_PDFS, NUM_WORDS))
    words = ("<eps>", "a", "b", "c", "d", "e")
    return DecodingGraph(fst, words, NUM_PDFS, None, None)


def batch_decoder(graph: DecodingGraph, scales: Scales, **settings: float) -> BatchDecoder:
    return BatchDecoder(graph, scales, WIDE, K2Settings(**settings), CPU)  # type: ignore[arg-type]


def random_scores(seed: int, lengths: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 4, (length, NUM_PDFS)).astype(np.float32) for length in lengths]


def assert_same(one: BestPath | None, other: BestPath | None) -> None:
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.cost == pytest.approx(other.cost, abs=1e-3)
        assert one.word_ids == other.word_ids
        np.testing.assert_array_equal(one.pdf_ids, other.pdf_ids)
        assert one.reached_final == other.reached_final


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scales", [Scales(1.0), Scales(0.3, 0.77)])
def test_random_graphs(seed: int, scales: Scales) -> None:
    graph = decoding_graph(seed)
    scores = random_scores(seed, (7, 1, 30, 12))
    kaldi = Decoder(graph, scales, WIDE).decode_batch(scores)
    found = batch_decoder(graph, scales).decode_batch(scores)
    for one, other in zip(found, kaldi, strict=True):
        assert_same(one, other)


def three_frames() -> DecodingGraph:
    """Exactly three frames end in the final state, after a word."""
    graph = ArcList()
    for _ in range(4):
        graph.add_state()
    for state in range(3):
        graph.add_arc(state, state + 1, 1, 2 if state == 0 else 0)
    graph.set_final(3)
    return DecodingGraph(to_fst(graph.to_arrays()), ("<eps>", "A", "B"), 1, None, None)


def test_without_a_final_state_the_best_unfinished_path_is_taken() -> None:
    scores = [np.ones((length, 1), dtype=np.float32) for length in (2, 3, 4)]
    scores.append(np.zeros((0, 1), dtype=np.float32))
    decoder = batch_decoder(three_frames(), Scales(1.0), keep_lattices=True)
    paths, records = decoder.lattices_of_batch(scores)
    for one, other in zip(paths, decoder.decode_batch(scores), strict=True):
        assert_same(one, other)
    unfinished, finished, too_long, nothing = paths
    assert unfinished is not None and not unfinished.reached_final
    assert unfinished.word_ids == [2] and unfinished.cost == -2.0
    assert finished is not None and finished.reached_final
    assert too_long is None and nothing is None
    assert [record is None for record in records] == [False, False, True, True]
    assert decoder.decode_batch(scores[3:]) == [None]


def test_scores_of_another_network_are_refused() -> None:
    decoder = batch_decoder(decoding_graph(1), Scales(1.0))
    with pytest.raises(InputError, match="made for 4 senones, but the network's outputs are 3"):
        decoder.decode_batch([np.zeros((5, 3), dtype=np.float32)])


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="batch_cuts 0"):
        K2Settings(batch_cuts=0)
    with pytest.raises(InputError, match="lattice_beam -1"):
        K2Settings(lattice_beam=-1.0)


def test_lattices_survive_their_records() -> None:
    graph = decoding_graph(2)
    decoder = batch_decoder(graph, Scales(0.5), lattice_beam=6.0)
    lattices = decoder.lattices(random_scores(2, (9, 20)))
    records = [record for record in lattices.to_records(0.5) if record is not None]
    again = Lattices.from_records(records, 0.5, CPU)
    for one, other in zip(best_paths(lattices), best_paths(again), strict=True):
        assert_same(one, other)
    totals = [
        each.fsas.get_tot_scores(use_double_scores=True, log_semiring=True)
        for each in (lattices, again)
    ]
    torch.testing.assert_close(*totals, rtol=0, atol=1e-3)
    for one, other in zip(records, again.to_records(0.5), strict=True):
        assert other is not None
        np.testing.assert_array_equal(one["label"], other["label"])
        assert [[word for word in row if word] for row in one["words"].tolist()] == [
            [word for word in row if word] for row in other["words"].tolist()
        ]
        np.testing.assert_allclose(one["acoustic_score"], other["acoustic_score"], atol=1e-4)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> SpokenTask:
    return make_spoken_task(tmp_path_factory.mktemp("spoken"))


def test_speech_through_hclg(spoken: SpokenTask) -> None:
    graph, scorer = load_graph_and_scorer(spoken.graph, spoken.mfcc, spoken.mono, CPU)
    scores = [scorer.scores(cut) for cut in itertools.islice(open_feature_data(spoken.mfcc), 6)]
    scales = Scales(0.07, 0.5)
    kaldi = Decoder(graph, scales, WIDE).decode_batch(scores)
    for one, other in zip(batch_decoder(graph, scales).decode_batch(scores), kaldi, strict=True):
        assert one is not None
        assert_same(one, other)


def test_decoding_a_folder(spoken: SpokenTask, tmp_path: Path) -> None:
    for name, k2 in (("kaldi", None), ("k2", K2Settings(batch_cuts=5, keep_lattices=True))):
        (tmp_path / name).mkdir()
        decode_data(
            spoken.graph, spoken.mfcc, spoken.mono, tmp_path / name, Scales(0.07), WIDE, k2=k2
        )
    hypotheses = (tmp_path / "k2/hypotheses.txt").read_text()
    assert hypotheses == (tmp_path / "kaldi/hypotheses.txt").read_text()
    assert json.loads((tmp_path / "k2/settings.json").read_text())["decoder"] == "k2"
    assert "decoder" not in json.loads((tmp_path / "kaldi/settings.json").read_text())
    store = LatticeStore(tmp_path / "k2/lattices")
    lattices = Lattices.from_records([store[cut] for cut in store], store.acoustic_scale, CPU)
    for cut_id, path in zip(store, best_paths(lattices), strict=True):
        assert path is not None
        words = [store.words[word] for word in path.word_ids]
        assert f"{' '.join([cut_id, *words])}\n" in hypotheses


def test_a_store_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"store\.json"):
        LatticeStore(tmp_path)
    write_store_description(tmp_path, {"kind": "pdf-ids", "frame_shift": 0.03, "fields": []})
    with pytest.raises(InputError, match=r"holds pdf-ids, not word lattices; give the lattices"):
        LatticeStore(tmp_path)
