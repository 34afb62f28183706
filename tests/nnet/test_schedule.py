"""Scheduled learning's plans."""

from collections import Counter

import pytest

from am.errors import InputError
from am.nnet.schedule import (
    LABELED,
    ScheduleSettings,
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


@pytest.mark.parametrize(("schedule", "labeled"), [("interleaved", (1, 3)), ("segregated", (2, 3))])
def test_a_list_has_a_factor_a_labelled_pass_and_its_last_one_stays(schedule, labeled):
    plan = scheduled_plan(ScheduleSettings(schedule, 1, 2, (3.0, 2.0)))
    assert [plan[place].learning_rate_factor for place in labeled] == [3.0, 2.0]
    longer = scheduled_plan(ScheduleSettings(schedule, 2, 2, (3.0, 2.0)))
    factors = [one.learning_rate_factor for one in longer if one.source == LABELED]
    assert factors == [3.0, 2.0, 2.0, 2.0]


def test_plain_training_is_passes_over_the_labelled_data():
    assert [one.source for one in labeled_plan(3)] == [LABELED] * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"parts": 0},
        {"labeled_learning_rate_factor": 0.0},
        {"labeled_learning_rate_factor": (2.0, -1.0)},
        {"labeled_learning_rate_factor": ()},
    ],
)
def test_impossible_schedules_are_errors(changes):
    with pytest.raises(InputError, match="schedule:"):
        ScheduleSettings(**changes)
