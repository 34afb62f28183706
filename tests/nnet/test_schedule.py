"""Scheduled learning's plans."""

from collections import Counter

import pytest

from am.errors import InputError
from am.nnet.schedule import (
    LABELED,
    ScheduleSettings,
    describe_plan,
    labeled_plan,
    scheduled_plan,
)


def test_interleaved_is_a_part_then_the_labelled_data():
    plan = scheduled_plan(
        ScheduleSettings("interleaved", epochs=2, parts=2, labeled_learning_rate_factor=3.0)
    )
    assert [one.source for one in plan] == ["unlabeled-000", LABELED, "unlabeled-001", LABELED] * 2
    assert [one.learning_rate_factor for one in plan] == [1.0, 3.0] * 4


def test_segregated_is_all_unlabelled_data_first():
    plan = scheduled_plan(ScheduleSettings("segregated", epochs=1, parts=3))
    assert [one.source for one in plan] == [
        "unlabeled-000",
        "unlabeled-001",
        "unlabeled-002",
        *[LABELED] * 3,
    ]


@pytest.mark.parametrize(("epochs", "parts"), [(1, 1), (3, 2), (2, 5)])
def test_both_schedules_visit_the_same_data_equally_often(epochs, parts):
    plans = [
        scheduled_plan(ScheduleSettings(schedule, epochs, parts))
        for schedule in ("interleaved", "segregated")
    ]
    assert Counter(plans[0]) == Counter(plans[1])


def test_the_plan_is_told_in_hours_and_runs():
    plan = scheduled_plan(ScheduleSettings("segregated", epochs=1, parts=2))
    frames = {LABELED: 120_000, "unlabeled-000": 60_000, "unlabeled-001": 60_000}
    assert describe_plan(plan, frames, 0.03) == [
        "2 passes over unlabeled part data, 1.00 hours of speech in all",
        "2 passes over labeled data, 2.00 hours of speech in all",
        "pass 1 to 2: unlabeled-000, unlabeled-001, learning rate x 1",
        "pass 3 to 4: labeled, learning rate x 1.5",
    ]


def test_a_long_plan_is_cut_short():
    plan = scheduled_plan(ScheduleSettings(epochs=5, parts=5))
    frames = {one.source: 1000 for one in plan}
    lines = describe_plan(plan, frames, 0.03)
    assert lines[2:4] == [
        "pass 1: unlabeled-000, learning rate x 1",
        "pass 2: labeled, learning rate x 1.5",
    ]
    assert lines[-1] == "and so on to pass 50"
    assert len(lines) == 11


def test_plain_training_is_passes_over_the_labelled_data():
    assert [one.source for one in labeled_plan(3)] == [LABELED] * 3


@pytest.mark.parametrize(
    "changes", [{"epochs": 0}, {"parts": 0}, {"labeled_learning_rate_factor": 0.0}]
)
def test_impossible_schedules_are_errors(changes):
    with pytest.raises(InputError, match="schedule:"):
        ScheduleSettings(**changes)
