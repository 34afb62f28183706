"""The whole page on a made-up experiment, read by a parser."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from report_cases import (
    ALONE,
    ATTACK,
    MIXED,
    SECONDS,
    TESTS,
)
from report_reader import ALL_SECTIONS, Page

from am.report import audio
from am.report.error_sections import worst_utterances
from am.report.markdown import read_results
from am.report.sources import ReportSources
from am.scoring.results import results_table
from am.scoring.score import ScoredUtterance
from am.scoring.word_errors import WordErrors


@pytest.fixture(scope="module")
def parsed(report: Path) -> Page:
    return Page(report)


def numbers_of(cell: str) -> list[str]:
    return re.findall(r"[−+]?\d+(?:\.\d+)?", cell)


def test_all_sections_in_order_and_whole(parsed: Page) -> None:
    assert [section["id"] for section in parsed.all("section")] == ALL_SECTIONS
    assert parsed.open == []
    links = [link["href"] for link in parsed.all("a")]
    assert links == [f"#{key}" for key in ALL_SECTIONS]
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert parsed.source.count("A &lt;made-up&gt; experiment") == 2


def test_same_numbers_as_the_table_of_results(parsed: Page, experiment: ReportSources) -> None:
    sections = read_results(
        results_table(
            experiment.systems,
            TESTS,
            baseline=ALONE,
            timings=experiment.timings,
            seed=experiment.seed,
        )
    )
    shown = {row[0]: row for row in parsed.rows if row[0] in (ALONE, MIXED) and len(row) == 7}
    for row in sections["Results"].rows:
        ours = shown[row[0]]
        assert ours[:4] == list(row[:4])
        # A change stands beside its rate here, behind the interval there.
        assert [sorted(numbers_of(c)) for c in ours] == [sorted(numbers_of(c)) for c in row]
    compared = [
        row for row in parsed.rows if row[0] == MIXED and row[1:2] and row[1] in (*TESTS, "all")
    ]
    assert compared == [list(row) for row in sections["Significance"].rows]
    assert sections["Machine"].note in parsed.text


def test_bars_have_the_values_of_the_table(parsed: Page, experiment: ReportSources) -> None:
    table = read_results(results_table(experiment.systems, TESTS, seed=experiment.seed))["Results"]
    pictures = parsed.pictures()
    titles = [root.findtext("title") for key, root in pictures.items() if key.startswith("wer-")]
    names = ["test_clean", "test_noisy", "test_noisy, adult", "test_noisy, child", "All test sets"]
    assert titles == [f"Word error rate in percent, {name}" for name in names]
    for column, picture in ((4, "wer-0"), (5, "wer-1"), (6, "wer-4")):
        told = pictures[picture].findtext("desc")
        assert told == "; ".join(f"{row[0]}: {row[column]}" for row in table.rows)


def test_conditions_within_a_test_set(parsed: Page) -> None:
    # Cuts 0 and 2, of 4 in all with 4 words, are adults': 3 + 2 wrong words of 16.
    told = parsed.pictures()["wer-2"].findtext("desc") or ""
    assert f"{MIXED}: {100 * 5 / 16:.1f} [" in told


def test_the_headline_is_the_best_systems(parsed: Page) -> None:
    headline = parsed.text[: parsed.text.index("Word error rates")]
    # 1 + 6 wrong words of 64.
    assert f"{100 * 7 / 64:.1f}\u00a0%" in headline and f"“{MIXED}”" in headline


def test_nothing_is_fetched_and_nothing_runs(parsed: Page) -> None:
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert "<script" not in parsed.source.lower()
    assert ATTACK in parsed.text
    for _, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            if name in attributes:
                assert str(attributes[name]).startswith(("data:", "#"))
    style = parsed.source[parsed.source.index("<style>") : parsed.source.index("</style>")]
    assert "url(" not in style and "@import" not in style


def test_for_readers_of_all_kinds(parsed: Page) -> None:
    assert parsed.all("html")[0]["lang"] == "en"
    assert len(parsed.all("h1")) == 1
    for root in parsed.pictures().values():
        assert root.get("role") == "img" and root.findtext("title") and root.findtext("desc")
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    assert all(head["scope"] in ("col", "row") for head in parsed.all("th"))
    assert all(player["aria-label"] and "controls" in player for player in parsed.all("audio"))


def test_curves_and_schedule(parsed: Page) -> None:
    pictures = parsed.pictures()
    assert {"network-0", "network-1", "gmm-0", "schedule-0"} <= pictures.keys()
    assert "schedule-1" not in pictures
    blocks = pictures["schedule-0"].findall("rect")
    assert len(blocks) == 8
    assert "interleaved; 2 times through 2 parts; learning rate × 1.5" in parsed.text
    mixed = next(root for key, root in pictures.items() if MIXED in (root.findtext("title") or ""))
    lines = [str(line.get("class")) for line in mixed.findall("polyline")]
    assert lines == ["line labelled", "line unlabelled", "line dev", "line dev"]
    rings = [c for c in pictures["gmm-0"].findall("circle") if "ring" in str(c.get("class"))]
    assert len(rings) == 1


def test_soft_labels_are_counted(parsed: Page) -> None:
    text = " ".join(parsed.text.split())
    for name, value in (
        ("utterances", "3"),
        ("frames", "120"),
        ("logits a frame (k)", "20"),
        ("senones", "500"),
        ("mass kept", "0.9877"),
        ("codec", "packed"),
    ):
        assert f"{name}{value}" in text


def test_confusions_of_both_systems(parsed: Page) -> None:
    rows = {row[0]: row[1:3] for row in parsed.rows}
    # The first word is wrong in cut 0 of test_clean and in three of test_noisy; before, in two
    # and in three.
    assert rows["a&b → x"] == ["4", "5"]


def test_times(parsed: Page) -> None:
    rows = {row[0]: row[1] for row in parsed.rows if len(row) == 3}
    assert rows["0 corpus"] == "1:01" and rows["7 teacher"] == "1:02:05"
    assert rows["together"] == "1:03:06"


def test_tree(parsed: Page) -> None:
    row = next(row for row in parsed.rows if row[0] == "senones" and len(row) > 3)
    phones = {row[0] for row in parsed.rows}
    assert row[1] == row[2] and {"B", "S", "SIL"} <= phones


def test_audio_can_be_heard(parsed: Page) -> None:
    players = parsed.all("audio")
    assert len(players) == 3  # test_clean has but one utterance with errors
    kind, content = str(players[0]["src"]).removeprefix("data:").split(";base64,")
    assert kind in ("audio/ogg", "audio/flac")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), always_2d=True)
    assert rate == 16000 and samples.shape[1] == 1
    assert len(samples) == pytest.approx(SECONDS * rate, abs=400)
    assert np.sqrt((samples**2).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.2)


def test_flac_where_opus_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile, "available_subtypes", lambda kind: {"VORBIS": "Vorbis"})
    samples = np.linspace(-0.5, 0.5, 1600, dtype=np.float32)
    kind, content = audio.encode(samples)
    assert kind == "audio/flac"
    np.testing.assert_allclose(soundfile.read(io.BytesIO(content))[0], samples, atol=1e-4)


def test_worst_utterances_come_first() -> None:
    def scored(name: str, words: int, wrong: int) -> ScoredUtterance:
        return ScoredUtterance(name, "s", "-", WordErrors(words, 0, 0, wrong))

    utterances = [scored("a", 9, 3), scored("b", 4, 3), scored("c", 2, 0), scored("d", 5, 4)]
    assert [u.cut_id for u in worst_utterances(utterances, 3)] == ["d", "b", "a"]
    assert [u.cut_id for u in worst_utterances(utterances, 9)] == ["d", "b", "a"]
