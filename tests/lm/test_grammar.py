"""G scores sentences as the ARPA model does."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from test_kneser_ney import random_sentences

from am.errors import InputError
from am.graph.arrays import FstArrays, from_fst, read_fst
from am.lang.prepare import LangSettings, prepare_lang
from am.lm.arpa import write_arpa
from am.lm.grammar import format_lm, grammar_fst
from am.lm.kneser_ney import NgramSettings, train_ngram
from am.lm.model import ArpaModel, NgramOrder

REPOSITORY = Path(__file__).resolve().parents[2]
SPEECHOCEAN = Path(
    os.environ.get("MEGAHOUR_SPEECHOCEAN", REPOSITORY / "../shared/data/speechocean762")
)
BACKOFF = 1000


def word_ids(model: ArpaModel) -> dict[str, int]:
    return {"#0": BACKOFF, **{word: 10 + n for n, word in enumerate(model.words)}}


def sentence_cost(fst: FstArrays, labels: list[int]) -> float:
    """Cost of a sentence, a backoff arc being taken only where there is no other way."""
    arcs = {
        key: arc
        for arc, key in enumerate(zip(fst.source.tolist(), fst.ilabel.tolist(), strict=True))
    }
    state, cost = fst.start, 0.0
    for label in labels:
        while (state, label) not in arcs:
            arc = arcs[state, BACKOFF]
            state, cost = int(fst.nextstate[arc]), cost + float(fst.weight[arc])
        arc = arcs[state, label]
        state, cost = int(fst.nextstate[arc]), cost + float(fst.weight[arc])
    while not np.isfinite(fst.final[state]):
        arc = arcs[state, BACKOFF]
        state, cost = int(fst.nextstate[arc]), cost + float(fst.weight[arc])
    return cost + float(fst.final[state])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_sentences_cost_what_the_model_says(order: int) -> None:
    model = train_ngram(random_sentences(1), NgramSettings(order), "abcdefghijkl")
    ids = word_ids(model)
    fst = grammar_fst(model, ids)
    for sentence in random_sentences(2, 40):
        numbers = model.numbers(["<s>", *sentence, "</s>"])
        expected = 0.0
        for end in range(1, len(numbers)):
            window = numbers[max(0, end + 1 - order) : end + 1]
            expected -= np.log(10) * model.log10_probabilities(np.array([window]))[0]
        found = sentence_cost(fst, [ids[word] for word in sentence])
        assert found == pytest.approx(expected, rel=1e-5)


def test_is_deterministic_and_backs_off_to_shorter_histories_alone() -> None:
    model = train_ngram(random_sentences(1), NgramSettings(3))
    fst = grammar_fst(model, word_ids(model))
    assert (fst.ilabel > 0).all()
    assert len(np.unique(np.stack([fst.source, fst.ilabel]), axis=1).T) == fst.num_arcs
    backoff = fst.ilabel == BACKOFF
    assert (fst.olabel[backoff] == 0).all()
    assert (fst.olabel[~backoff] == fst.ilabel[~backoff]).all()
    state_after = dict(
        zip(fst.source[backoff].tolist(), fst.nextstate[backoff].tolist(), strict=True)
    )
    for state in range(fst.num_states):
        for _ in range(3):
            state = state_after.get(state, 0)
        assert state == 0


def test_next_history_skips_ngrams_that_the_model_lacks() -> None:
    """A trigram ``a b c`` without the bigram ``b c``, as pruning tools leave it."""

    def level(*rows: tuple[int, int, float, float]) -> NgramOrder:
        history, word, prob, backoff = zip(*rows, strict=True)
        return NgramOrder(np.array(history), np.array(word), np.array(prob), np.array(backoff))

    unigrams = level(
        (0, 0, -99, -0.1), (0, 1, -1, 0), (0, 2, -1, -0.2), (0, 3, -1, -0.3), (0, 4, -1, -0.4)
    )
    # Words: <s> </s> a b c; bigrams <s> a, a b; trigram a b c.
    model = ArpaModel(
        ("<s>", "</s>", "a", "b", "c"),
        (unigrams, level((0, 2, -0.5, 0), (2, 3, -0.6, -0.7)), level((1, 4, -0.8, 0))),
    )
    ids = word_ids(model)
    found = sentence_cost(grammar_fst(model, ids), [ids[word] for word in "abc"])
    # <s> a; a b (after <s> a, whose backoff is 0); a b c; then c backs off to </s>.
    assert found / np.log(10) == pytest.approx(0.5 + 0.6 + 0.8 + 0.4 + 1.0)


def make_lang(folder: Path, words: str) -> Path:
    lexicon = folder / "lexicon.txt"
    lexicon.write_text("".join(f"{word} {word.upper()}\n" for word in words))
    lang = folder / "lang"
    lang.mkdir()
    prepare_lang(lexicon, LangSettings(), lang)
    return lang


def test_words_outside_the_lang_folder_are_dropped_and_counted(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, "abc")
    model = train_ngram([["a", "b", "z"], ["c", "z", "b"], ["<eps>", "a"]], NgramSettings(2))
    write_arpa(model, tmp_path / "lm.arpa.gz", compress=True)
    output = tmp_path / "lang_test"
    output.mkdir()
    format_lm(lang, tmp_path / "lm.arpa.gz", output)
    facts = json.loads((output / "lm.json").read_text())
    # z and <eps>; b z, z </s>, c z, z b, <s> <eps>, <eps> a.
    assert facts["dropped"] == {"words": 2, "ngrams": 6}
    assert (output / "phones" / "roots.txt").is_file()
    fst = from_fst(read_fst(output / "G.fst"))
    assert 0 not in fst.ilabel
    a, b = (int(line.split()[1]) for line in (output / "words.txt").read_text().splitlines()[2:4])
    backoff = next(
        int(line.split()[1])
        for line in (output / "words.txt").read_text().splitlines()
        if line.startswith("#0 ")
    )
    fst = FstArrays(
        fst.final,
        fst.source,
        np.where(fst.ilabel == backoff, BACKOFF, fst.ilabel),
        fst.olabel,
        fst.weight,
        fst.nextstate,
        fst.start,
    )
    expected = sum(
        model.log10_probabilities(np.array([model.numbers(pair)]))[0]
        for pair in (["<s>", "a"], ["a", "b"], ["b", "</s>"])
    )
    assert sentence_cost(fst, [a, b]) == pytest.approx(-np.log(10) * expected, rel=1e-5)


def test_refuses_a_model_of_other_words(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, "abc")
    write_arpa(train_ngram([["X"]], NgramSettings(2)), tmp_path / "lm.arpa", compress=False)
    output = tmp_path / "lang_test"
    output.mkdir()
    with pytest.raises(InputError, match="none of its words"):
        format_lm(lang, tmp_path / "lm.arpa", output)


@pytest.mark.skipif(not SPEECHOCEAN.is_dir(), reason="the corpus is not here")
def test_real_model(tmp_path: Path) -> None:
    lang = tmp_path / "lang"
    lang.mkdir()
    prepare_lang(SPEECHOCEAN / "resource" / "lexicon.txt", LangSettings(), lang)
    output = tmp_path / "lang_test"
    output.mkdir()
    format_lm(lang, SPEECHOCEAN / "lm" / "tg.arpa", output)
    facts = json.loads((output / "lm.json").read_text())
    assert facts["dropped"] == {"words": 0, "ngrams": 0}
    assert facts["ngrams"] == [2606, 9132, 13293]
    fst = from_fst(read_fst(output / "G.fst"))
    leaving = np.bincount(fst.source, np.exp(-fst.weight), fst.num_states) + np.exp(-fst.final)
    # A backoff arc's mass counts words twice; all else is a distribution.
    assert leaving.min() > 0.999
    assert leaving.max() < 1.5
