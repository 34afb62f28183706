"""Scheduled learning as a picture: blocks of data along the updates, the learning rate above.

The same picture shows a plan before the training and what was trained after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from am.nnet.learning_rate import warm_up_share
from am.nnet.schedule import LABELED, factor_of_labeled_pass
from am.nnet.training_plan import PlannedPass, TrainingPlan
from am.report import svg
from am.report.charts import BAR_WIDTH, TICKS_ON_X
from am.report.markup import Markup
from am.report.svg import Point, Scale

CURVE_TOP, CURVE_BOTTOM = 22.0, 122.0
BLOCK_TOP, BLOCK_HEIGHT = 130.0, 18.0
POINTS_A_PASS = 12
LABELLED, UNLABELLED = "labelled", "unlabelled"


@dataclass(frozen=True)
class DrawnPass:
    """A pass as it is drawn.

    Attributes:
        source: of its data.
        first, last: updates before it and at its end.
        curve: (update, learning rate) along it, at least two points.
    """

    source: str
    first: int
    last: int
    curve: Sequence[Point]

    @property
    def kind(self) -> str:
        """``labelled`` or ``unlabelled``."""
        return LABELLED if self.source == LABELED else UNLABELLED

    @property
    def rate(self) -> float:
        """Learning rate at its end."""
        return self.curve[-1][1]


def planned_passes(plan: TrainingPlan) -> list[DrawnPass]:
    """The passes of a plan."""
    return [
        DrawnPass(one.source, one.updates_before, one.last_update, _planned_curve(plan, one))
        for one in plan.passes
    ]


def _planned_curve(plan: TrainingPlan, one: PlannedPass) -> list[Point]:
    updates = _updates_drawn(one.updates_before, one.last_update, plan.settings.warm_up_updates)
    return [(update, plan.learning_rate(one, update)) for update in updates]


def trained_passes(
    rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
) -> list[DrawnPass]:
    """The passes of a training log.

    The log has the rate at the end of each pass.  In between, the rate without the schedule's
    factor falls by the same share with every update, after the warm-up.

    Args:
        rows: of the log.
        settings: that it was trained with: ``schedule`` and ``trainer``.
    """
    warm_up = int(settings.get("trainer", {}).get("warm_up_updates", 1))
    given = settings.get("schedule", {}).get("labeled_learning_rate_factor", 1.0)
    factors: list[float] = []
    sources = [str(row["source"]) for row in rows]
    for index, source in enumerate(sources):
        labeled_before = sources[:index].count(LABELED)
        factors.append(factor_of_labeled_pass(given, labeled_before) if source == LABELED else 1.0)
    lasts = [int(row["updates"]) for row in rows]
    rates = [
        float(row["learning_rate"]) / factor / warm_up_share(max(last, 1), warm_up)
        for row, factor, last in zip(rows, factors, lasts, strict=True)
    ]
    passes = []
    for index, (source, factor, last) in enumerate(zip(sources, factors, lasts, strict=True)):
        first = lasts[index - 1] if index else 0
        fall = _fall(rates, lasts, index)
        curve = [
            (
                update,
                rates[index] * fall ** (update - last) * warm_up_share(update, warm_up) * factor,
            )
            for update in _updates_drawn(first, last, warm_up)
        ]
        passes.append(DrawnPass(source, first, last, curve))
    return passes


def _fall(rates: Sequence[float], lasts: Sequence[int], index: int) -> float:
    """What an update of a pass multiplies the rate by."""
    # The first pass starts where the second's fall, traced back, would have begun.
    earlier, later = (index - 1, index) if index else (0, min(1, len(lasts) - 1))
    span = max(lasts[later] - lasts[earlier], 1)
    return (rates[later] / rates[earlier]) ** (1 / span) if rates[earlier] > 0 else 1.0


def _updates_drawn(first: int, last: int, warm_up: int) -> list[float]:
    """Where a pass's curve has points: evenly, and at the end of the warm-up."""
    steps = (step / POINTS_A_PASS for step in range(POINTS_A_PASS + 1))
    updates = {first + (last - first) * step for step in steps}
    return sorted(updates | ({warm_up} if first < warm_up < last else set()))


def schedule_picture(
    key: str, title: str, passes: Sequence[DrawnPass], longest: int, highest: float
) -> Markup:
    """One training's schedule.

    Args:
        key: distinguishes the picture within its page.
        title: what it shows.
        passes: at least one.
        longest: updates at the end of the axis, to be shared by pictures.
        highest: learning rate at the end of the axis, to be shared by pictures.
    """
    across = Scale(0, longest, 52, BAR_WIDTH - 10)
    _, top_rate = svg.rounded_domain([0.0, highest], 4)
    up = Scale(0, top_rate, CURVE_BOTTOM, CURVE_TOP)
    block_bottom = BLOCK_TOP + BLOCK_HEIGHT
    parts = [
        svg.text(0, CURVE_TOP - 10, "learning rate", class_="panel-title"),
        *_legend(across.end),
        svg.y_axis(up, across.start, across.end, up.ticks(4)),
        svg.x_axis(across, block_bottom, block_bottom + 2, across.ticks(TICKS_ON_X, whole=True)),
        svg.text(across.end, block_bottom + 32, "updates", anchor="end", class_="tick"),
    ]
    for one in passes:
        drawn = [
            (across(update), min(max(up(rate), CURVE_TOP), CURVE_BOTTOM))
            for update, rate in one.curve
        ]
        parts.append(svg.polyline(drawn, f"line {one.kind}"))
        parts += _block(one, across)
    told = (
        f"{len(passes)} passes; the first: "
        + ", ".join(one.kind for one in passes[:6])
        + f"; learning rate at the end {passes[-1].rate:.2g}"
    )
    return svg.picture(key, BAR_WIDTH, block_bottom + 38, title, told, *parts)


def _legend(right: float) -> list[Markup]:
    parts = []
    for kind in (LABELLED, UNLABELLED):
        left = right - svg.text_width(kind)
        parts.append(svg.text(left, CURVE_TOP - 10, kind))
        parts.append(svg.circle((left - 10, CURVE_TOP - 14), 5, f"block {kind}"))
        right = left - 30
    return parts


def _block(one: DrawnPass, across: Scale) -> list[Markup]:
    left, right = across(one.first), across(one.last)
    tip = f"{one.source}: updates {one.first + 1} to {one.last}, learning rate {one.rate:.2g}"
    block = svg.rectangle(
        left + 0.5, BLOCK_TOP, right - left - 1, BLOCK_HEIGHT, f"block {one.kind}", tip
    )
    part = one.source.rpartition("-")[2]
    number = str(int(part) + 1) if part.isdigit() else ""
    if not number or svg.text_width(number) + 4 > right - left:
        return [block]
    middle = (left + right) / 2
    return [block, svg.text(middle, BLOCK_TOP + 13, number, anchor="middle", class_="in-block")]


def plan_document(plan: TrainingPlan) -> str:
    """The picture of a plan as the content of an SVG file."""
    passes = planned_passes(plan)
    highest = max(rate for one in passes for _, rate in one.curve)
    title = "What is going to be trained on, and how fast"
    drawing = schedule_picture("plan", title, passes, plan.total_updates, highest)
    return svg.document(drawing)
