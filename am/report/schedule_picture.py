"""Scheduled learning as a picture: blocks of data along the updates, the learning rate above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from am.nnet.schedule import LABELED
from am.report import svg
from am.report.charts import BAR_WIDTH, TICKS_ON_X
from am.report.markup import Markup
from am.report.svg import Point, Scale

CURVE_TOP, CURVE_BOTTOM = 22.0, 122.0
BLOCK_TOP, BLOCK_HEIGHT = 130.0, 18.0
POINTS_A_PASS = 12


@dataclass(frozen=True)
class TrainedPass:
    """A pass as it was trained.

    Attributes:
        source: of its data.
        first, last: updates before it and at its end.
        rate: learning rate at its end.
        factor: what the schedule multiplied the learning rate by.
    """

    source: str
    first: int
    last: int
    rate: float
    factor: float

    @property
    def kind(self) -> str:
        """``labelled`` or ``unlabelled``."""
        return "labelled" if self.source == LABELED else "unlabelled"


def trained_passes(rows: Sequence[Mapping[str, Any]], factor: float) -> list[TrainedPass]:
    """The passes of a training log; ``factor`` is that of labelled data."""
    passes = []
    before = 0
    for row in rows:
        updates, source = int(row["updates"]), str(row["source"])
        own = factor if source == LABELED else 1.0
        passes.append(TrainedPass(source, before, updates, float(row["learning_rate"]), own))
        before = updates
    return passes


def rate_curve(passes: Sequence[TrainedPass], warm_up: int) -> list[list[Point]]:
    """(update, learning rate) along each pass.

    The log has the rate at the end of each pass.  In between, the rate without the schedule's
    factor falls by the same share with every update, after a linear warm-up.
    """

    def warmth(updates: float) -> float:
        return min(1.0, updates / max(warm_up, 1))

    rates = [one.rate / one.factor / warmth(max(one.last, 1)) for one in passes]
    curves = []
    for index, one in enumerate(passes):
        # The first pass starts where the second's fall, traced back, would have begun.
        earlier, later = (index - 1, index) if index else (0, min(1, len(passes) - 1))
        span = max(passes[later].last - passes[earlier].last, 1)
        fall = (rates[later] / rates[earlier]) ** (1 / span) if rates[earlier] > 0 else 1.0
        curve = []
        steps = [step / POINTS_A_PASS for step in range(POINTS_A_PASS + 1)]
        updates = {one.first + (one.last - one.first) * step for step in steps}
        for update in sorted(updates | ({warm_up} if one.first < warm_up < one.last else set())):
            rate = rates[index] * fall ** (update - one.last) * warmth(update) * one.factor
            curve.append((update, rate))
        curves.append(curve)
    return curves


def schedule_picture(
    key: str,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    longest: int,
    highest: float,
) -> Markup:
    """One training's schedule.

    Args:
        key: distinguishes the picture within its page.
        name: of the training.
        rows: of its log, with at least one pass.
        settings: that it was trained with: ``schedule`` and ``trainer``.
        longest: updates at the end of the axis, to be shared by pictures.
        highest: learning rate at the end of the axis, to be shared by pictures.
    """
    factor = float(settings.get("schedule", {}).get("labeled_learning_rate_factor", 1.0))
    warm_up = int(settings.get("trainer", {}).get("warm_up_updates", 1))
    passes = trained_passes(rows, factor)
    across = Scale(0, longest, 52, BAR_WIDTH - 10)
    _, top_rate = svg.rounded_domain([0.0, highest], 4)
    up = Scale(0, top_rate, CURVE_BOTTOM, CURVE_TOP)
    block_bottom = BLOCK_TOP + BLOCK_HEIGHT
    parts = [
        svg.text(0, CURVE_TOP - 10, "learning rate", class_="panel-title"),
        svg.y_axis(up, across.start, across.end, up.ticks(4)),
        svg.x_axis(across, block_bottom, block_bottom + 2, across.ticks(TICKS_ON_X, whole=True)),
        svg.text(across.end, block_bottom + 32, "updates", anchor="end", class_="tick"),
    ]
    for one, curve in zip(passes, rate_curve(passes, warm_up), strict=True):
        drawn = [
            (across(update), min(max(up(rate), CURVE_TOP), CURVE_BOTTOM)) for update, rate in curve
        ]
        parts.append(svg.polyline(drawn, f"line {one.kind}"))
        parts += _block(one, across)
    told = (
        f"{len(passes)} passes; the first: "
        + ", ".join(one.kind for one in passes[:6])
        + f"; learning rate at the end {passes[-1].rate:.2g}"
    )
    return svg.picture(
        key, BAR_WIDTH, block_bottom + 38, f"What {name} was trained on, and how fast", told, *parts
    )


def _block(one: TrainedPass, across: Scale) -> list[Markup]:
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
