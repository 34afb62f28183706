"""A lang folder made from a lexicon small enough to check by eye."""

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from am.errors import InputError
from am.graph.arrays import FstArrays, from_fst, read_fst
from am.lang.lang import Lang, read_symbols
from am.lang.phone_set import PhoneSet, without_digits
from am.lang.prepare import LangSettings, prepare_lang

REPOSITORY = Path(__file__).resolve().parents[2]
LEXICON = "be B IY1\nbee B IY1\na AH0\na EY1\nabe EY1 B\n"


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def make_lang(folder: Path, settings: LangSettings, lexicon: str = LEXICON) -> Lang:
    path = folder / "lexicon.txt"
    path.write_text(lexicon)
    lang = folder / "lang"
    lang.mkdir()
    prepare_lang(path, settings, lang)
    return Lang.load(lang)


def test_files(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, LangSettings())
    phones = lines(lang.folder / "phones.txt")
    assert phones[:7] == ["<eps> 0", "SIL 1", "SIL_B 2", "SIL_E 3", "SIL_I 4", "SIL_S 5", "SPN 6"]
    # 5 variants of SIL and SPN, 4 of AH0 B EY1 IY1, then #0, #1 #2 (be, bee), #3 (silence).
    assert phones[27:] == ["#0 27", "#1 28", "#2 29", "#3 30"]
    assert lines(lang.folder / "words.txt") == [
        f"{word} {number}"
        for number, word in enumerate(
            ["<eps>", "<UNK>", "a", "abe", "be", "bee", "#0", "<s>", "</s>"]
        )
    ]
    assert lines(lang.folder / "lexiconp.txt") == [
        "<UNK> 1.0 SPN_S",
        "a 1.0 AH0_S",
        "a 1.0 EY1_S",
        "abe 1.0 EY1_B B_E",
        "be 1.0 B_B IY1_E",
        "bee 1.0 B_B IY1_E",
    ]
    assert "abe EY1_B B_E" in lines(lang.folder / "lexicon.txt")
    assert lines(lang.folder / "phones" / "disambig.txt") == ["#0", "#1", "#2", "#3"]
    assert lines(lang.folder / "phones" / "word_boundary.txt")[:2] == ["SIL nonword", "SIL_B begin"]
    assert lang.disambiguation_phones == [27, 28, 29, 30]
    assert lang.unknown_word == "<UNK>"
    assert lang.silence_phones == tuple(range(1, 11))
    assert lang.optional_silence == 1
    assert [lang.topology.num_states(phone) for phone in (1, 10, 11, 26)] == [5, 5, 3, 3]
    assert lang.real_phones == list(range(1, 27))
    assert sorted(phone for group in lang.roots for phone in group) == lang.real_phones


def test_stress_and_position_variants_share_roots_and_make_questions() -> None:
    phone_set = PhoneSet(("SIL",), ("AH", "AH0", "AH1", "B"), position_dependent=False)
    assert phone_set.roots(share_variants=True) == [["SIL"], ["AH", "AH0", "AH1"], ["B"]]
    assert phone_set.roots(share_variants=False) == [["SIL"], ["AH"], ["AH0"], ["AH1"], ["B"]]
    assert phone_set.extra_questions() == [["SIL"], ["AH", "B"], ["AH0"], ["AH1"]]
    positions = PhoneSet(("SIL",), ("AH0", "B"), position_dependent=True).extra_questions()
    assert ["AH0_E", "B_E"] in positions
    assert ["SIL_B"] in positions and ["SIL"] in positions
    assert ["AH0_B", "AH0_E", "AH0_I", "AH0_S"] in positions


@pytest.mark.parametrize(
    ("phone", "base"), [("AH0", "AH"), ("a12", "a"), ("2", "2"), ("t", "t"), ("s3t", "s3t")]
)
def test_without_digits(phone: str, base: str) -> None:
    assert without_digits(phone) == base


def test_order_of_the_lexicon_does_not_matter(tmp_path: Path) -> None:
    folders = []
    for name, content in (("one", LEXICON.splitlines()), ("two", LEXICON.splitlines()[::-1])):
        (tmp_path / name).mkdir()
        folders.append(make_lang(tmp_path / name, LangSettings(), "\n".join(content)).folder)
    one, two = ({p.name: p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders)
    assert one == two


def test_without_position_dependence(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, LangSettings(position_dependent_phones=False))
    assert list(lang.phones)[1:7] == ["SIL", "SPN", "AH0", "B", "EY1", "IY1"]
    assert lang.pronunciations[lang.words["abe"]][0].phones == (5, 4)
    # Now a (EY1) is the beginning of abe (EY1 B).
    assert list(lang.phones)[7:] == ["#0", "#1", "#2", "#3"]


def test_unknown_word_of_the_lexicon_is_kept(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, LangSettings(), "<UNK> SPN SPN\na X\n")
    spoken_noise = lang.phones["SPN_B"], lang.phones["SPN_E"]
    assert [p.phones for p in lang.pronunciations[lang.words["<UNK>"]]] == [spoken_noise]


def paths(
    fst: FstArrays, max_arcs: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], float]]:
    """(input labels, output labels, cost) of every path of at most ``max_arcs`` arcs."""
    arcs_of: dict[int, list[int]] = {}
    for arc, state in enumerate(fst.source.tolist()):
        arcs_of.setdefault(state, []).append(arc)
    stack = [(fst.start, (), (), 0.0, 0)]
    while stack:
        state, inputs, outputs, cost, length = stack.pop()
        if np.isfinite(fst.final[state]):
            yield inputs, outputs, cost + float(fst.final[state])
        if length == max_arcs:
            continue
        for arc in arcs_of.get(state, []):
            ilabel, olabel = int(fst.ilabel[arc]), int(fst.olabel[arc])
            stack.append(
                (
                    int(fst.nextstate[arc]),
                    (*inputs, ilabel) if ilabel else inputs,
                    (*outputs, olabel) if olabel else outputs,
                    cost + float(fst.weight[arc]),
                    length + 1,
                )
            )


@pytest.mark.parametrize("silence_probability", [0.25, 0.0])
def test_lexicon_transducer_says_all_that_the_lexicon_says(
    tmp_path: Path, silence_probability: float
) -> None:
    """L against every sequence of up to two words with and without silences."""
    settings = LangSettings(
        silence_probability=silence_probability, pronunciation_probabilities=True
    )
    lang = make_lang(tmp_path, settings, "a 0.5 X\na 1 Y\nb 1 X Y\n")
    x, y, silence = lang.phones["X_S"], lang.phones["Y_S"], lang.phones["SIL"]
    a, b, unknown = lang.words["a"], lang.words["b"], lang.words["<UNK>"]
    entries = [
        (a, (x,), 0.5),
        (a, (y,), 1.0),
        (b, (lang.phones["X_B"], lang.phones["Y_E"]), 1.0),
        (unknown, (lang.phones["SPN_S"],), 1.0),
    ]
    gaps = [((), 1 - silence_probability)]
    if silence_probability:
        gaps.append(((silence,), silence_probability))
    expected = {(gap, (), -math.log(p)) for gap, p in gaps}
    for _ in range(2):
        expected |= {
            (phones + spoken + gap, (*words, word), cost - math.log(p) - math.log(gap_p))
            for phones, words, cost in expected
            for word, spoken, p in entries
            for gap, gap_p in gaps
        }
    found = {
        path for path in paths(from_fst(read_fst(lang.folder / "L.fst")), 10) if len(path[1]) <= 2
    }
    assert _rounded(found) == _rounded(expected)


def _rounded(found: set[tuple[tuple[int, ...], tuple[int, ...], float]]) -> set[object]:
    return {(inputs, outputs, round(cost, 4)) for inputs, outputs, cost in found}


def test_disambiguated_lexicon_lets_backoff_pass_between_words_alone(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, LangSettings())
    fst = from_fst(read_fst(lang.folder / "L_disambig.fst"))
    backoff = fst.ilabel == lang.phones["#0"]
    assert backoff.sum() == 1
    assert fst.olabel[backoff] == lang.words["#0"]
    assert fst.source[backoff] == fst.nextstate[backoff]
    assert np.isfinite(fst.final[fst.source[backoff]])
    # The silence before the first word and after a word is marked.
    silence_ends = fst.nextstate[fst.ilabel == lang.phones["SIL"]]
    assert set(fst.ilabel[np.isin(fst.source, silence_ends)]) == {lang.phones["#3"]}


@pytest.mark.parametrize(
    ("settings", "lexicon", "complaint"),
    [
        (LangSettings(silence_probability=1.0), LEXICON, "silence_probability"),
        (LangSettings(initial_self_loop_probability=0.0), LEXICON, "initial_self_loop"),
        (LangSettings(nonsilence_states=0), LEXICON, "at least 1"),
        (LangSettings(unknown_word="<eps>"), LEXICON, "unknown_word"),
        (LangSettings(spoken_noise_phone="SIL_B"), LEXICON, "word-position variant"),
    ],
)
def test_refused(tmp_path: Path, settings: LangSettings, lexicon: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        make_lang(tmp_path, settings, lexicon)


def test_loading_names_a_missing_file(tmp_path: Path) -> None:
    lang = make_lang(tmp_path, LangSettings())
    (lang.folder / "phones" / "roots.txt").unlink()
    with pytest.raises(InputError, match=r"roots.txt: no such file"):
        Lang.load(lang.folder)
    (lang.folder / "words.txt").write_text("a 1 2\n")
    with pytest.raises(InputError, match="line 1"):
        read_symbols(lang.folder / "words.txt")


def test_tool_refuses_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("a X\nb\n")
    done = subprocess.run(
        [sys.executable, "utils/prepare_lang.py", lexicon, tmp_path / "lang"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{lexicon}:2: the word 'b' has no phones" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lang").exists()
