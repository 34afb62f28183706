"""HCLG against the enumeration of lexicon x language model x tree, and in a decoder."""

import itertools
import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import kaldi_decoder
import kaldifst
import numpy as np
import pytest

from am.errors import InputError
from am.graph.arrays import FstArrays, from_fst, read_fst
from am.graph.compile import HmmModel, compile_graph, make_graph
from am.graph.context import context_width
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang
from am.lang.prepare import LangSettings, prepare_lang
from am.lm.arpa import write_arpa
from am.lm.grammar import format_lm
from am.lm.kneser_ney import NgramSettings, train_ngram
from am.tree.context_tree import LEFT, RIGHT, ContextTree, monophone_tree

REPOSITORY = Path(__file__).resolve().parents[2]
SPEECHOCEAN = Path(
    os.environ.get("MEGAHOUR_SPEECHOCEAN", REPOSITORY / "../shared/data/speechocean762")
)
# a and d sound alike, and are the beginning of c; b has two pronunciations.
LEXICON = "a 1 X\nb 1 X Y\nb 0.5 Y\nc 1 X Y X\nd 1 X\n"
TEXT = [["a"], ["a", "b"], ["b", "c"], ["d"], ["a", "b"], ["c", "d"]]
MAX_WORDS = 2

PdfsAndWords = tuple[tuple[int, ...], tuple[int, ...]]


def make_lang(folder: Path, order: int, *, position_dependent: bool) -> Lang:
    (folder / "lexicon.txt").write_text(LEXICON)
    for name in ("lang", "lang_test"):
        (folder / name).mkdir()
    settings = LangSettings(
        pronunciation_probabilities=True,
        position_dependent_phones=position_dependent,
        silence_probability=0.25,
        nonsilence_states=2,
        silence_states=1,
    )
    prepare_lang(folder / "lexicon.txt", settings, folder / "lang")
    write_arpa(train_ngram(TEXT, NgramSettings(order)), folder / "lm.arpa", compress=False)
    format_lm(folder / "lang", folder / "lm.arpa", folder / "lang_test")
    return Lang.load(folder / "lang_test")


def with_question(tree: ContextTree, pdf_id: int, position: int, members: list[int]) -> ContextTree:
    """The tree with one leaf split; ``yes`` keeps the pdf-id, ``no`` gets a new one."""
    leaf = int(np.flatnonzero(tree.pdf_id == pdf_id)[0])
    size = len(tree.position)

    def changed(values: np.ndarray, at_leaf: int, new: list[int]) -> np.ndarray:
        values = np.append(values, new).astype(values.dtype)
        values[leaf] = at_leaf
        return values

    asked = np.concatenate([tree.members, np.zeros((2, tree.members.shape[1]), dtype=bool)])
    asked[leaf, members] = True
    return ContextTree(
        roots=tree.roots,
        position=changed(tree.position, position, [-1, -1]),
        members=asked,
        yes=changed(tree.yes, size, [-1, -1]),
        no=changed(tree.no, size + 1, [-1, -1]),
        pdf_id=changed(tree.pdf_id, -1, [pdf_id, tree.num_pdfs]),
    )


def make_model(lang: Lang, *, triphone: bool) -> HmmModel:
    tree = monophone_tree([list(group) for group in lang.roots], lang.topology)
    if triphone:
        x, y = (
            group
            for group in lang.roots
            if lang.optional_silence not in group and (not set(group) & set(lang.silence_phones))
        )
        first_x, last_x = tree.triphone_pdf_ids(0, x[0], 0, 2)
        first_y, last_y = tree.triphone_pdf_ids(0, y[0], 0, 2)
        tree = with_question(tree, first_x, LEFT, [0, lang.optional_silence])
        tree = with_question(tree, last_x, RIGHT, [0, *y])
        tree = with_question(tree, first_y, LEFT, list(x))
        tree = with_question(tree, first_y, RIGHT, [lang.optional_silence])
        tree = with_question(tree, last_y, RIGHT, [0])
    triples = sorted(set(tree.possible_triples(lang.topology)))
    # One self-loop probability a pdf, so that the graph's labels tell it.
    stay = np.array([0.2 + 0.6 * pdf_id / tree.num_pdfs for _, _, pdf_id in triples])
    return HmmModel(tree, lang.topology, TransitionModel(np.array(triples), stay))


def leave_cost(model: HmmModel) -> np.ndarray:
    """(pdfs,) -log probability of leaving a state."""
    costs = np.zeros(model.tree.num_pdfs)
    costs[model.transitions.pdf_ids] = -np.log1p(-model.transitions.self_loop)
    return costs


def add(totals: dict[PdfsAndWords, float], key: PdfsAndWords, cost: float) -> None:
    """Add a path's probability to that of all paths with its labels."""
    totals[key] = -float(np.logaddexp(-totals.get(key, math.inf), -cost))


def self_loops(fst: FstArrays) -> np.ndarray:
    """Loops of HMM states; a loop that says a word is one of the language model."""
    return (fst.source == fst.nextstate) & (fst.olabel == 0)


def all_paths(fst: FstArrays) -> Iterator[tuple[PdfsAndWords, float]]:
    """Every path of at most MAX_WORDS words that takes no self-loop."""
    arcs_of: dict[int, list[int]] = {}
    for arc in np.flatnonzero(~self_loops(fst)).tolist():
        arcs_of.setdefault(int(fst.source[arc]), []).append(arc)
    stack = [(fst.start, (), (), 0.0)]
    while stack:
        state, inputs, outputs, cost = stack.pop()
        if np.isfinite(fst.final[state]):
            yield (inputs, outputs), cost + float(fst.final[state])
        for arc in arcs_of.get(state, []):
            ilabel, olabel = int(fst.ilabel[arc]), int(fst.olabel[arc])
            if olabel and len(outputs) == MAX_WORDS:
                continue
            stack.append(
                (
                    int(fst.nextstate[arc]),
                    (*inputs, ilabel) if ilabel else inputs,
                    (*outputs, olabel) if olabel else outputs,
                    cost + float(fst.weight[arc]),
                )
            )


def expected_paths(lang: Lang, model: HmmModel, scale: float) -> dict[PdfsAndWords, float]:
    """Word sequences of G x pronunciations x silences x tree, by enumeration."""
    grammar: dict[PdfsAndWords, float] = {}
    for (_, words), cost in all_paths(from_fst(read_fst(lang.folder / "G.fst"))):
        add(grammar, ((), words), cost)
    silence = [((), 0.75), ((lang.optional_silence,), 0.25)]
    leave = leave_cost(model)
    totals: dict[PdfsAndWords, float] = {}
    for (_, words), word_cost in grammar.items():
        spoken = [lang.pronunciations[word] for word in words]
        for said in itertools.product(*spoken):
            for gaps in itertools.product(silence, repeat=len(words) + 1):
                phones = gaps[0][0] + sum(
                    (p.phones + gap for p, (gap, _) in zip(said, gaps[1:], strict=True)), ()
                )
                probability = math.prod(p.probability for p in said) * math.prod(p for _, p in gaps)
                pdf_ids = pdf_ids_of(phones, model)
                cost = word_cost - math.log(probability) + scale * leave[pdf_ids].sum()
                add(totals, (tuple(pdf_id + 1 for pdf_id in pdf_ids), words), cost)
    return totals


def pdf_ids_of(phones: tuple[int, ...], model: HmmModel) -> list[int]:
    padded = (0, *phones, 0)
    return [
        pdf_id
        for left, phone, right in zip(padded, padded[1:], padded[2:], strict=False)
        for pdf_id in model.tree.triphone_pdf_ids(
            left, phone, right, model.topology.num_states(phone)
        )
    ]


@pytest.mark.parametrize("triphone", [False, True])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("position_dependent", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_accepts_exactly_what_lexicon_and_grammar_allow(
    tmp_path: Path, triphone: bool, order: int, position_dependent: bool, scale: float
) -> None:
    lang = make_lang(tmp_path, order, position_dependent=position_dependent)
    model = make_model(lang, triphone=triphone)
    assert context_width(model.tree) == (3 if triphone else 1)
    found: dict[PdfsAndWords, float] = {}
    for key, cost in all_paths(from_fst(compile_graph(lang, model, scale))):
        add(found, key, cost)
    expected = expected_paths(lang, model, scale)
    assert len(expected) > 100
    assert found.keys() == expected.keys()
    for key, cost in expected.items():
        assert found[key] == pytest.approx(cost, abs=0.01), key


def test_every_hmm_state_has_its_self_loop(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, 2, position_dependent=True)
    model = make_model(lang, triphone=True)
    fst = from_fst(compile_graph(lang, model, 1.0))
    stay = np.zeros(model.tree.num_pdfs + 1)
    stay[model.transitions.pdf_ids + 1] = -np.log(model.transitions.self_loop)
    loops = self_loops(fst)
    np.testing.assert_allclose(fst.weight[loops], stay[fst.ilabel[loops]], rtol=1e-5)
    loop_label = np.zeros(fst.num_states, dtype=int)
    loop_label[fst.source[loops]] = fst.ilabel[loops]
    entering = ~loops & (fst.ilabel > 0)
    np.testing.assert_array_equal(loop_label[fst.nextstate[entering]], fst.ilabel[entering])


@pytest.mark.parametrize("triphone", [False, True])
def test_decoder_finds_the_words(tmp_path: Path, triphone: bool) -> None:
    lang = make_lang(tmp_path, 2, position_dependent=True)
    model = make_model(lang, triphone=triphone)
    graph = compile_graph(lang, model, 0.1)
    silence = (lang.optional_silence,)
    for words in (["b", "c"], ["c"], ["a", "b"]):
        spoken = [lang.pronunciations[lang.words[word]][0].phones for word in words]
        phones = silence + sum(spoken, ()) + silence
        labels = np.repeat(pdf_ids_of(phones, model), 3)
        assert decode(graph, labels, model.tree.num_pdfs) == [lang.words[word] for word in words]


def decode(graph: kaldifst.StdVectorFst, pdf_ids: np.ndarray, num_pdfs: int) -> list[int]:
    """Best words where each frame is sure of its pdf-id."""
    scores = np.full((len(pdf_ids), num_pdfs), -20.0, dtype=np.float32)
    scores[np.arange(len(pdf_ids)), pdf_ids] = 0.0
    decoder = kaldi_decoder.FasterDecoder(graph, kaldi_decoder.FasterDecoderOptions())
    decoder.decode(kaldi_decoder.DecodableCtc(scores))
    assert decoder.reached_final()
    found, best = decoder.get_best_path()
    assert found
    _, _, words, _ = kaldifst.get_linear_symbol_sequence(best)
    return list(words)


def save_model(folder: Path, lang: Lang, model: HmmModel) -> Path:
    folder.mkdir()
    model.tree.save(folder / "tree.json")
    model.topology.save(folder / "topology.json")
    model.transitions.save(folder / "transitions.json")
    (folder / "phones.txt").write_bytes((lang.folder / "phones.txt").read_bytes())
    return folder


def test_graph_folder(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, 2, position_dependent=True)
    model = make_model(lang, triphone=True)
    folder = save_model(tmp_path / "model", lang, model)
    (folder / "senones.json").write_text('{"frame_shift": 0.03}')
    (tmp_path / "graph").mkdir()
    make_graph(lang.folder, folder, tmp_path / "graph", 0.1)
    facts = json.loads((tmp_path / "graph" / "graph.json").read_text())
    fst = from_fst(read_fst(tmp_path / "graph" / "HCLG.fst"))
    assert facts["num_pdfs"] == model.tree.num_pdfs
    assert facts["frame_shift"] == 0.03
    assert (facts["states"], facts["arcs"]) == (fst.num_states, fst.num_arcs)
    assert set(fst.ilabel.tolist()) <= set(range(model.tree.num_pdfs + 1))
    for name in ("words.txt", "phones.txt"):
        assert (tmp_path / "graph" / name).read_bytes() == (lang.folder / name).read_bytes()


def test_refuses_a_model_of_another_lang_folder(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, 1, position_dependent=False)
    model = make_model(lang, triphone=False)
    output = tmp_path / "graph"
    folder = save_model(tmp_path / "model", lang, model)

    without_root = replace(model.tree, roots=model.tree.roots.copy())
    without_root.roots[lang.phones["Y"]] = -1
    without_root.save(folder / "tree.json")
    with pytest.raises(InputError, match=r"tree.json: has no root for the phone 'Y'"):
        make_graph(lang.folder, folder, output, 0.1)
    model.tree.save(folder / "tree.json")

    Topology.uniform([1], 1).save(folder / "topology.json")
    with pytest.raises(InputError, match=r"topology.json: lacks the phone"):
        make_graph(lang.folder, folder, output, 0.1)
    model.topology.save(folder / "topology.json")

    TransitionModel.from_triples([(1, 0, 0)], 0.5).save(folder / "transitions.json")
    with pytest.raises(InputError, match=r"transitions.json: has no state"):
        make_graph(lang.folder, folder, output, 0.1)
    model.transitions.save(folder / "transitions.json")

    table = (folder / "phones.txt").read_text()
    (folder / "phones.txt").write_text(table.replace("Y ", "Z "))
    with pytest.raises(InputError, match=r"phones.txt: differs from"):
        make_graph(lang.folder, folder, output, 0.1)
    (folder / "phones.txt").unlink()
    with pytest.raises(InputError, match=r"phones.txt: no such file"):
        make_graph(lang.folder, folder, output, 0.1)
    (folder / "phones.txt").write_text(table)

    (lang.folder / "G.fst").unlink()
    with pytest.raises(InputError, match=r"G.fst: no such grammar; run utils/format_lm.py"):
        make_graph(lang.folder, folder, output, 0.1)


@pytest.mark.skipif(not SPEECHOCEAN.is_dir(), reason="the corpus is not here")
def test_real_lexicon_and_grammar(tmp_path: Path) -> None:
    for name in ("lang", "lang_test"):
        (tmp_path / name).mkdir()
    prepare_lang(SPEECHOCEAN / "resource" / "lexicon.txt", LangSettings(), tmp_path / "lang")
    format_lm(tmp_path / "lang", SPEECHOCEAN / "lm" / "tg.arpa", tmp_path / "lang_test")
    lang = Lang.load(tmp_path / "lang_test")
    tree = monophone_tree([list(group) for group in lang.roots], lang.topology)
    # A question on the context of the first state of every sound makes it a triphone tree.
    for group in lang.roots[2:]:
        first = tree.triphone_pdf_ids(0, group[0], 0, 1)[0]
        tree = with_question(tree, first, LEFT, list(lang.roots[3] + lang.roots[9]))
    triples = tree.possible_triples(lang.topology)
    model = HmmModel(tree, lang.topology, TransitionModel.from_triples(triples, 0.5))
    graph = compile_graph(lang, model, 0.1)
    words = [lang.words[word] for word in ("ZERO", "THREE", "FIVE", "ONE")]
    phones = sum((lang.pronunciations[word][0].phones for word in words), ())
    labels = np.repeat(pdf_ids_of(phones, model), 2)
    assert decode(graph, labels, tree.num_pdfs) == words
