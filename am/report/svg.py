"""Pictures as inline SVG: scales, axes, bars, lines.

Colours, line widths and type come from classes in ``report.css``, so that a picture follows the
reader's light or dark scheme.  Lengths are in CSS pixels; y grows downwards.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from am.report.markup import Markup, element, join
from am.report.style import PICTURE_STYLE, style

FONT_SIZE = 12.0
# Mean width of a character of a sans-serif type, as a share of its size, on the safe side.
_CHARACTER_WIDTH = 0.56
_TICK_STEPS = (1.0, 2.0, 2.5, 5.0)
Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """A linear map of values, ``low`` … ``high``, to places, ``start`` … ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)

    def ticks(self, at_most: int, whole: bool = False) -> list[float]:
        """Round values within the scale, evenly spaced; the scale's ends among them if possible.

        Args:
            at_most: how many.
            whole: whole numbers alone.
        """
        span = self.high - self.low
        if span <= 0 or not math.isfinite(span):
            return [self.low]
        found: list[list[float]] = []
        for step in _steps(span, at_most):
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            if 1 <= last - first + 1 <= at_most and not (whole and step % 1):
                found.append([index * step for index in range(first, last + 1)])
        slack = 1e-6 * span
        for ticks in found:
            if abs(ticks[0] - self.low) < slack and abs(ticks[-1] - self.high) < slack:
                return ticks
        return found[0] if found else []


def rounded_domain(values: Sequence[float], at_most: int) -> tuple[float, float]:
    """The smallest range from one tick to another that holds all values.

    Args:
        values: those that are not finite are left out; of none, the range is 0 … 1.
        at_most: ticks.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    for step in _steps(high - low, at_most):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first + 1 <= at_most:
            return first * step, last * step
    return low, high


def _steps(span: float, at_most: int) -> list[float]:
    """Round distances of ticks, small ones first, the largest more than enough."""
    power = 10.0 ** math.floor(math.log10(span / at_most))
    return [step * power * scale for scale in (1, 10, 100) for step in _TICK_STEPS]


def number(value: float) -> str:
    """A number for a reader: thousands apart, no more digits than it needs, a true minus."""
    written = f"{value:,d}" if isinstance(value, int) else f"{value:,.6g}"
    return written.replace("-", "−").replace(",", "\u202f")


def text_width(text: str, size: float = FONT_SIZE) -> float:
    """About how wide a line of text is; East Asian wide characters count twice."""
    units = sum(1.8 if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in text)
    return units * size * _CHARACTER_WIDTH


def shortened(text: str, width: float, size: float = FONT_SIZE) -> str:
    """The text, or its beginning and an ellipsis where it is wider than ``width``."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def picture(
    key: str, width: float, height: float, title: str, description: str, *parts: Markup
) -> Markup:
    """A whole picture with the title and the description that a screen reader says.

    Args:
        key: distinguishes it from the document's other pictures.
        width, height: of its coordinates, and its size unless its place is narrower.
        title, description: what it shows, and what is to be seen.
        parts: drawn in this order.
    """
    names = (f"{key}-title", f"{key}-desc")
    return element(
        "svg",
        element("title", title, id=names[0]),
        element("desc", description, id=names[1]),
        *parts,
        viewBox=f"0 0 {_place(width)} {_place(height)}",
        width=_place(width),
        height=_place(height),
        role="img",
        aria_labelledby=" ".join(names),
    )


def document(drawing: Markup) -> str:
    """A picture as the content of a file of its own, its style inside."""
    start = "<svg "
    assert drawing.startswith(start)
    inside = drawing.index(">") + 1
    head = f'{start}xmlns="http://www.w3.org/2000/svg" {drawing[len(start) : inside]}'
    ground = element("rect", width="100%", height="100%", class_="ground")
    return f"{head}{element('style', style(PICTURE_STYLE))}{ground}{drawing[inside:]}\n"


def text(x: float, y: float, content: str, *, anchor: str = "start", class_: str = "") -> Markup:
    """A line of text with its baseline at y; anchor is start, middle or end."""
    return element(
        "text",
        content,
        x=_place(x),
        y=_place(y),
        text_anchor=None if anchor == "start" else anchor,
        class_=class_ or None,
    )


def segment(first: Point, second: Point, class_: str) -> Markup:
    """A straight line."""
    ends = zip(("x1", "y1", "x2", "y2"), (*first, *second), strict=True)
    return element("line", class_=class_, **{name: _place(value) for name, value in ends})


def polyline(points: Sequence[Point], class_: str) -> Markup:
    """A line through points."""
    places = (f"{_place(x)},{_place(y)}" for x, y in points)
    return element("polyline", points=" ".join(places), class_=class_)


def rectangle(
    x: float, y: float, width: float, height: float, class_: str, tip: str = ""
) -> Markup:
    """A filled rectangle; ``tip`` is shown when pointed at."""
    return element(
        "rect",
        *([element("title", tip)] if tip else []),
        x=_place(x),
        y=_place(y),
        width=_place(max(width, 0.0)),
        height=_place(height),
        class_=class_,
    )


def circle(centre: Point, radius: float, class_: str, tip: str = "") -> Markup:
    """A dot or ring."""
    title = [element("title", tip)] if tip else []
    x, y = centre
    return element("circle", *title, cx=_place(x), cy=_place(y), r=_place(radius), class_=class_)


def interval(low: float, high: float, y: float, cap: float = 3.5) -> Markup:
    """A horizontal interval with caps at its ends."""
    lines = [
        ((low, y), (high, y)),
        ((low, y - cap), (low, y + cap)),
        ((high, y - cap), (high, y + cap)),
    ]
    return join(segment(first, second, "interval") for first, second in lines)


def x_axis(scale: Scale, top: float, bottom: float, ticks: Sequence[float]) -> Markup:
    """Vertical grid lines from top to bottom, labelled below."""
    lines = [segment((scale(tick), top), (scale(tick), bottom), "gridline") for tick in ticks]
    labels = [
        text(scale(tick), bottom + 15, number(tick), anchor="middle", class_="tick")
        for tick in ticks
    ]
    return join([*lines, *labels])


def y_axis(scale: Scale, left: float, right: float, ticks: Sequence[float]) -> Markup:
    """Horizontal grid lines from left to right, labelled on the left."""
    lines = [segment((left, scale(tick)), (right, scale(tick)), "gridline") for tick in ticks]
    labels = [
        text(left - 6, scale(tick) + 4, number(tick), anchor="end", class_="tick") for tick in ticks
    ]
    return join([*lines, *labels])


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places moved as little as need be to stand ``gap`` apart, between ``low`` and ``high``."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    floor = low
    for index in order:
        moved[index] = max(moved[index], floor)
        floor = moved[index] + gap
    ceiling = high
    for index in reversed(order):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - gap
    return moved


def _place(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
