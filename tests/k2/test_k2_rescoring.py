"""N-best lists, oracle errors, minimum Bayes risk and other language models: against all paths."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Literal

import kaldialign
import numpy as np
import pytest
import torch

from am.decoding.decode_data import decode_data
from am.decoding.decoder import Scales, SearchSettings
from am.decoding.graph import DecodingGraph
from am.errors import InputError
from am.graph.arrays import to_fst
from am.k2.decoder import BatchDecoder, K2Settings
from am.k2.lattice_store import LatticeWriter
from am.k2.lattices import Lattices
from am.k2.nbest import Hypothesis, nbest
from am.k2.oracle import oracle_errors
from am.k2.rescore_data import RescoringSettings, rescore_lattices
from am.k2.rescoring import LanguageModelChange, minimum_bayes_risk, sentence_scores
from am.lm.arpa import read_arpa, write_arpa
from am.lm.kneser_ney import NgramSettings, train_ngram
from am.scoring.transcripts import read_transcripts
from am.storage import Record
from tests.k2.k2_cases import make_spoken_task, random_graph

CPU = torch.device("cpu")
NUM_PDFS, NUM_WORDS = 3, 4
TEXT = [["a", "b"], ["b", "c", "a"], ["d"], ["a", "b", "d"]]


def lattices_of(seed: int, lengths: tuple[int, ...]) -> Lattices:
    rng = np.random.default_rng(seed)
    fst = to_fst(random_graph(rng, 5, NUM_PDFS, NUM_WORDS))
    graph = DecodingGraph(fst, ("<eps>", "a", "b", "c", "d"), NUM_PDFS, None, None)
    wide = SearchSettings(beam=1000.0, max_active=100_000, min_active=0)
    decoder = BatchDecoder(graph, Scales(1.0), wide, K2Settings(lattice_beam=6.0), CPU)
    scores = [rng.normal(0, 1, (length, NUM_PDFS)).astype(np.float32) for length in lengths]
    return decoder.lattices(scores)


def paths_of(record: Record) -> dict[tuple[int, ...], list[float]]:
    """The scores of all paths of a lattice by their words."""
    paths: dict[tuple[int, ...], list[float]] = defaultdict(list)
    score = record["graph_score"] + record["acoustic_score"]
    last = int(record["target"].max())
    stack: list[tuple[int, tuple[int, ...], float]] = [(0, (), 0.0)]
    while stack:
        state, words, total = stack.pop()
        if state == last:
            paths[words].append(total)
        for arc in np.flatnonzero(record["source"] == state).tolist():
            more = tuple(word for word in record["words"][arc].tolist() if word)
            stack.append((int(record["target"][arc]), words + more, total + float(score[arc])))
    return paths


@pytest.mark.k2
@pytest.mark.parametrize("seed", range(6))
def test_hypotheses_have_the_scores_of_all_their_paths(seed: int) -> None:
    lattices = lattices_of(seed, (5, 3, 1))
    records = lattices.to_records(1.0)
    for record, hypotheses in zip(records, nbest(lattices, 1000), strict=True):
        if record is None:
            assert hypotheses == []
            continue
        paths = paths_of(record)
        assert {one.word_ids for one in hypotheses} <= paths.keys()
        best = max(paths, key=lambda words: max(paths[words]))
        assert hypotheses[0].word_ids == best
        for one in hypotheses:
            assert one.score == pytest.approx(max(paths[one.word_ids]), abs=1e-4)
            total = float(np.logaddexp.reduce(paths[one.word_ids]))
            assert one.total_score == pytest.approx(total, abs=1e-4)
        assert all(one.score >= other.score for one, other in pairwise(hypotheses))
        # Nearly all of the probability is found.
        found = np.logaddexp.reduce([one.total_score for one in hypotheses])
        everything = np.logaddexp.reduce([score for each in paths.values() for score in each])
        assert found > everything + np.log(0.9)
    assert [len(one) for one in nbest(lattices, 2)] <= [2, 2, 2]


@pytest.mark.k2
@pytest.mark.parametrize("seed", range(6))
def test_oracle_errors_are_the_least_of_all_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for record in lattices_of(seed, (4, 2)).to_records(1.0):
        if record is None:
            continue
        for length in (0, 4):
            reference = rng.integers(-1, NUM_WORDS + 1, length).tolist()
            expected = min(
                kaldialign.edit_distance(reference, words)["total"] if reference else len(words)
                for words in paths_of(record)
            )
            assert oracle_errors(record, reference) == expected


def test_minimum_bayes_risk_by_hand() -> None:
    """The likeliest has 0.4 and shares no word with the others, which differ in one."""
    likely = Hypothesis((9, 9), 0.0, float(np.log(0.4)))
    first = Hypothesis((1, 2), 0.0, float(np.log(0.31)))
    second = Hypothesis((1, 3), 0.0, float(np.log(0.29)))
    # Risks: 1.2, 0.8 + 0.29, 0.8 + 0.31.
    assert minimum_bayes_risk([likely, first, second]) is first
    assert minimum_bayes_risk([likely, first, second], scale=20.0) is likely
    assert minimum_bayes_risk([likely]) is likely


def test_another_language_model(tmp_path: Path) -> None:
    words = {1: "a", 2: "b", 3: "c", 4: "d"}
    unigram, bigram = (train_ngram(TEXT, NgramSettings(order)) for order in (1, 2))
    by_hand = [
        sum(
            float(bigram.log10_probabilities(np.array([bigram.numbers(pair)]))[0])
            for pair in pairwise(["<s>", *sentence, "</s>"])
        )
        for sentence in TEXT
    ]
    scores = sentence_scores(bigram, TEXT, "the model")
    np.testing.assert_allclose(scores, np.log(10) * np.array(by_hand), rtol=1e-9)
    hypotheses = [Hypothesis((2, 1), -1.0, -0.5), Hypothesis((1, 2), -1.2, -0.7)]
    changed = LanguageModelChange(unigram, bigram, words).rescored(hypotheses)
    assert [one.word_ids for one in changed] == [(1, 2), (2, 1)]  # "a b" is in the text
    unchanged = LanguageModelChange(bigram, bigram, words).rescored(hypotheses)
    assert unchanged == hypotheses
    with pytest.raises(InputError, match="the new language model: lacks the word 'e'"):
        LanguageModelChange(bigram, bigram, {1: "e"}).rescored([Hypothesis((1,), 0.0, 0.0)])


@pytest.mark.k2
def test_rescoring_a_folder(tmp_path: Path) -> None:
    task = make_spoken_task(tmp_path, num_cuts=8)
    (tmp_path / "decoded").mkdir()
    k2 = K2Settings(keep_lattices=True, lattice_beam=15.0)
    search = SearchSettings(beam=25.0, max_active=5000)
    decode_data(task.graph, task.mfcc, task.mono, tmp_path / "decoded", Scales(0.05), search, k2=k2)
    decoded = (tmp_path / "decoded/hypotheses.txt").read_text()

    def rescored(name: str, choose: Literal["best", "mbr"], **options: Path) -> Path:
        (tmp_path / name).mkdir()
        settings = RescoringSettings(num_best=10, choose=choose, mbr_scale=0.1, flatness=0.1)
        lattices = tmp_path / "decoded/lattices"
        rescore_lattices(lattices, tmp_path / name, settings, CPU, **options)  # type: ignore[arg-type]
        return tmp_path / name

    best = rescored("best", "best", transcribed=task.mfcc)
    assert (best / "hypotheses.txt").read_text() == decoded
    oracle = json.loads((best / "oracle.json").read_text())
    assert oracle["without_lattice"] == 0 and oracle["errors"] <= oracle["words"] // 10
    before = listed_scores(best / "nbest.txt")
    assert len(before) > len(decoded.splitlines())

    old = tmp_path / "lm.arpa"
    same = rescored("same", "best", old_model=old, new_model=old)
    assert (same / "nbest.txt").read_text() == (best / "nbest.txt").read_text()
    sentences = [words for _, words in before]
    new = train_ngram([list(reversed(words)) for words in sentences], NgramSettings(3))
    write_arpa(new, tmp_path / "new.arpa", compress=False)
    changed = rescored("mbr", "mbr", old_model=old, new_model=tmp_path / "new.arpa")
    after = listed_scores(changed / "nbest.txt")
    assert before.keys() == after.keys()
    models = [read_arpa(path) for path in (old, tmp_path / "new.arpa")]
    old_scores, new_scores = (sentence_scores(model, sentences, "it") for model in models)
    np.testing.assert_allclose(
        [after[each] - before[each] for each in before], new_scores - old_scores, atol=1e-3
    )
    chosen = read_transcripts(changed / "hypotheses.txt")
    assert all((cut_id, tuple(words)) in after for cut_id, words in chosen.items())
    with pytest.raises(InputError, match="give both language models"):
        rescored("half", "best", old_model=old)


@pytest.mark.parametrize("arcs", [0, 1])
def test_an_empty_lattice_is_named(tmp_path: Path, arcs: int) -> None:
    """Without arcs, or without one into a final state."""
    (tmp_path / "words.txt").write_text("<eps> 0\na 1\n")
    writer = LatticeWriter(tmp_path / "lattices", tmp_path)
    integers = {name: np.full(arcs, 1, np.int32) for name in ("target", "label")}
    scores = {name: np.zeros(arcs, np.float32) for name in ("graph_score", "acoustic_score")}
    words = np.zeros((arcs, 1), np.int32)
    writer.write(
        "cut-7", {"source": np.zeros(arcs, np.int32), **integers, "words": words, **scores}
    )
    writer.finish(Scales(0.1), 0.03)
    with pytest.raises(InputError, match=r"lattices: cut-7: an empty lattice; decode again$"):
        rescore_lattices(tmp_path / "lattices", tmp_path, RescoringSettings(), CPU)


def listed_scores(path: Path) -> dict[tuple[str, tuple[str, ...]], float]:
    """The score of each hypothesis by cut and words."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return {(row[0].rpartition("-")[0], tuple(row[2:])): float(row[1]) for row in rows}


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="num_best 0"):
        RescoringSettings(num_best=0)
    with pytest.raises(InputError, match="mbr_scale 0"):
        RescoringSettings(mbr_scale=0.0)
