"""Lang folders of pieces: the way there and back, L against all that it should say, bad input."""

from __future__ import annotations

import itertools
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from am.errors import InputError
from am.graph.arrays import FstArrays, from_fst, read_fst
from am.graph.context import lexicon_and_grammar
from am.lang.lang import Lang
from am.lang.prepare import LangSettings
from am.lang.prepare_subword import (
    PieceSettings,
    SubwordSettings,
    prepare_subword_lang,
    text_to_pieces,
)
from am.lang.text_rules import TextRules
from am.lm.grammar import format_lm
from am.lm.kneser_ney import NgramSettings
from am.lm.train import train_arpa

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = (
    "the cat can't see the caterpillar or the 42 cats",
    "кошка видит кота и котят",
    "γάτα και γάτες",
    "القط والقطط في البيت",
    "החתול והחתולים",
    "बिल्ली और बिल्लियाँ हिन्दी",
    "แมว กับ แมว",
    "猫 和 猫咪",
    "고양이 와 고양이들",
    "ẹ\u0301rọ ọmọ",
)
LETTERS = sorted(set("".join(SCRIPTS)) - {" "})
KNOWN = set("".join(word for text in SCRIPTS for word in TextRules().words(text)))
NO_SILENCE = LangSettings(silence_probability=0.0)


def make_lang(
    folder: Path, text: str, settings: SubwordSettings | None = None, model: Path | None = None
) -> Lang:
    """A lang folder of pieces trained on ``text``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt").write_text(text, encoding="utf-8")
    (folder / "lang").mkdir()
    prepare_subword_lang(
        folder / "text.txt", settings or SubwordSettings(), folder / "lang", model=model
    )
    return Lang.load(folder / "lang")


@pytest.fixture(scope="module")
def many_scripts(tmp_path_factory: pytest.TempPathFactory) -> Lang:
    settings = SubwordSettings(pieces=PieceSettings(num_pieces=150))
    return make_lang(tmp_path_factory.mktemp("scripts"), "\n".join(SCRIPTS), settings)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(alphabet=[*LETTERS, " "], max_size=30))
def test_words_become_pieces_and_words_again(many_scripts: Lang, text: str) -> None:
    """Whatever the letters of the text spell, in any script, known words or not."""
    subword = many_scripts.subword
    assert subword is not None
    # Marks may compose with other letters to characters that the text has not.
    words = [word for word in many_scripts.words_of(text) if set(word) <= KNOWN]
    pieces = [subword.pieces_of(word) for word in words]
    assert all(pieces)
    assert subword.description.join(itertools.chain(*pieces)) == words
    assert all(piece in many_scripts.words for word in pieces for piece in word)
    ids = [number for word in words for number in many_scripts.ids_of(word)]
    spoken = many_scripts.spoken_words(ids)
    assert len(spoken) == len(words)
    symbols = {number: symbol for symbol, number in many_scripts.phones.items()}
    for word, (pronunciation,) in zip(words, spoken, strict=True):
        shown = [symbols[phone] for phone in pronunciation.phones]
        graphemes = subword.rules.graphemes(word)
        assert [symbol[:-2] for symbol in shown] == list(graphemes)
        places = "".join(symbol[-1] for symbol in shown)
        assert places == ("S" if len(graphemes) == 1 else "B" + "I" * (len(graphemes) - 2) + "E")


def test_unknown_words(many_scripts: Lang) -> None:
    subword = many_scripts.subword
    assert subword is not None
    assert subword.pieces_of("catß") == []
    assert many_scripts.ids_of("Ω") == []
    description = subword.description
    assert description.join(["▁c", "at", "<UNK>", "▁", "o"]) == ["cat", "<UNK>", "o"]
    assert description.join(["at", "▁c"]) == ["at", "c"]
    assert description.join([]) == []
    ids = [*many_scripts.ids_of("cat"), many_scripts.words["<UNK>"], *many_scripts.ids_of("or")]
    assert [len(p[0].phones) for p in many_scripts.spoken_words(ids)] == [3, 1, 2]


def paths(
    fst: FstArrays, max_pieces: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], float]]:
    """(input labels, output labels, cost) of every path of at most ``max_pieces`` outputs."""
    arcs_of: dict[int, list[int]] = {}
    for arc, state in enumerate(fst.source.tolist()):
        arcs_of.setdefault(state, []).append(arc)
    stack: list[tuple[int, tuple[int, ...], tuple[int, ...], float]] = [(fst.start, (), (), 0.0)]
    while stack:
        state, inputs, outputs, cost = stack.pop()
        if np.isfinite(fst.final[state]):
            yield inputs, outputs, cost + float(fst.final[state])
        for arc in arcs_of.get(state, []):
            ilabel, olabel = int(fst.ilabel[arc]), int(fst.olabel[arc])
            if olabel and len(outputs) == max_pieces:
                continue
            stack.append(
                (
                    int(fst.nextstate[arc]),
                    (*inputs, ilabel) if ilabel else inputs,
                    (*outputs, olabel) if olabel else outputs,
                    cost + float(fst.weight[arc]),
                )
            )


@pytest.mark.parametrize("position_dependent", [True, False])
@pytest.mark.parametrize("silence_probability", [0.25, 0.0])
def test_lexicon_accepts_exactly_the_piece_sequences(
    tmp_path: Path, silence_probability: float, position_dependent: bool
) -> None:
    """L against every sequence of up to three pieces that makes words, and all silences."""
    lang_settings = LangSettings(
        silence_probability=silence_probability, position_dependent_phones=position_dependent
    )
    settings = SubwordSettings(pieces=PieceSettings(num_pieces=9), lang=lang_settings)
    lang = make_lang(tmp_path, "ab aab\nb ba\n" * 3, settings)
    assert lang.subword is not None
    vocabulary = [*lang.subword.pieces(), "<UNK>"]
    assert {"▁", "a", "b"} <= set(vocabulary)
    expected = set()
    for length in range(4):
        for pieces in itertools.product(vocabulary, repeat=length):
            expected |= set(said(lang, pieces, silence_probability, position_dependent))
    arrays = from_fst(read_fst(lang.folder / "L.fst"))
    found = [(inputs, outputs, round(cost, 4)) for inputs, outputs, cost in paths(arrays, 3)]
    assert len(found) == len(set(found))
    assert set(found) == expected


def said(
    lang: Lang, pieces: tuple[str, ...], silence_probability: float, position_dependent: bool
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], float]]:
    """All that the definition lets a sequence of pieces be said like, from the strings alone."""
    if pieces and not (pieces[0].startswith("▁") or pieces[0] == "<UNK>"):
        return
    text = "".join(" <UNK> " if piece == "<UNK>" else piece.replace("▁", " ") for piece in pieces)
    words = text.split()
    starts = sum(piece.startswith("▁") or piece == "<UNK>" for piece in pieces)
    after_unknown = any(
        first == "<UNK>" and not (second.startswith("▁") or second == "<UNK>")
        for first, second in itertools.pairwise(pieces)
    )
    if after_unknown or starts != len(words):
        return
    spoken = []
    for word in words:
        base = ["SPN"] if word == "<UNK>" else list(word)
        if position_dependent:
            inner = ["_B", *["_I"] * (len(base) - 2), "_E"] if len(base) > 1 else ["_S"]
            base = [grapheme + place for grapheme, place in zip(base, inner, strict=True)]
        spoken.append(tuple(lang.phones[phone] for phone in base))
    silence = lang.phones["SIL"]
    gaps = [((), 1 - silence_probability), ((silence,), silence_probability)]
    for chosen in itertools.product(gaps[: 2 if silence_probability else 1], repeat=starts + 1):
        inputs = chosen[0][0] + tuple(
            phone
            for word, gap in zip(spoken, chosen[1:], strict=True)
            for phone in (*word, *gap[0])
        )
        cost = -sum(math.log(probability) for _, probability in chosen)
        yield inputs, tuple(lang.words[piece] for piece in pieces), round(cost, 4)


@pytest.mark.parametrize("position_dependent", [True, False])
def test_pieces_and_grammar_can_be_determinized(tmp_path: Path, position_dependent: bool) -> None:
    """LG of an n-gram over pieces takes the LM's sentences, each phone string in one way."""
    settings = SubwordSettings(
        pieces=PieceSettings(num_pieces=12),
        lang=replace(NO_SILENCE, position_dependent_phones=position_dependent),
    )
    text = "ab aab\nb ba\nab ab b\n"
    lang = make_lang(tmp_path, text, settings)
    test = format_pieces(tmp_path, lang)
    lg = from_fst(lexicon_and_grammar(test))
    labels = list(zip(lg.source.tolist(), lg.ilabel.tolist(), strict=True))
    assert len(labels) == len(set(labels)), "deterministic"
    for sentence in text.splitlines():
        ids = [number for word in sentence.split() for number in test.ids_of(word)]
        phones = [phone for (p,) in test.spoken_words(ids) for phone in p.phones]
        assert tuple(ids) in outputs_of(lg, phones, set(test.disambiguation_phones))


def outputs_of(fst: FstArrays, phones: list[int], ignored: set[int]) -> set[tuple[int, ...]]:
    """The outputs of all paths that read ``phones``, disambiguation symbols aside."""
    arcs_of: dict[int, list[int]] = {}
    for arc, state in enumerate(fst.source.tolist()):
        arcs_of.setdefault(state, []).append(arc)
    found, stack = set(), [(fst.start, 0, (), 0)]
    while stack:
        state, place, outputs, silent = stack.pop()
        if place == len(phones) and np.isfinite(fst.final[state]):
            found.add(outputs)
        for arc in arcs_of.get(state, []):
            ilabel, olabel = int(fst.ilabel[arc]), int(fst.olabel[arc])
            new = (*outputs, olabel) if olabel else outputs
            target = int(fst.nextstate[arc])
            if (ilabel in ignored or not ilabel) and silent < 8:
                stack.append((target, place, new, silent + 1))
            elif place < len(phones) and ilabel == phones[place]:
                stack.append((target, place + 1, new, 0))
    return found


def format_pieces(folder: Path, lang: Lang) -> Lang:
    """The lang folder with a bigram over the pieces of its own text."""
    text_to_pieces(lang.folder, folder / "text.txt", folder / "pieces.txt")
    words = lang.folder / "words.txt"
    train_arpa(folder / "pieces.txt", folder / "lm.arpa", NgramSettings(2), vocabulary=words)
    (folder / "lang_test").mkdir()
    format_lm(lang.folder, folder / "lm.arpa", folder / "lang_test")
    return Lang.load(folder / "lang_test")


def test_text_to_pieces_joins_back_to_the_text(tmp_path: Path) -> None:
    settings = SubwordSettings(text=TextRules(case="fold"), pieces=PieceSettings(num_pieces=20))
    lang = make_lang(tmp_path, "Ab aab!\n\n--\nB-ba\n", settings)
    (tmp_path / "more.txt").write_text("AB bab\nab xyz\n")
    for name, expected in (("text", ["ab aab", "b ba"]), ("more", ["ab bab", "ab <UNK>"])):
        text_to_pieces(lang.folder, tmp_path / f"{name}.txt", tmp_path / "out.txt")
        found = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
        assert lang.subword is not None
        joined = [" ".join(lang.subword.description.join(line.split())) for line in found]
        assert joined == expected
        assert all(piece in lang.words for line in found for piece in line.split())


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_same_text_gives_the_same_folder(tmp_path: Path, model_type: str) -> None:
    pieces = PieceSettings(num_pieces=40, model_type=model_type)  # type: ignore[arg-type]
    text = "the cat sat on the mat\nthe caterpillar\n"
    one, two = (
        make_lang(tmp_path / name, text, SubwordSettings(pieces)).folder for name in ("one", "two")
    )
    again = make_lang(
        tmp_path / "three", text, SubwordSettings(pieces), model=one / "sentencepiece.model"
    ).folder
    for path in one.rglob("*"):
        if path.is_file():
            name = path.relative_to(one)
            assert path.read_bytes() == (two / name).read_bytes() == (again / name).read_bytes()


def test_another_sentencepiece_model_is_refused(tmp_path: Path) -> None:
    lang = make_lang(tmp_path / "one", "ab aab\nb ba\n")
    other = make_lang(tmp_path / "two", "ab aab\nb ba bb\n")
    model = lang.folder / "sentencepiece.model"
    shutil.copy(other.folder / "sentencepiece.model", model)
    with pytest.raises(InputError, match=r"is not the sentencepiece model that this lang folder"):
        Lang.load(lang.folder)
    model.unlink()
    with pytest.raises(InputError, match=r"sentencepiece.model: no such sentencepiece model"):
        Lang.load(lang.folder)
    (other.folder / "words.txt").write_text("<eps> 0\n<UNK> 1\n▁b 2\n#0 3\n")
    with pytest.raises(InputError, match=r"words.txt: lacks the piece"):
        Lang.load(other.folder)


def test_language_model_of_other_pieces_is_refused(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, "ab aab\nb ba\n")
    train_arpa(tmp_path / "text.txt", tmp_path / "words.arpa", NgramSettings(1))
    (tmp_path / "lang_test").mkdir()
    (tmp_path / "mixed.txt").write_text("▁ a zz\n")
    train_arpa(tmp_path / "mixed.txt", tmp_path / "mixed.arpa", NgramSettings(1))
    with pytest.raises(InputError, match=r"1 of its words are no pieces of .*sentencepiece.model"):
        format_lm(lang.folder, tmp_path / "mixed.arpa", tmp_path / "lang_test")


def test_tool_names_the_mismatch_in_one_line(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, "ab aab\nb ba\n")
    with (lang.folder / "sentencepiece.model").open("ab") as stream:
        stream.write(b"\0")
    done = subprocess.run(
        [
            sys.executable,
            "utils/text_to_pieces.py",
            lang.folder,
            tmp_path / "text.txt",
            tmp_path / "out",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    complaints = [line for line in done.stderr.splitlines() if "is not the sentencepiece" in line]
    assert sum(line.startswith("text_to_pieces.py: ") for line in complaints) == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "settings", "complaint"),
    [
        ("--\n", SubwordSettings(), "holds no word"),
        ("ab\n", SubwordSettings(PieceSettings(num_pieces=3)), "cannot make 3 pieces"),
        ("ab\n", SubwordSettings(lang=LangSettings(unknown_word="UNK")), "choose '<UNK>'"),
        ("ab\n", SubwordSettings(lang=LangSettings(silence_probability=1.0)), "silence_prob"),
    ],
)
def test_refused(tmp_path: Path, text: str, settings: SubwordSettings, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as refused:
        make_lang(tmp_path, text, settings)
    assert "\n" not in str(refused.value)


def test_files_that_are_not_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"no model")
    with pytest.raises(InputError, match="not a sentencepiece model"):
        make_lang(tmp_path, "ab\n", model=tmp_path / "model")
