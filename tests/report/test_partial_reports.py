"""The page where inputs are missing or odd, and the tool that makes it."""

from __future__ import annotations

import dataclasses
import logging
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from report_cases import (
    ALONE,
    MIXED,
    TESTS,
    make_network_log,
    write_json,
)
from report_reader import ALL_SECTIONS, Page

import commandline
from am.errors import InputError
from am.report.report import write_report
from am.report.sources import ReportSources

ROOT = Path(commandline.__file__).parent


def make(sources: ReportSources, folder: Path) -> Page:
    path = folder / "made.html"
    write_report(sources, "partial", path)
    return Page(path)


@pytest.fixture
def copied(experiment: ReportSources, tmp_path: Path) -> ReportSources:
    assert experiment.exp is not None
    folder = tmp_path / "copied"
    shutil.copytree(experiment.exp.parent, folder)
    exp = folder / "exp"
    systems = {name: exp / path.name for name, path in experiment.systems.items()}
    return dataclasses.replace(
        experiment, systems=systems, exp=exp, data=folder / "data", timings=exp / "timings.tsv"
    )


@pytest.mark.parametrize(
    ("gone", "sections", "said"),
    [
        ("exp/timings.tsv", {"time"}, "no times"),
        ("exp/mixed/log.jsonl", {"schedule"}, "no schedule"),
        ("exp/mono", {"gmms"}, "no curves of GMMs"),
        ("exp/senones", {"tree"}, "no section on trees"),
        ("data/lang", {"tree"}, "no section on trees"),
        ("data/unlabeled", {"soft-labels"}, "no section on soft labels"),
        ("data/test_clean", set(), "no utterances of test_clean"),
        ("exp/mixed/score_test_noisy", set(), None),
        ("exp/mixed/done.json", set(), None),
        ("exp/mixed/summary.json", set(), None),
    ],
)
def test_what_is_missing_is_left_out(
    copied: ReportSources,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    gone: str,
    sections: set[str],
    said: str | None,
) -> None:
    assert copied.exp is not None
    path = copied.exp.parent / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with caplog.at_level(logging.INFO):
        page = make(copied, tmp_path)
    assert page.sections() == set(ALL_SECTIONS) - sections
    assert said is None or said in caplog.text


def test_of_unscored_systems(copied: ReportSources, tmp_path: Path) -> None:
    for test in TESTS:
        shutil.rmtree(copied.systems[ALONE] / f"score_{test}")
    # The baseline is not scored: nothing to compare with.
    assert make(copied, tmp_path).sections() == set(ALL_SECTIONS)
    copied = dataclasses.replace(copied)  # what has been read is kept
    for test in TESTS:
        shutil.rmtree(copied.systems[MIXED] / f"score_{test}")
    left = {"networks", "schedule", "gmms", "soft-labels", "tree"}
    assert make(copied, tmp_path).sections() == left


def test_systems_scored_on_different_test_sets(copied: ReportSources, tmp_path: Path) -> None:
    shutil.rmtree(copied.systems[ALONE] / "score_test_clean")
    shutil.rmtree(copied.systems[MIXED] / "score_test_noisy")
    page = make(copied, tmp_path)
    assert "results" in page.sections() and "headline" not in page.source.split("</style>")[1]


def test_without_utterances_or_folders(experiment: ReportSources, tmp_path: Path) -> None:
    none = make(dataclasses.replace(experiment, utterances=0), tmp_path)
    assert none.sections() == set(ALL_SECTIONS) - {"utterances"}
    bare = make(dataclasses.replace(experiment, exp=None, data=None), tmp_path)
    gone = {"gmms", "soft-labels", "utterances", "tree"}
    assert bare.sections() == set(ALL_SECTIONS) - gone
    with pytest.raises(InputError, match="nothing to show"):
        make(ReportSources({}, []), tmp_path)


def test_odd_stores_and_logs(
    copied: ReportSources, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert copied.data is not None and copied.exp is not None
    store = copied.data / "unlabeled" / "soft_labels"
    (store / "shard-00000.json").write_text('{"frames": 12}')
    write_json(store / "summary.json", {"bytes_per_frame": 21.25, "notes": ["x"], "text": "y" * 99})
    write_json(copied.exp / "mixed" / "done.json", {"settings": {"criterion": "smbr"}})
    (copied.exp / "mono" / "log.jsonl").write_text("not JSON\n")
    page = make(copied, tmp_path)
    assert "bytes per frame21.25" in page.text and "y" * 99 not in page.text
    assert "sMBR loss a frame" in page.text
    assert "not counted" in caplog.text and "not lines of JSON" in caplog.text


def test_audio_that_cannot_be_read(
    experiment: ReportSources,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(cut: object) -> str:
        raise OSError("no such\nfile")

    monkeypatch.setattr("am.report.error_sections.audio_url", fail)
    page = make(experiment, tmp_path)
    assert page.all("audio") == [] and len(page.all("article")) == 3
    assert "test_noisy-0: no audio (no such file)" in caplog.text


def test_audio_stays_within_its_budget(
    experiment: ReportSources,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(
        "am.report.error_sections.audio_url", lambda cut: "data:," + "x" * 3_000_000
    )
    page = make(experiment, tmp_path)
    assert len(page.all("audio")) == 1 and len(page.source) < 5_000_000
    assert "utterances without audio" in caplog.text


def test_infinite_losses(copied: ReportSources, tmp_path: Path) -> None:
    folder = copied.systems[MIXED]
    make_network_log(folder, "interleaved")
    path = folder / "log.jsonl"
    path.write_text(path.read_text().replace("5.2", "Infinity"))
    drawn = "".join(
        ElementTree.tostring(root, encoding="unicode")
        for root in make(copied, tmp_path).pictures().values()
    )
    assert '"inf' not in drawn and '"nan' not in drawn


def run_tool(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["utils/report.py", *map(str, arguments)])
        runpy.run_path(str(ROOT / "utils" / "report.py"), run_name="__main__")
    return int(ended.value.code or 0)


def test_the_tool(
    copied: ReportSources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    output = tmp_path / "report.html"
    arguments = [x for name, path in copied.systems.items() for x in ("--system", f"{name}={path}")]
    arguments += ["--test-sets", " ".join(TESTS), "--baseline", ALONE]
    arguments += ["--exp", str(copied.exp), "--data", str(copied.data), "--title", "Mine"]
    assert run_tool(monkeypatch, *arguments, output) == 0
    page = Page(output)
    assert page.sections() == set(ALL_SECTIONS) - {"time"} and "Mine" in page.text
    made = output.stat().st_mtime_ns
    assert run_tool(monkeypatch, *arguments, output) == 0
    assert output.stat().st_mtime_ns == made
    # A training that went on is shown.
    make_network_log(copied.systems[MIXED], "segregated")
    assert run_tool(monkeypatch, *arguments, output) == 0
    assert output.stat().st_mtime_ns > made
    assert run_tool(monkeypatch, "--baseline", "none", *arguments[:4], output) == 1
    assert "--baseline none: is none of" in capsys.readouterr().err
    assert run_tool(monkeypatch, "--system", "x", output) == 1
    assert "give NAME=FOLDER" in capsys.readouterr().err
