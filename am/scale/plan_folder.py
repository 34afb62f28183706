"""A plan as a folder: ``PLAN.md`` and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from am.parallel.settings import METHODS
from am.report import svg
from am.report.charts import Bar, Line, Panel, bar_chart, line_chart, widest_label
from am.scale.figures import ScaleFigures, figure_names
from am.scale.plan import (
    Efficiency,
    Plan,
    PlanSettings,
    dump_speed_of,
    efficiencies,
    plans_of,
    speed_of,
)

PLAN_NAME, SPEED_UP_NAME = "PLAN.md", "speed_up.svg"
LOOKS = {"ddp": "labelled", "gtc": "dev", "bmuf": "unlabelled"}
HOURS_A_DAY, DAYS_A_YEAR = 24, 365.25
BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
STAGE_HEAD = "| stage | compute, hours of a worker | wall-clock | efficiency | sent by a worker |"


def write_plan(folder: Path, settings: PlanSettings) -> None:
    """Write the folder's files."""
    plans = plans_of(settings)
    found = efficiencies(settings.figures)
    text = "\n".join(plan_lines(settings, plans, found)) + "\n"
    (folder / PLAN_NAME).write_text(text, encoding="utf-8")
    (folder / SPEED_UP_NAME).write_text(speed_up_picture(found), encoding="utf-8")
    for plan in plans:
        picture = stage_picture(plan, settings.workers)
        (folder / stage_picture_name(plan)).write_text(picture, encoding="utf-8")


def plan_lines(
    settings: PlanSettings, plans: Sequence[Plan], found: Sequence[Efficiency]
) -> list[str]:
    """The whole of ``PLAN.md``."""
    lines = ["# Plan", ""]
    for plan in plans:
        lines += _plan_section(plan, settings)
    return [*lines, *_efficiency_section(found), *_origin_section(settings.figures)]


def _plan_section(plan: Plan, settings: PlanSettings) -> list[str]:
    disk = plan.disk
    lines = [
        f"## {hours_number(plan.unlabelled_hours)} hours unlabelled, "
        f"{hours_number(plan.labelled_hours)} labelled",
        "",
        f"Disk: audio {bytes_text(disk.audio)}, features {bytes_text(disk.features)}, soft labels "
        f"{bytes_text(disk.soft_labels)}; together {bytes_text(disk.total)}.",
        "",
        f"With {settings.workers} workers, {settings.method} (sMBR: gtc):",
        "",
        STAGE_HEAD,
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for stage in plan.stages:
        sent = bytes_text(stage.sent) if stage.sent else "–"
        lines.append(
            f"| {stage.number} {stage.name} | {rounded(stage.worker_hours)} "
            f"| {time_text(stage.hours)} | {100 * stage.efficiency:.0f} % | {sent} |"
        )
    together = f"| together | {rounded(plan.worker_hours)} | {time_text(plan.hours)} | | |"
    picture = f"![Time of the stages]({stage_picture_name(plan)})"
    return [*lines, together, "", picture, ""]


def _efficiency_section(found: Sequence[Efficiency]) -> list[str]:
    counts = sorted({one.workers for one in found})
    by_setting = {(one.method, one.workers): one for one in found}
    lines = [
        "## Workers",
        "",
        "Speed-up of the student's training over one worker, and what each worker sends a batch.",
        "",
        "| method |" + "".join(f" {count} |" for count in counts) + " sent a batch |",
        "| --- |" + " ---: |" * (len(counts) + 1),
    ]
    for method in METHODS:
        speed_ups = "".join(f" {by_setting[method, count].speed_up:.3g} |" for count in counts)
        sent = bytes_text(by_setting[method, counts[-1]].bytes_a_batch)
        lines.append(f"| {method} |{speed_ups} {sent} ({counts[-1]} workers) |")
    return [*lines, "", f"![Speed-up]({SPEED_UP_NAME})", ""]


def _origin_section(figures: ScaleFigures) -> list[str]:
    derived = {
        "teacher_training_frames_a_second": speed_of(figures, "teacher"),
        "student_training_frames_a_second": speed_of(figures, "student"),
        "dump_frames_a_second": dump_speed_of(figures),
    }
    lines = ["## Figures", "", "| figure | value | origin |", "| --- | ---: | --- |"]
    for name in figure_names():
        value = derived.get(name, figures.value(name))
        origin = figures.origin(name).replace("|", "\\|")
        lines.append(f"| {name} | {value:.6g} | {origin} |")
    return lines


def speed_up_picture(found: Sequence[Efficiency]) -> str:
    """Speed-up against workers, a line a method, as the content of an SVG file."""
    counts = sorted({one.workers for one in found})
    lines = [Line("", [(float(count), float(count)) for count in counts], "mark")]
    for method in METHODS:
        points = [(float(one.workers), one.speed_up) for one in found if one.method == method]
        lines.append(Line(method, points, LOOKS[method]))
    panels = [Panel("times as fast as one worker", lines)]
    width = max(map(svg.text_width, METHODS)) + 4
    drawing = line_chart(
        "speed-up",
        "Speed-up of the student's training",
        panels,
        x_title="workers",
        label_width=width,
        x_ticks=[float(count) for count in counts],
    )
    return svg.document(drawing)


def stage_picture_name(plan: Plan) -> str:
    """Of its file."""
    return f"stages_{plan.unlabelled_hours:.12g}_hours.svg"


def stage_picture(plan: Plan, workers: int) -> str:
    """Wall-clock days by stage, as the content of an SVG file."""
    bars = []
    for stage in plan.stages:
        days = stage.hours / HOURS_A_DAY
        bars.append(Bar(stage.name, days, time_text(stage.hours), days, days))
    drawing = bar_chart(
        "stages",
        f"Days for {hours_number(plan.unlabelled_hours)} unlabelled hours with {workers} workers",
        bars,
        maximum=max(bar.value for bar in bars),
        label_width=widest_label([bar.label for bar in bars]),
    )
    return svg.document(drawing)


def bytes_text(num_bytes: float) -> str:
    """A size for a reader, in powers of 1,000."""
    for unit in BYTE_UNITS:
        if num_bytes < 999.5 or unit == BYTE_UNITS[-1]:
            break
        num_bytes /= 1000
    return f"{num_bytes:.3g} {unit}"


def hours_number(hours: float) -> str:
    """Hours of speech for a reader."""
    return f"{hours:,.12g}"


def rounded(value: float) -> str:
    """Three digits that count."""
    return f"{float(f'{value:.3g}'):,.12g}"


def time_text(hours: float) -> str:
    """A duration for a reader."""
    if hours < 1:
        return f"{60 * hours:.3g} min"
    if hours < 2 * HOURS_A_DAY:
        return f"{hours:.3g} h"
    days = hours / HOURS_A_DAY
    return f"{days:.3g} days" if days < 2 * DAYS_A_YEAR else f"{days / DAYS_A_YEAR:.3g} years"
