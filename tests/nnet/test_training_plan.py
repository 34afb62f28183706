"""The plan of a training: sizes and learning rates, beside those of a real training."""

import dataclasses
import json
import runpy
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.nnet.cross_entropy import (
    CrossEntropySettings,
    SoftLabelledData,
    StudentSettings,
    train_cross_entropy,
    train_student,
)
from am.nnet.learning_rate import learning_rate_of_update
from am.nnet.schedule import LABELED, ScheduleSettings, labeled_plan, scheduled_plan
from am.nnet.training_plan import SourceSize, TrainingPlan, plan_of_data, size_of
from am.report.schedule_picture import planned_passes, trained_passes
from am.soft_labels.dump import DumpSettings, dump_soft_labels
from tests.nnet.small_data import BATCHING as UNEVEN_BATCHING
from tests.nnet.small_data import LSTM, TRAINER, SmallTask

ROOT = Path(__file__).resolve().parents[2]
BATCHING = dataclasses.replace(UNEVEN_BATCHING, num_buckets=1)
DECAYING = dataclasses.replace(TRAINER, final_learning_rate_ratio=0.1, warm_up_updates=10)
PARTS = ("unlabeled-000", "unlabeled-001")
SCHEDULE = ScheduleSettings("interleaved", epochs=2, parts=2, labeled_learning_rate_factor=(3, 2))


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    torch.set_num_threads(1)
    return SmallTask(tmp_path_factory.mktemp("task"), 30, 72, equally_long=True)


@pytest.fixture(scope="module")
def logged(task):
    """The log of a student trained by ``SCHEDULE``."""
    teacher, soft_labels, student = map(task.output, ("teacher", "soft_labels", "student"))
    settings = CrossEntropySettings(LSTM, TRAINER, BATCHING, epochs=1)
    train_cross_entropy(*task.inputs(), teacher, settings, "cpu")
    dump_soft_labels(task.unlabeled, teacher, soft_labels, DumpSettings(3), device="cpu")
    train_student(
        task.labeled,
        SoftLabelledData(task.unlabeled, soft_labels),
        *task.inputs()[1:],
        student,
        StudentSettings(LSTM, SCHEDULE, DECAYING, BATCHING),
        "cpu",
    )
    return [json.loads(line) for line in (student / "log.jsonl").read_text().splitlines()]


def planned(task, **changes):
    schedule = dataclasses.replace(SCHEDULE, **changes)
    return plan_of_data(task.labeled, task.unlabeled, schedule, DECAYING, BATCHING)


def test_the_rates_of_the_plan_are_those_of_a_real_training(task, logged):
    assert [row["updates"] for row in logged] == [6, 11, 17, 22, 28, 33, 39, 44]
    sizes = {LABELED: SourceSize(30 * 20, 5), **dict.fromkeys(PARTS, SourceSize(36 * 20, 6))}
    plan = TrainingPlan(scheduled_plan(SCHEDULE), sizes, DECAYING, 0.03)
    for one, row in zip(plan.passes, logged, strict=True):
        assert (one.source, one.last_update) == (row["source"], row["updates"])
        rate = plan.learning_rate(one, one.last_update)
        assert rate == pytest.approx(row["learning_rate"], rel=1e-9)


def test_the_plan_before_the_training_is_about_right(task, logged):
    plan = planned(task)
    assert [one.frames for one in plan.passes] == [720, 600] * 4
    for one, row in zip(plan.passes, logged, strict=True):
        assert one.source == row["source"]
        assert one.last_update == pytest.approx(row["updates"], rel=0.2)


def test_the_picture_of_a_plan_is_that_of_its_training(task, logged):
    settings = {"schedule": dataclasses.asdict(SCHEDULE), "trainer": dataclasses.asdict(DECAYING)}
    before, after = planned_passes(planned(task)), trained_passes(logged, settings)
    for drawn, trained in zip(before, after, strict=True):
        assert drawn.kind == trained.kind
        if trained.first > DECAYING.warm_up_updates:
            assert drawn.curve[0][1] == pytest.approx(trained.curve[0][1], rel=0.1)
            assert drawn.rate == pytest.approx(trained.rate, rel=0.1)


def test_a_batch_makes_an_update_a_chunk(task):
    cuts = list(open_feature_data(task.labeled))
    whole, chunked = (size_of(cuts, BATCHING, seconds) for seconds in (0.0, 0.25))
    assert chunked.frames == whole.frames == 600
    # 30 cuts of 0.6 s, six a batch: five batches of three chunks.
    assert abs(whole.updates - 5) <= 1 and abs(chunked.updates - 15) <= 1


def test_plans_of_both_schedules_have_the_same_data(task):
    plans = [planned(task, schedule=name) for name in ("interleaved", "segregated")]
    assert plans[0].total_frames == plans[1].total_frames
    assert plans[0].total_updates == plans[1].total_updates
    unlabeled = size_of(open_feature_data(task.unlabeled), BATCHING)
    frames = sum(one.frames for one in plans[0].passes if one.source != LABELED)
    assert frames == SCHEDULE.epochs * unlabeled.frames


def test_the_rate_rises_over_updates_and_falls_over_frames():
    settings = dataclasses.replace(TRAINER, warm_up_updates=4, final_learning_rate_ratio=0.25)
    rates = [learning_rate_of_update(settings, update, 0.0) for update in (1, 2, 4, 5)]
    assert rates == pytest.approx([0.005, 0.01, 0.02, 0.02])
    assert learning_rate_of_update(settings, 9, 0.5, factor=3.0) == pytest.approx(0.03)
    assert learning_rate_of_update(settings, 9, 1.0) == pytest.approx(0.005)


def test_the_plan_is_told_in_hours_updates_and_rates():
    settings = dataclasses.replace(TRAINER, warm_up_updates=10, final_learning_rate_ratio=1.0)
    sizes = {LABELED: SourceSize(120_000, 100), "unlabeled-000": SourceSize(60_000, 50)}
    schedule = ScheduleSettings("segregated", epochs=2, parts=1, labeled_learning_rate_factor=1.5)
    plan = TrainingPlan(scheduled_plan(schedule), sizes, settings, 0.03)
    lines = plan.lines()
    assert lines[:2] == [
        "2 passes over unlabelled speech, 1.00 hours in all",
        "2 passes over labelled speech, 2.00 hours in all",
    ]
    first = ["1", "unlabeled-000", "1", "0.50", "1", "to", "50", "2.00e-03", "2.00e-02"]
    last = ["4", "labeled", "1.5", "1.00", "201", "to", "300", "3.00e-02", "3.00e-02"]
    assert lines[3].split() == first and lines[-1].split() == last


def test_a_long_plan_is_cut_short_in_the_middle():
    plan = TrainingPlan(labeled_plan(50), {LABELED: SourceSize(100, 2)}, TRAINER, 0.03)
    assert len(plan.lines()) == 1 + 1 + 50
    shown = [line.split()[0] for line in plan.lines(at_most=6)]
    assert shown == ["50", "pass", "1", "2", "3", "…", "49", "50"]


def test_more_parts_than_cuts_are_an_error(task):
    with pytest.raises(InputError, match=r"schedule\.parts: 73 parts are too many"):
        planned(task, parts=73)


def test_the_tool_prints_and_draws_the_plan(task, tmp_path, monkeypatch, capsys):
    picture = tmp_path / "plan.svg"
    changed = ["--set", "schedule.parts=3", "--set", "schedule.epochs=1"]
    options = [*changed, str(task.labeled), str(task.unlabeled), str(picture)]
    monkeypatch.setattr(sys, "argv", ["utils/show_schedule.py", *options])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "utils" / "show_schedule.py"), run_name="__main__")
    assert ended.value.code == 0
    sources = [line.split()[1] for line in capsys.readouterr().out.splitlines()[3:]]
    assert sources == ["unlabeled-000", LABELED, "unlabeled-001", LABELED, "unlabeled-002", LABELED]
    blocks = ElementTree.parse(picture).getroot().findall("{http://www.w3.org/2000/svg}rect")
    assert len(blocks) == 1 + 6
