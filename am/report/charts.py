"""The kinds of pictures that a report has: bars with intervals, and lines in panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from am.report import svg
from am.report.markup import Markup, join
from am.report.svg import Point, Scale

BAR_WIDTH, LINES_WIDTH = 560.0, 280.0
ROW_HEIGHT, BAR_THICKNESS = 24.0, 14.0
PANEL_HEIGHT, PANEL_GAP = 120.0, 52.0
TICKS_ON_X, TICKS_ON_Y = 6, 6


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart.

    Attributes:
        label: on the left.
        value: its length.
        shown: the value as it is written.
        low, high: ends of its interval.
        class_: of its looks: ``plain``, ``muted`` or ``strong``.
    """

    label: str
    value: float
    shown: str
    low: float
    high: float
    class_: str = "plain"


def bar_chart(
    key: str,
    title: str,
    bars: Sequence[Bar],
    *,
    maximum: float,
    label_width: float,
    mark: float | None = None,
) -> Markup:
    """Horizontal bars from 0 with intervals; labels and values have columns of their own.

    Args:
        key: distinguishes the picture within its page.
        title: what it shows.
        bars: from top to bottom.
        maximum: end of the axis, to be shared by charts.
        label_width: of the labels' column, to be shared by charts.
        mark: a value to compare with, drawn as a dashed line.
    """
    value_end = label_width + 8 + max(svg.text_width(bar.shown) for bar in bars)
    top, bottom = 2.0, 2.0 + ROW_HEIGHT * len(bars)
    scale = Scale(0, maximum or 1.0, value_end + 10, BAR_WIDTH - 10)
    parts = [svg.x_axis(scale, top, bottom, scale.ticks(TICKS_ON_X))]
    for index, bar in enumerate(bars):
        parts += _bar(bar, top + ROW_HEIGHT * (index + 0.5), scale, label_width, value_end)
    if mark is not None:
        parts.append(svg.segment((scale(mark), top), (scale(mark), bottom), "mark"))
    told = "; ".join(_told(bar) for bar in bars)
    return svg.picture(key, BAR_WIDTH, bottom + 20, title, told, *parts)


def widest_label(labels: Sequence[str]) -> float:
    """Width of a column for a bar chart's labels, at most 45 % of the picture's."""
    return min(max(map(svg.text_width, labels)), 0.45 * BAR_WIDTH)


def _told(bar: Bar) -> str:
    return f"{bar.label}: {bar.shown} [{bar.low:.1f}, {bar.high:.1f}]"


def _bar(
    bar: Bar, middle: float, scale: Scale, label_width: float, value_end: float
) -> list[Markup]:
    strong = "strong" if bar.class_ == "strong" else ""
    length, looks = scale(bar.value) - scale(0), f"bar {bar.class_}"
    top = middle - BAR_THICKNESS / 2
    return [
        svg.text(0, middle + 4, svg.shortened(bar.label, label_width), class_=strong),
        svg.text(value_end, middle + 4, bar.shown, anchor="end", class_=f"value {strong}".strip()),
        svg.rectangle(scale(0), top, length, BAR_THICKNESS, looks, _told(bar)),
        svg.interval(scale(bar.low), scale(bar.high), middle),
    ]


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        label: at its last point; none if empty.
        points: x and y, finite.
        class_: of its looks.
        rings: points to be marked.
        intervals: x, and the lowest and highest y there.
    """

    label: str
    points: Sequence[Point]
    class_: str
    rings: Sequence[Point] = ()
    intervals: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True)
class Panel:
    """Lines over one y axis.

    Attributes:
        title: above the axis.
        lines: drawn in this order.
        range: lowest and highest y, to be shared by charts; the lines' own if None.
    """

    title: str
    lines: Sequence[Line]
    range: tuple[float, float] | None = None


def line_chart(
    key: str,
    title: str,
    panels: Sequence[Panel],
    *,
    x_title: str,
    label_width: float = 0.0,
    x_ticks: Sequence[float] | None = None,
) -> Markup:
    """Panels one above the other with the same x axis, each line labelled at its end.

    Args:
        key: distinguishes the picture within its page.
        title: what it shows.
        panels: from top to bottom, each with a line that has a point.
        x_title: what x counts: whole numbers, unless ``x_ticks`` are given.
        label_width: of the labels' column, to be shared by charts.
        x_ticks: where the x axis is labelled, as far as there is room, in rising order.
    """
    lines = [line for panel in panels for line in panel.lines]
    xs = [x for line in lines for x, _ in line.points]
    right = LINES_WIDTH - 10 - label_width
    least = 1.0 if x_ticks is None else 0.0
    across = Scale(min(xs), max(max(xs), min(xs) + least), 40, right)
    ticks = across.ticks(TICKS_ON_X, whole=True) if x_ticks is None else _apart(x_ticks, across)
    parts = []
    top = 28.0
    for panel in panels:
        parts.append(svg.text(0, top - 15, panel.title, class_="panel-title"))
        parts.append(_panel(panel, across, ticks, top, top + PANEL_HEIGHT))
        top += PANEL_HEIGHT + PANEL_GAP
    bottom = top - PANEL_GAP
    parts.append(svg.text(right, bottom + 30, x_title, anchor="end", class_="tick"))
    told = "; ".join(
        f"{panel.title}{line.label and ', '}{line.label}: "
        f"{line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"
        for panel in panels
        for line in panel.lines
    )
    return svg.picture(key, LINES_WIDTH, bottom + 36, title, told, *parts)


def _apart(ticks: Sequence[float], across: Scale) -> list[float]:
    """The first and last ticks, and those between whose labels do not run into others'."""
    kept = [ticks[-1]]
    for tick in (ticks[0], *reversed(ticks[1:-1])):
        width = svg.text_width(svg.number(tick))
        if all(abs(across(tick) - across(other)) > width + 6 for other in kept):
            kept.append(tick)
    return sorted(kept)


def _panel(
    panel: Panel, across: Scale, ticks: Sequence[float], top: float, bottom: float
) -> Markup:
    values = [y for line in panel.lines for _, y in line.points]
    low, high = panel.range or svg.rounded_domain(values, TICKS_ON_Y)
    up = Scale(low, high, bottom, top)
    parts = [
        svg.y_axis(up, across.start, across.end, up.ticks(TICKS_ON_Y)),
        svg.x_axis(across, bottom, bottom, ticks),
    ]
    for line in panel.lines:
        drawn = [(across(x), up(y)) for x, y in line.points]
        parts.append(svg.polyline(drawn, f"line {line.class_}"))
        parts += [
            svg.segment((across(x), up(low)), (across(x), up(high)), "interval")
            for x, low, high in line.intervals
        ]
        parts += [svg.circle((across(x), up(y)), 3, f"ring {line.class_}") for x, y in line.rings]
        # A line of one point has no length.
        parts.append(svg.circle(drawn[-1], 2.5, f"dot {line.class_}"))
    ends = svg.spread([up(line.points[-1][1]) for line in panel.lines], 13, top + 4, bottom - 2)
    for line, place in zip(panel.lines, ends, strict=True):
        parts.append(svg.text(across.end + 7, place + 4, line.label, class_=f"label {line.class_}"))
    return join(parts)
