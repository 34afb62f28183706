"""Scheduled learning: in which order unlabelled and labelled data are gone through.

From Parthasarathi and Strom, "Lessons from building acoustic models with a million hours of
speech" (arXiv 1904.01624): the unlabelled data are cut into parts; part i, then a pass over the
labelled data with a higher learning rate, then part i + 1, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from am.errors import InputError

LABELED = "labeled"


@dataclass(frozen=True)
class Pass:
    """One time through one source of data.

    Attributes:
        source: its name.
        learning_rate_factor: the learning rate is multiplied by it.
        may_stop: whether training may end early after it.
    """

    source: str
    learning_rate_factor: float = 1.0
    may_stop: bool = True


@dataclass(frozen=True)
class ScheduleSettings:
    """The order, and how often.

    Attributes:
        schedule: ``interleaved``, or ``segregated``: all passes over unlabelled data first, then
            all over labelled data.  Both see each cut equally often.
        epochs: how often the unlabelled data are gone through.
        parts: into how many parts they are cut; a pass over the labelled data goes with each.
        labeled_learning_rate_factor: above 1 makes labelled data count for more.  A list has a
            factor for each pass over labelled data, the last one for all passes that follow.
    """

    schedule: Literal["interleaved", "segregated"] = "interleaved"
    epochs: int = 4
    parts: int = 4
    labeled_learning_rate_factor: float | tuple[float, ...] = 1.5

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.parts < 1:
            raise InputError("schedule: epochs and parts must be at least 1")
        given = self.labeled_learning_rate_factor
        factors = given if isinstance(given, Sequence) else [given]
        if not factors or min(factors) <= 0:
            raise InputError("schedule: labeled_learning_rate_factor must be above 0")


def factor_of_labeled_pass(given: float | Sequence[float], index: int) -> float:
    """The factor of a pass over labelled data, ``index`` (from 0) among such passes.

    Args:
        given: :attr:`ScheduleSettings.labeled_learning_rate_factor`.
    """
    return given[min(index, len(given) - 1)] if isinstance(given, Sequence) else given


def labeled_plan(epochs: int) -> list[Pass]:
    """Plain training: ``epochs`` passes over the labelled data."""
    return [Pass(LABELED)] * epochs


def part_name(index: int) -> str:
    """The source name of an unlabelled part, from 0."""
    return f"unlabeled-{index:03d}"


def scheduled_plan(settings: ScheduleSettings) -> list[Pass]:
    """The passes of scheduled learning, in order."""
    unlabeled = [
        Pass(part_name(part), may_stop=False)
        for _ in range(settings.epochs)
        for part in range(settings.parts)
    ]
    given = settings.labeled_learning_rate_factor
    labeled = [
        Pass(LABELED, factor_of_labeled_pass(given, index)) for index in range(len(unlabeled))
    ]
    if settings.schedule == "segregated":
        return unlabeled + labeled
    return [one for pair in zip(unlabeled, labeled, strict=True) for one in pair]
