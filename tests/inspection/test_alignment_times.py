"""Alignments as CTM and TextGrid files."""

from __future__ import annotations

import itertools
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspection_cases import (
    SHIFT,
    TRANSCRIPTS,
    UTTERANCES,
    make_data,
    make_lang,
    make_senone_labels,
    num_frames,
)
from praatio import textgrid

from am.errors import InputError
from am.inspection.ctm import read_ctm, write_ctm
from am.inspection.export_alignment import ExportSettings, export_alignment
from am.inspection.tiers import Interval, TierReader, kind_of_alignment
from am.lang.prepare import LangSettings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def exported(folders: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("times")
    export_alignment(folders.lang.folder, folders.data, folders.alignment, output, ExportSettings())
    return output


def ctm_fields(path: Path) -> dict[str, list[list[str]]]:
    found = defaultdict(list)
    for line in path.read_text().splitlines():
        utterance, *fields = line.split(" ")
        found[utterance].append(fields)
    return found


@pytest.mark.parametrize("tier", ["phones", "states", "senones"])
def test_ctm_durations_fill_the_utterances(exported: Path, tier: str) -> None:
    found = ctm_fields(exported / f"{tier}.ctm")
    assert list(found) == list(UTTERANCES)
    for cut_id, lines in found.items():
        time = 0.0
        for channel, start, duration, _ in lines:
            assert channel == "1"
            assert float(start) == pytest.approx(time, abs=1e-9)
            time += float(duration)
        assert time == pytest.approx(num_frames(UTTERANCES[cut_id]) * SHIFT, abs=1e-9)


def test_phones_and_words_of_ctm_by_hand(exported: Path) -> None:
    assert (exported / "phones.ctm").read_text().splitlines()[:6] == [
        "one/1 1 0.000 0.050 SIL",
        "one/1 1 0.050 0.060 B_B",
        "one/1 1 0.110 0.060 IY1_E",
        "one/1 1 0.170 0.050 SIL",
        "one/1 1 0.220 0.060 AH0_S",
        "one/1 1 0.280 0.050 SIL",
    ]
    assert (exported / "words.ctm").read_text().splitlines() == [
        "one/1 1 0.050 0.120 be",
        "one/1 1 0.220 0.060 a",
        "two 1 0.000 0.180 bus",
        "two 1 0.180 0.070 a",
        "three 1 0.000 0.100 hello",
        "three 1 0.100 0.120 abe",
    ]
    assert (exported / "failed.tsv").read_text() == ""


def test_textgrids_read_back(exported: Path, folders: Any) -> None:
    reader = TierReader(folders.alignment, folders.lang)
    assert sorted(path.name for path in (exported / "textgrid").iterdir()) == [
        "one%2F1.TextGrid",
        "three.TextGrid",
        "two.TextGrid",
    ]
    for cut_id, phones in UTTERANCES.items():
        path = exported / "textgrid" / f"{cut_id.replace('/', '%2F')}.TextGrid"
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
        assert grid.tierNames == ("words", "phones", "states", "senones")
        assert grid.maxTimestamp == pytest.approx(num_frames(phones) * SHIFT)
        read = [tuple(entry) for entry in grid.getTier("phones").entries]
        time = 0
        for (start, end, label), (name, states) in zip(read, phones, strict=True):
            assert (round(start / SHIFT), label) == (time, name)
            time += sum(states)
            assert round(end / SHIFT) == time
        words = [entry.label for entry in grid.getTier("words").entries]
        assert words == TRANSCRIPTS[cut_id].split()
        assert len(grid.getTier("states").entries) == sum(len(states) for _, states in phones)
    assert reader.duration("two") == pytest.approx(0.25)


def test_a_cut_whose_words_are_others_has_none(folders: Any, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", UTTERANCES, {**TRANSCRIPTS, "two": "be be"})
    output = tmp_path / "times"
    output.mkdir()
    settings = ExportSettings(textgrid=False)
    export_alignment(folders.lang.folder, data, folders.alignment, output, settings)
    assert "two" not in ctm_fields(output / "words.ctm")
    assert "two" in ctm_fields(output / "phones.ctm")
    assert (output / "failed.tsv").read_text().startswith("two\tno words")
    assert not (output / "textgrid").exists()


def test_quotation_marks_in_words(folders: Any, tmp_path: Path) -> None:
    word = 'say"so"'
    data = make_data(tmp_path / "data", UTTERANCES, {"three": f"{word} abe"})
    output = tmp_path / "times"
    output.mkdir()
    export_alignment(folders.lang.folder, data, folders.alignment, output, ExportSettings())
    grid = textgrid.openTextgrid(str(output / "textgrid" / "three.TextGrid"), False)
    assert [entry.label for entry in grid.getTier("words").entries] == [word, "abe"]
    assert read_ctm(output / "words.ctm")["three"][0].label == word


def test_senone_labels_have_senones_alone(folders: Any, tmp_path: Path) -> None:
    labels = make_senone_labels(tmp_path / "labels", {"two": [4, 4, 7, 4]}, "x")
    output = tmp_path / "times"
    output.mkdir()
    export_alignment(folders.lang.folder, folders.data, labels, output, ExportSettings())
    assert (output / "senones.ctm").read_text().splitlines() == [
        "two 1 0.000 0.060 4",
        "two 1 0.060 0.030 7",
        "two 1 0.090 0.030 4",
    ]
    assert sorted(path.name for path in output.iterdir()) == [
        "failed.tsv",
        "senones.ctm",
        "textgrid",
    ]
    grid = textgrid.openTextgrid(str(output / "textgrid" / "two.TextGrid"), False)
    assert grid.tierNames == ("senones",)


def test_wrong_folders(folders: Any, tmp_path: Path, run_tool: Run) -> None:
    lang, data = folders.lang.folder, folders.data
    tool, output = "export_alignment.py", tmp_path / "times"
    status, _, shown = run_tool(tool, lang, data, data, output)
    assert status == 1
    assert f"{data}: not an alignment; give a folder of steps/align.py" in shown
    strange = make_senone_labels(tmp_path / "strange", {"another cut": [1]}, "x")
    status, _, shown = run_tool(tool, lang, data, strange, output)
    assert status == 1
    assert f"{strange}: none of the cuts of {data / 'cuts.jsonl.gz'} is aligned here" in shown
    assert "Traceback" not in shown
    assert not output.exists()
    other = make_lang(tmp_path, LangSettings(position_dependent_phones=False))
    with pytest.raises(InputError, match="differs from"):
        TierReader(folders.alignment, other)
    with pytest.raises(InputError, match="not an alignment"):
        kind_of_alignment(lang)
    altered = tmp_path / "altered"
    shutil.copytree(folders.alignment, altered)
    store = (altered / "store.json").read_text()
    (altered / "store.json").write_text(store.replace("transition-ids", "soft labels"))
    with pytest.raises(InputError, match="holds soft labels, not an alignment"):
        kind_of_alignment(altered)


def test_the_tool(folders: Any, tmp_path: Path, run_tool: Run) -> None:
    output = tmp_path / "times"
    arguments = [folders.lang.folder, folders.data, folders.alignment, output]
    status, _, _ = run_tool("export_alignment.py", "--format", "ctm", *arguments)
    assert status == 0
    assert read_ctm(output / "words.ctm")["two"][0].label == "bus"
    assert not (output / "textgrid").exists()


times = st.integers(0, 10_000_000).map(lambda milliseconds: milliseconds / 1000)
tokens = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1)


@settings(max_examples=50)
@given(bounds=st.lists(times, min_size=2, unique=True), token=tokens, utterance=tokens)
def test_ctm_round_trip(
    tmp_path_factory: pytest.TempPathFactory, bounds: list[float], token: str, utterance: str
) -> None:
    utterance = utterance.lstrip(";") or "x"
    intervals = [Interval(*pair, token) for pair in itertools.pairwise(sorted(bounds))]
    path = tmp_path_factory.mktemp("ctm") / "x.ctm"
    with path.open("w", encoding="utf-8") as stream:
        write_ctm(stream, utterance, intervals)
    found = read_ctm(path)
    assert list(found) == [utterance]
    for read, written in zip(found[utterance], intervals, strict=True):
        assert read.label == token
        assert (read.start, read.end) == pytest.approx((written.start, written.end), abs=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 0.0 AH\n", "line 1: expected 'utterance channel start duration token'"),
        ("a 1 0.0 0.1 AH 0.9 x\n", "line 1: expected"),
        ("\na 1 zero 0.1 AH\n", "line 2: expected"),
        ("a 1 0.0 -0.1 AH\n", "line 1: expected"),
        ("a 1 nan 0.1 AH\n", "line 1: expected"),
        ("a 1 0.0 0.5 AH\na 1 0.3 0.5 B\n", "a: 'AH' ends at 0.500 s, after 'B' begins"),
    ],
)
def test_what_is_no_ctm(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.ctm"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_ctm(path)


def test_ctm_comments_confidences_and_order(tmp_path: Path) -> None:
    path = tmp_path / "x.ctm"
    path.write_text(";; a comment\nb A 0.5 0.25 two 0.9\nb A 0 0.5 one 1.0\n\n")
    assert read_ctm(path) == {"b": [Interval(0, 0.5, "one"), Interval(0.5, 0.75, "two")]}
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_ctm(path)
    with pytest.raises(InputError, match="no such file"):
        read_ctm(tmp_path / "none")
