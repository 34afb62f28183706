"""Scheduled learning: in which order unlabelled and labelled data are gone through.

From Parthasarathi and Strom, "Lessons from building acoustic models with a million hours of
speech" (arXiv 1904.01624): the unlabelled data are cut into parts; part i, then a pass over the
labelled data with a higher learning rate, then part i + 1, and so on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from am.errors import InputError

LABELED = "labeled"
MAX_PLAN_LINES = 10


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
        labeled_learning_rate_factor: above 1 makes labelled data count for more.
    """

    schedule: Literal["interleaved", "segregated"] = "interleaved"
    epochs: int = 4
    parts: int = 4
    labeled_learning_rate_factor: float = 1.5

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.parts < 1:
            raise InputError("schedule: epochs and parts must be at least 1")
        if self.labeled_learning_rate_factor <= 0:
            raise InputError("schedule: labeled_learning_rate_factor must be above 0")


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
    labeled = Pass(LABELED, settings.labeled_learning_rate_factor)
    if settings.schedule == "segregated":
        return unlabeled + [labeled] * len(unlabeled)
    return [one for part in unlabeled for one in (part, labeled)]


def describe_plan(plan: Sequence[Pass], frames: Mapping[str, int], frame_shift: float) -> list[str]:
    """The plan in a few lines for a reader.

    Args:
        plan: the passes.
        frames: source → frames of one pass.
        frame_shift: in seconds.
    """
    lines = []
    run_start = 0
    names = [("unlabeled part" if p.source != LABELED else LABELED) for p in plan]
    for kind, count in Counter(names).items():
        hours = sum(
            frames[p.source] * frame_shift / 3600
            for p, name in zip(plan, names, strict=True)
            if name == kind
        )
        lines.append(f"{count} passes over {kind} data, {hours:.2f} hours of speech in all")
    for index in range(1, len(plan) + 1):
        if index < len(plan) and names[index] == names[run_start]:
            continue
        if len(lines) == MAX_PLAN_LINES:
            lines.append(f"and so on to pass {len(plan)}")
            break
        last = f" to {index}" if index > run_start + 1 else ""
        factor = plan[run_start].learning_rate_factor
        sources = ", ".join(dict.fromkeys(p.source for p in plan[run_start:index]))
        lines.append(f"pass {run_start + 1}{last}: {sources}, learning rate x {factor:g}")
        run_start = index
    return lines
