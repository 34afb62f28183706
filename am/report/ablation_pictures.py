"""Ablations as files: the table, and the curves over hours of speech and over stored logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from am.report import svg
from am.report.charts import TICKS_ON_Y, Line, Panel, line_chart
from am.scoring.ablations import (
    HOURS,
    TOP_K,
    AblationRow,
    ablation_table,
    test_columns,
)

TABLE_NAME = "ABLATIONS.md"
TITLES = {
    HOURS: "Word error rate over unlabelled speech",
    TOP_K: "Word error rate over stored logits a frame",
}
X_TITLES = {HOURS: "hours of unlabelled speech", TOP_K: "logits a frame"}


def ablation_files(
    rows: Sequence[AblationRow], test_sets: Sequence[str], against: Sequence[str], seed: int
) -> dict[str, str]:
    """File name → content: ``ABLATIONS.md``, and a picture of each curve with two points.

    Args:
        rows, test_sets, against, seed: as of :func:`am.scoring.ablations.ablation_table`.
    """
    columns = test_columns(test_sets)
    pictures = {}
    for curve, title in TITLES.items():
        points = curve_points(rows, curve, list(test_sets))
        if len(points) > 1:
            pictures[f"{curve}.svg"] = _curve_picture(curve, title, points, columns, seed)
    titles = {f"{curve}.svg": title for curve, title in TITLES.items()}
    shown = {name: titles[name] for name in pictures}
    return {TABLE_NAME: ablation_table(rows, test_sets, against, shown, seed), **pictures}


def curve_points(
    rows: Sequence[AblationRow], curve: str, test_sets: Sequence[str]
) -> dict[float, AblationRow]:
    """x → the system there, in order of x; systems that are scored on all test sets."""
    points: dict[float, AblationRow] = {}
    for row in rows:
        if curve in row.curves and row.is_scored(test_sets):
            x = round(row.hours, 2) if curve == HOURS else row.top_k
            if x is not None:
                points[float(x)] = row
    return dict(sorted(points.items()))


def _curve_picture(
    curve: str,
    title: str,
    points: Mapping[float, AblationRow],
    columns: Mapping[str, Sequence[str]],
    seed: int,
) -> str:
    panels = []
    for name, tests in columns.items():
        rates = {x: row.rate(tests, seed) for x, row in points.items()}
        intervals = [(x, 100 * i.low, 100 * i.high) for x, (_, i) in rates.items()]
        means = [(x, 100 * rate) for x, (rate, _) in rates.items()]
        line = Line("", means, "dev", means, intervals)
        bounds = [bound for _, low, high in intervals for bound in (low, high)]
        panels.append(Panel(f"{name}, %", [line], svg.rounded_domain(bounds, TICKS_ON_Y)))
    drawing = line_chart(
        curve, title, panels, x_title=X_TITLES[curve], label_width=10, x_ticks=list(points)
    )
    return svg.document(drawing)
