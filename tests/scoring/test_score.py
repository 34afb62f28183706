"""Scoring a decoding whose errors are seen by eye."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from am.errors import InputError
from am.scoring.score import grouped, one_line, read_utterances, score_decoding
from am.scoring.word_errors import WordErrors

CUTS = {
    "u3": ("bob", "noisy", "the dog runs"),
    "u1": ("ann", "clean", "the cat sat"),
    "u2": ("ann", "noisy", "on the mat"),
}
HYPOTHESES = {"u1": "the hat sat", "u2": "on the the mat", "u3": "the runs"}
Make = Callable[..., Path]


@pytest.fixture
def scored(tmp_path: Path, make_data: Make, make_decoding: Make) -> Path:
    output = tmp_path / "scores"
    output.mkdir()
    data = make_data(tmp_path / "data", CUTS)
    score_decoding(data, make_decoding(tmp_path / "decode", HYPOTHESES), output)
    return output


def test_counts_seen_by_eye(scored: Path) -> None:
    scores = json.loads((scored / "scores.json").read_text())
    assert {k: scores[k] for k in ("words", "insertions", "deletions", "substitutions")} == {
        "words": 9,
        "insertions": 1,
        "deletions": 1,
        "substitutions": 1,
    }
    assert scores["wer_percent"] == pytest.approx(100 / 3, abs=1e-3)
    # Every utterance has one error in three words, so no draw differs.
    assert scores["interval_95_percent"] == [pytest.approx(100 / 3, abs=1e-3)] * 2
    assert scores["sentence_error_rate_percent"] == 100.0
    assert scores["conditions"]["clean"]["words"] == 3
    assert scores["conditions"]["noisy"]["words"] == 6
    assert scores["missing_hypotheses"] == 0
    assert one_line(scores).startswith("WER 33.33 % [33.33, 33.33] (3 / 9, 1 ins, 1 del, 1 sub)")


def test_tables(scored: Path) -> None:
    assert (scored / "per_speaker.tsv").read_text().splitlines() == [
        "speaker\twer_percent\twords\tins\tdel\tsub",
        "ann\t33.33\t6\t1\t0\t1",
        "bob\t33.33\t3\t0\t1\t0",
    ]
    assert (scored / "confusions.tsv").read_text().splitlines() == [
        "count\tkind\treference\thypothesis",
        "1\tins\t***\tthe",
        "1\tsub\tcat\that",
        "1\tdel\tdog\t***",
    ]
    blocks = (scored / "alignments.txt").read_text().split("\n\n")
    assert blocks[0] == "u3  1 / 3: 0 ins, 1 del, 0 sub\nREF: the dog runs\nHYP: the *** runs"
    utterances = read_utterances(scored / "per_utterance.tsv")
    assert [utterance.cut_id for utterance in utterances] == ["u1", "u2", "u3"]
    assert grouped(utterances, "condition") == {
        "clean": WordErrors(3, 0, 0, 1),
        "noisy": WordErrors(6, 1, 1, 0),
    }


def test_missing_hypothesis_is_all_deletions_and_said(
    tmp_path: Path, make_data: Make, make_decoding: Make, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_data(tmp_path / "data", CUTS)
    decoded = make_decoding(tmp_path / "decode", {"u1": "the cat sat", "u3": "the dog runs"})
    with caplog.at_level(logging.WARNING):
        errors = score_decoding(data, decoded, tmp_path)
    assert errors == WordErrors(9, 0, 3, 0)
    assert "1 of 3 cuts have no hypothesis" in caplog.text and "u2" in caplog.text
    assert json.loads((tmp_path / "scores.json").read_text())["missing_hypotheses"] == 1


def test_reference_file_instead_of_cuts(
    tmp_path: Path, make_data: Make, make_decoding: Make
) -> None:
    data = make_data(tmp_path / "data", {cut: (*who, None) for cut, (*who, _) in CUTS.items()})
    decoded = make_decoding(tmp_path / "decode", HYPOTHESES)
    with pytest.raises(InputError, match="has no transcript"):
        score_decoding(data, decoded, tmp_path)
    text = tmp_path / "text"
    text.write_text("".join(f"{cut} {words}\n" for cut, words in HYPOTHESES.items()))
    assert score_decoding(data, decoded, tmp_path, reference=text) == WordErrors(9)
    text.write_text("u1 the cat sat\n")
    with pytest.raises(InputError, match="text: no transcript of cut u3"):
        score_decoding(data, decoded, tmp_path, reference=text)


def test_speakers_drawn_whole_spread_wider(
    tmp_path: Path, make_data: Make, make_decoding: Make
) -> None:
    cuts = {f"{s}-{i}": (s, "", "a b c d") for s in ("s1", "s2", "s3", "s4") for i in range(20)}
    wrong = {cut: "a b x y" if cut.startswith(("s1", "s2")) else "a b c d" for cut in cuts}
    data, decoded = make_data(tmp_path / "data", cuts), make_decoding(tmp_path / "decode", wrong)
    widths = []
    for resample in ("utterance", "speaker"):
        score_decoding(data, decoded, tmp_path, resample=resample)  # type: ignore[arg-type]
        scores = json.loads((tmp_path / "scores.json").read_text())
        low, high = scores["interval_95_percent"]
        widths.append(high - low)
    assert scores["conditions"] == {"-": scores["conditions"]["-"]}
    assert widths[1] > 2 * widths[0]


def test_data_that_do_not_belong_together(
    tmp_path: Path, make_data: Make, make_decoding: Make
) -> None:
    data = make_data(tmp_path / "data", CUTS)
    with pytest.raises(InputError, match=r"1 hypotheses belong to no cut of .*, e\.g\. u9"):
        score_decoding(data, make_decoding(tmp_path / "d", HYPOTHESES | {"u9": "a"}), tmp_path)
    with pytest.raises(InputError, match="no such file"):
        score_decoding(tmp_path / "none", tmp_path / "d", tmp_path)
    empty = make_data(tmp_path / "silent", {"u1": ("ann", "", "")})
    with pytest.raises(InputError, match="no reference words"):
        score_decoding(empty, make_decoding(tmp_path / "e", {"u1": ""}), tmp_path)


def test_table_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "per_utterance.tsv"
    path.write_text("cut\twer\nu1\t3\n")
    with pytest.raises(InputError, match=r"score\.py again"):
        read_utterances(path)
    with pytest.raises(InputError, match="no such file"):
        read_utterances(tmp_path / "none")
