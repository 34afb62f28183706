"""The recipes from stage 0 to the table, at their tiny sizes, killed once on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEECHOCEAN = Path(
    os.environ.get("MEGAHOUR_SPEECHOCEAN762", ROOT.parent / "shared/data/speechocean762")
)
SYSTEMS = (
    "tri2",
    "teacher_ce",
    "teacher_smbr",
    "student_supervised",
    "student_supervised_smbr",
    "student_segregated",
    "student_ce",
    "student_smbr",
)


def start(recipe: Path, *options: str) -> subprocess.Popen[str]:
    """Start a recipe in a process group of its own, its two streams in one."""
    return subprocess.Popen(
        [str(recipe), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(recipe: Path, *options: str) -> str:
    """Run a recipe to its end and return what it printed."""
    process = start(recipe, *options)
    output, _ = process.communicate()
    assert process.returncode == 0, output[-4000:]
    return output


def kill_at(recipe: Path, line_to_wait_for: str, *options: str) -> None:
    """Run a recipe until it prints ``line_to_wait_for``, then kill all of it."""
    process = start(recipe, *options)
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line_to_wait_for in line:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return
    raise AssertionError(f"never printed {line_to_wait_for!r}:\n{''.join(seen)[-4000:]}")


def wer_percent(exp: Path, system: str, test_set: str) -> float:
    """The word error rate that a recipe found."""
    scores = json.loads((exp / system / f"score_{test_set}" / "scores.json").read_text())
    assert scores["words"] > 0
    assert scores["missing_hypotheses"] == 0
    return float(scores["wer_percent"])


def check_results(exp: Path, test_set: str, highest_wer_percent: float) -> None:
    """Every system has learned something, and stands in the table."""
    for system in SYSTEMS:
        assert wer_percent(exp, system, test_set) < highest_wer_percent, system
    table = (exp / "RESULTS.md").read_text()
    assert "student, scheduled" in table
    assert "GMM tri2" in table


@pytest.mark.recipe
def test_embedded_corpus_recipe_goes_on_after_a_kill(tmp_path: Path) -> None:
    """Stages 0 to 14, killed while the GMMs train, run again; a third run has nothing to do."""
    recipe = ROOT / "run.sh"
    options = ("--size", "tiny", "--data", f"{tmp_path}/data", "--exp", f"{tmp_path}/exp")

    kill_at(recipe, "== stage 4", *options)
    assert (tmp_path / "exp/mono_ali/done.json").is_file()
    assert not (tmp_path / "exp/tri1").exists()

    output = run(recipe, *options)
    assert f"{tmp_path}/exp/mono is up to date" in output
    check_results(tmp_path / "exp", "test_clean", 97)
    assert wer_percent(tmp_path / "exp", "tri2", "test_clean") < 60
    assert "student, scheduled" in output, "the table is shown on the screen"

    assert "done in" not in run(recipe, *options, "--stop-stage", "12"), "all is up to date"

    several = ("--processes", "2", "--parallel", "bmuf", "--redo", "true")
    run(recipe, *options, *several, "--stage", "11", "--stop-stage", "13", "--device", "cpu")
    for system in ("student_supervised", "student_ce", "student_smbr"):
        log = (tmp_path / "exp" / system / "log.txt").read_text()
        assert "2 processes" in log, system
    assert not (tmp_path / "data/local/embedded/unlabeled/text").exists()


@pytest.mark.recipe
@pytest.mark.skipif(not SPEECHOCEAN.is_dir(), reason="needs speechocean762")
def test_speechocean762_recipe(tmp_path: Path) -> None:
    """The same stages on real speech, a few speakers of it; those of pieces; then a teacher that is
    adapted to speakers."""
    recipe = ROOT / "egs/speechocean762"
    options = ("--size", "tiny", "--data", f"{tmp_path}/data", "--exp", f"{tmp_path}/exp")
    run(recipe / "run.sh", "--corpus-dir", str(SPEECHOCEAN), *options)
    check_results(tmp_path / "exp", "test", 105)
    assert wer_percent(tmp_path / "exp", "teacher_ce", "test") < 96

    table = run(recipe / "run_subword.sh", *options)
    for system in ("tri3", "teacher_ce", "student_supervised"):
        assert f"| {system}, pieces |" in table
        assert wer_percent(tmp_path / "exp/subword", system, "test") < 110
        assert wer_percent(tmp_path / "exp/subword/words", system, "test") < 110

    adapted = ("--teacher-features", "fmllr", "--stage", "2", "--stop-stage", "12")
    output = run(recipe / "run.sh", *options, *adapted)
    for system, kind in (("teacher_smbr", "fmllr-"), ("student_ce", "lfbe")):
        assert f"{system} is up to date" not in output
        front_end = json.loads((tmp_path / "exp" / system / "front_end.json").read_text())
        assert front_end["feature_kind"].startswith(kind)
    assert wer_percent(tmp_path / "exp", "teacher_ce", "test") < 96
