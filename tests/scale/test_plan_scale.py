"""The plan: sizes and times against hand-made sums, its files, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from am.config import load_settings
from am.errors import InputError
from am.scale.exchange import HostCosts, TrainingRound
from am.scale.figures import Figure, as_overrides, figure_names, figures_of_network, write_figures
from am.scale.plan import PlanSettings, efficiencies, plan_for, speed_of
from am.scale.plan_folder import PLAN_NAME, bytes_text, rounded, time_text, write_plan

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "conf" / "scale.yaml"
TOOL = ROOT / "utils" / "plan_scale.py"


def settings(*overrides: str) -> PlanSettings:
    """The recipe's, with some changed."""
    return load_settings(PlanSettings, CONFIG, overrides)


def test_disk_by_hand() -> None:
    disk = plan_for(settings(), labelled_hours=1.0, unlabelled_hours=3.0).disk
    assert disk.audio == 4 * 3600 * 16_000 * 2
    assert disk.features == pytest.approx(4 * 3600 * 100 * 64 * 2)
    assert disk.soft_labels == pytest.approx(3 * 120_000 * 22.9)
    assert disk.total == pytest.approx(disk.audio + disk.features + disk.soft_labels)


def test_hours_by_hand() -> None:
    plan = plan_for(
        settings(
            "workers=1",
            "figures.feature_hours_an_hour=100",
            "figures.teacher_training_frames_a_second=1000",
            "figures.student_training_frames_a_second=2000",
            "figures.dump_frames_a_second=4000",
        ),
        labelled_hours=10.0,
        unlabelled_hours=200.0,
    )
    hours = {stage.number: stage.worker_hours for stage in plan.stages}
    frames_an_hour = 120_000  # of speech
    expected = {
        2: 210 / 100,
        7: 15 * 10 * frames_an_hour / 1000 / 3600,
        8: 2 * 3 * 10 * frames_an_hour / 1000 / 3600,
        10: 200 * frames_an_hour / 4000 / 3600,
        12: (20 * 10 + 2 * 200) * frames_an_hour / 2000 / 3600,
        13: 2 * 3 * 10 * frames_an_hour / 2000 / 3600,
    }
    assert hours == pytest.approx(expected)
    assert plan.hours == pytest.approx(plan.worker_hours)
    assert all(stage.sent == 0 and stage.efficiency == 1 for stage in plan.stages)


def test_operations_stand_in_for_speeds_that_were_not_measured() -> None:
    by_operations = plan_for(settings("figures.worker_operations_a_second=6e12"), 10, 100)
    measured = plan_for(
        settings(f"figures.student_training_frames_a_second={6e12 / (6 * 24.3e6)}"), 10, 100
    )
    assert by_operations.stages[4].hours == pytest.approx(measured.stages[4].hours)


def test_workers_share_the_time_but_not_without_loss() -> None:
    few, many = (plan_for(settings(f"workers={count}"), 1000, 10_000) for count in (4, 64))
    for first, last in zip(few.stages, many.stages, strict=True):
        assert last.hours < first.hours
        assert last.worker_hours == pytest.approx(first.worker_hours)
        assert 0 < last.efficiency <= first.efficiency <= 1
        assert last.hours * last.efficiency * 64 == pytest.approx(last.worker_hours)


def test_bmuf_sends_a_model_a_block() -> None:
    found = {(one.method, one.workers): one for one in efficiencies(settings().figures)}
    values = 4 * 24.3e6 * 2 * 15 / 16
    assert found["ddp", 16].bytes_a_batch == pytest.approx(values)
    assert found["bmuf", 16].bytes_a_batch == pytest.approx(values / 50, rel=1e-3)
    assert all(found[method, 1].speed_up == 1 for method in ("ddp", "gtc", "bmuf"))


def test_files_of_a_plan(tmp_path) -> None:
    given = settings("figures.density=0.001")
    write_plan(tmp_path, given)
    text = (tmp_path / PLAN_NAME).read_text()
    assert "| density | 0.001 | given |" in text
    for name in figure_names():
        assert f"| {name} | " in text
    pictures = sorted(path.name for path in tmp_path.glob("*.svg"))
    hours = [f"stages_{hours}_hours.svg" for hours in (100, 10_000, 1_000_000)]
    assert pictures == sorted([*hours, "speed_up.svg"])
    for name in pictures:
        assert f"({name})" in text
        drawing = ElementTree.parse(tmp_path / name).getroot()
        assert drawing.tag.endswith("svg")
    shown = "".join(ElementTree.parse(tmp_path / hours[0]).getroot().itertext())
    assert "teacher, sMBR" in shown and "soft labels" in shown


def test_every_default_figure_has_an_origin() -> None:
    figures = settings().figures
    assert "given" not in {figures.origin(name) for name in figure_names()}


def test_measured_figures_go_from_the_benchmark_to_the_plan(tmp_path) -> None:
    training = TrainingRound(parameters=1e6, compute=0.5)
    host = HostCosts(2e-3, 3e-9, {"ddp": 0.1, "gtc": 0.2, "bmuf": 0.3})
    path = tmp_path / "network.yaml"
    write_figures(path, figures_of_network(training, host, 100, "a command: with a colon"))
    figures = settings(*as_overrides(path)).figures
    assert figures.byte_seconds == Figure(3e-9, "a command: with a colon")
    assert figures.value("worker_operations_a_second") == 6 * 1e6 * 200
    assert speed_of(figures, "student") == pytest.approx(200 / 24.3)
    costs = figures.host_costs(2e6)
    assert costs.work == pytest.approx({"ddp": 0.2, "gtc": 0.4, "bmuf": 0.6})


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("figures.density=0", "density must be above 0"),
        ("figures.link_bits_a_second=-1", "link_bits_a_second must be above 0"),
        ("figures.byte_seconds=.nan", "byte_seconds must be at least 0"),
        ("figures.no_such=1", "unknown setting 'no_such'"),
        ("labelled_hours=[1]", "give one of each"),
        ("unlabelled_hours=[1, 0, 2]", "above 0"),
        ("unlabelled_hours=[1, 1, 2]", "stands twice"),
        ("workers=0", "workers must be at least 1"),
        ("method=asgd", "must be one of ddp, gtc, bmuf"),
    ],
)
def test_bad_settings(override, told) -> None:
    with pytest.raises(InputError) as caught:
        settings(override)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_units_for_readers() -> None:
    assert [bytes_text(size) for size in (999, 1e3, 2.75e12, 4.5e21)] == [
        "999 B",
        "1 kB",
        "2.75 TB",
        "4.5e+03 EB",
    ]
    assert [rounded(value) for value in (3361.2, 0.12345, 7)] == ["3,360", "0.123", "7"]
    assert [time_text(hours) for hours in (0.5, 2, 72, 365.25 * 24 * 3)] == [
        "30 min",
        "2 h",
        "3 days",
        "3 years",
    ]


def test_the_tool(tmp_path) -> None:
    plan = tmp_path / "plan"
    missing = tmp_path / "none.yaml"
    command = [sys.executable, TOOL, "--config", CONFIG, "--set", "workers=8"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, plan], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (plan / PLAN_NAME).read_text()
    assert "With 8 workers, bmuf" in done.stdout
    refused = subprocess.run(
        [*command, "--measured", missing, plan], env=environment, capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert f"{missing}: no such settings file" in refused.stderr
    assert "Traceback" not in refused.stderr
