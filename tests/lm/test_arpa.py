"""ARPA files: the forms that tools write, what is refused with its line, perplexity."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from am.errors import InputError
from am.lm.arpa import read_arpa, write_arpa
from am.lm.kneser_ney import NgramSettings, train_ngram
from am.lm.model import ArpaModel, perplexity
from am.lm.text import read_sentences, read_vocabulary

ARPA = """made by hand

\\data\\
ngram 1=4
ngram  2 = 3

\\1-grams:
-99\t<s>\t-0.5
-0.5 </s>
-0.25\ta\t-0.125
-0.75  b

\\2-grams:
-0.1\ta b
-0.2 <s> a
-0.3\tb </s>

\\end\\
"""


def write(folder: Path, content: str) -> Path:
    path = folder / "lm.arpa"
    path.write_text(content)
    return path


def log10(model: ArpaModel, *words: str) -> float:
    return float(model.log10_probabilities(np.array([model.numbers(words)]))[0])


def test_reads_tabs_spaces_and_absent_backoff_weights(tmp_path: Path) -> None:
    model = read_arpa(write(tmp_path, ARPA))
    assert model.words == ("<s>", "</s>", "a", "b")
    assert log10(model, "a", "b") == -0.1
    assert log10(model, "<s>", "a") == -0.2
    assert log10(model, "a", "a") == -0.125 - 0.25
    assert log10(model, "b", "a") == -0.25
    assert log10(model, "<s>", "b") == -0.5 - 0.75


def test_perplexity_is_the_direct_sum(tmp_path: Path) -> None:
    model = read_arpa(write(tmp_path, ARPA))
    found = perplexity(model, iter([["a", "b"], ["x", "a"], ["b", "b"]]))
    # <s> a b </s>; x is unknown, and the next word has no history; <s> b b </s>.
    expected = (-0.2 - 0.1 - 0.3) + (-0.25 + (-0.125 - 0.5)) + ((-0.5 - 0.75) + -0.75 + -0.3)
    assert found.log10_prob == pytest.approx(expected)
    assert (found.sentences, found.words, found.unknown_words) == (3, 6, 1)
    assert found.value == pytest.approx(10 ** (-expected / 8))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("-0.75  b", "-0.75  b -0.1 -0.2", ":11: expected a probability, 1 words"),
        ("-0.75  b", "x  b", ":11: 'x' is not a log10 weight"),
        ("-0.75  b", "0.75  b", ":11: log10 probability 0.75 is above 0"),
        ("-0.75  b", "-0.75  a", ":11: the unigram 'a' stands twice"),
        ("-0.75  b\n", "", "the header announces 4 1-grams, found 3"),
        ("-0.1\ta b", "-0.1\ta c", ":14: the word 'c' is not among the unigrams"),
        ("-0.1\ta b", "-0.1\tb </s>", "this 2-gram stands twice"),
        ("\\2-grams:", "\\3-grams:", ":13: expected '\\2-grams:'"),
        ("ngram  2 = 3", "ngram 3=3", ":5: expected 'ngram 2="),
        ("ngram 1=4\n", "", "expected 'ngram 1="),
        ("\\end\\", "", "ends too early"),
        ("\\data\\", "", "ends too early"),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert ARPA.count(old) == 1
    with pytest.raises(InputError) as error:
        read_arpa(write(tmp_path, ARPA.replace(old, new)))
    assert "lm.arpa" in str(error.value)
    assert complaint in str(error.value)


def test_refuses_a_trigram_without_its_history(tmp_path: Path) -> None:
    content = ARPA.replace("2 = 3", "2 = 3\nngram 3=1").replace(
        "\\end\\", "\\3-grams:\n-0.1 b a b\n\n\\end\\"
    )
    with pytest.raises(InputError, match=r":20: the history of this 3-gram"):
        read_arpa(write(tmp_path, content))


def test_refuses_a_broken_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa.gz"
    path.write_bytes(gzip.compress(ARPA.encode())[:-20])
    with pytest.raises(InputError, match="gzip"):
        read_arpa(path)
    path.write_text(ARPA)
    with pytest.raises(InputError, match="gzip"):
        read_arpa(path)


WORD = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=3).filter(
    lambda word: len(word.split()) == 1 and word not in ("<s>", "</s>")
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sentences=st.lists(st.lists(WORD, min_size=1, max_size=5), min_size=1, max_size=5),
    compress=st.booleans(),
)
def test_what_is_written_is_read(
    tmp_path: Path, sentences: list[list[str]], compress: bool
) -> None:
    model = train_ngram(sentences, NgramSettings(order=3))
    path = tmp_path / ("lm.arpa.gz" if compress else "lm.arpa")
    write_arpa(model, path, compress=compress)
    back = read_arpa(path)
    assert back.words == model.words
    for level, again in zip(model.orders, back.orders, strict=True):
        np.testing.assert_array_equal(level.history, again.history)
        np.testing.assert_array_equal(level.word, again.word)
        np.testing.assert_allclose(level.log10_prob, again.log10_prob, atol=1e-7)
        np.testing.assert_allclose(level.log10_backoff, again.log10_backoff, atol=1e-7)


def test_sentences_and_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a b\n\n  c\r\n")
    assert list(read_sentences(path)) == [["a", "b"], ["c"]]
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(InputError, match=r"text:2: not UTF-8"):
        list(read_sentences(path))
    path.write_text("a </s>\n")
    with pytest.raises(InputError, match=r"text:1: '</s>' is a reserved word"):
        list(read_sentences(path))
    path.write_text("<eps> 0\nb 1\na 2\n#0 3\n<s> 4\n</s> 5\n")
    assert read_vocabulary(path) == ["b", "a"]
    path.write_text("<eps> 0\n")
    with pytest.raises(InputError, match="holds no word"):
        read_vocabulary(path)


def test_unscored_text_has_perplexity_one(tmp_path: Path) -> None:
    found = perplexity(read_arpa(write(tmp_path, ARPA)), iter([]))
    assert math.isclose(found.value, 1.0)
