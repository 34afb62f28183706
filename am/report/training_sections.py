"""How the models were trained: learning curves, and what scheduled learning trained when."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from am.errors import InputError
from am.inspection.training_curves import GMM_STEP, NETWORK_STEP, REALIGNED, TrainingHistory
from am.nnet.schedule import LABELED
from am.outputs import DONE_NAME
from am.report import svg
from am.report.charts import TICKS_ON_Y, Line, Panel, line_chart
from am.report.markup import Markup, element
from am.report.page import Section, figure, grid, paragraph
from am.report.schedule_picture import schedule_picture, trained_passes
from am.report.sources import ReportSources
from am.scoring.systems import read_json

log = logging.getLogger(__name__)

UNLABELED = "unlabeled"
# The data that a curve is of: its label and its looks.
LABELLED, UNLABELLED, DEV = "labelled", "unlabelled", "dev"


def training_sections(sources: ReportSources) -> list[Section]:
    """Sections on networks, their schedules, and GMMs."""
    histories = _histories(sources)
    networks = {name: h for name, h in histories.items() if h.step == NETWORK_STEP}
    gmms = {name: h for name, h in histories.items() if h.step == GMM_STEP}
    sections = []
    for section, missing in (
        (_network_section(networks), "no learning curves: no network has been trained"),
        (_schedule_section(networks), "no schedule: no network was trained on unlabelled data"),
        (_gmm_section(gmms), "no curves of GMMs: none has been trained"),
    ):
        if section is None:
            log.info("%s", missing)
        else:
            sections.append(section)
    return sections


def _histories(sources: ReportSources) -> dict[str, TrainingHistory]:
    """The logs that can be read and have a line, by the training's name."""
    histories = {}
    for name, folder in sources.trainings().items():
        try:
            histories[name] = TrainingHistory.load(folder)
        except InputError as error:
            log.warning("left out: %s", error)
    return histories


def _network_section(networks: Mapping[str, TrainingHistory]) -> Section | None:
    if not networks:
        return None
    sequence = {name: h for name, h in networks.items() if _criterion(h.folder)}
    frame = {name: h for name, h in networks.items() if name not in sequence}
    parts = []
    if frame:
        note = (
            "After each pass: cross-entropy (natural logarithm) of the data that were trained on "
            "and of dev, and the share of dev's frames whose senone is right. The loss of "
            "unlabelled data is against the teacher's soft labels."
        )
        parts += [paragraph(note), grid(_network_figures("network", frame), "narrow")]
    if sequence:
        note = (
            "The criterion is the loss that is minimised, cross-entropy mixed in as the settings "
            "say; the loss of dev is cross-entropy."
        )
        heading = element("h3", "Sequence training")
        parts += [heading, paragraph(note), grid(_network_figures("sequence", sequence), "narrow")]
    return Section("networks", "Learning curves", parts)


def _network_figures(key: str, networks: Mapping[str, TrainingHistory]) -> list[Markup]:
    """A figure of each network, all with the same y axes."""
    panels = {name: _network_panels(history) for name, history in networks.items()}
    label_width = max(
        svg.text_width(line.label) for ps in panels.values() for panel in ps for line in panel.lines
    )
    figures = []
    for index, (name, of_network) in enumerate(panels.items()):
        shared = [replace(p, range=_common_range(panels.values(), p.title)) for p in of_network]
        drawing = line_chart(
            f"{key}-{index}",
            f"Learning curves of {name}",
            shared,
            x_title="pass",
            label_width=label_width,
        )
        figures.append(figure(drawing, name, _network_note(networks[name])))
    return figures


def _network_panels(history: TrainingHistory) -> list[Panel]:
    dev = Line(DEV, _points(history, "dev_loss"), DEV)
    percent = [(x, 100 * y) for x, y in _points(history, "dev_frame_accuracy")]
    accuracy = Panel("dev frame accuracy, %", [Line(DEV, percent, DEV)])
    criterion = _criterion(history.folder)
    if criterion:
        trained = Line(LABELLED, _points(history, "train_loss"), LABELLED)
        panels = [Panel(f"{criterion} loss a frame", [trained]), Panel("dev loss a frame", [dev])]
    else:
        by_source = ((LABELED, LABELLED), (UNLABELED, UNLABELLED))
        trained_lines = [
            Line(name, _points(history, "train_loss", s), name) for s, name in by_source
        ]
        panels = [Panel("loss a frame", [*trained_lines, dev])]
    with_points = [
        replace(panel, lines=[line for line in panel.lines if line.points])
        for panel in (*panels, accuracy)
    ]
    return [panel for panel in with_points if panel.lines]


def _points(history: TrainingHistory, field: str, source: str = "") -> list[svg.Point]:
    """(pass, value) where finite, of the passes over one kind of data or of all."""
    rows = (row for row in history.rows if str(row.get("source", "")).startswith(source))
    points = [(row.get("pass", math.nan), row.get(field, math.nan)) for row in rows]
    return [(float(x), float(y)) for x, y in points if math.isfinite(x + y)]


def _criterion(folder: Path) -> str:
    """The name of the criterion of sequence training; empty of plain cross-entropy."""
    settings = read_json(folder / DONE_NAME).get("settings")
    criterion = settings.get("criterion", "") if isinstance(settings, dict) else ""
    return {"smbr": "sMBR", "mmi": "MMI"}.get(criterion, str(criterion))


def _network_note(history: TrainingHistory) -> str:
    summary = read_json(history.folder / "summary.json")
    facts = {"parameters": summary.get("parameters"), "updates": history.rows[-1].get("updates")}
    return ", ".join(f"{svg.number(value)} {name}" for name, value in facts.items() if value)


def _common_range(charts: Iterable[Sequence[Panel]], title: str) -> tuple[float, float]:
    values = [
        y
        for panels in charts
        for panel in panels
        if panel.title == title
        for line in panel.lines
        for _, y in line.points
    ]
    return svg.rounded_domain(values, TICKS_ON_Y)


def _schedule_section(networks: Mapping[str, TrainingHistory]) -> Section | None:
    scheduled = {
        name: rows
        for name, rows in ((name, _schedule_rows(h)) for name, h in networks.items())
        if any(str(row["source"]).startswith(UNLABELED) for row in rows)
    }
    if not scheduled:
        return None
    longest = max(int(rows[-1]["updates"]) for rows in scheduled.values())
    highest = max(float(row["learning_rate"]) for rows in scheduled.values() for row in rows)
    figures = []
    for index, (name, rows) in enumerate(scheduled.items()):
        settings = read_json(networks[name].folder / DONE_NAME).get("settings", {})
        title = f"What {name} was trained on, and how fast"
        passes = trained_passes(rows, settings)
        drawing = schedule_picture(f"schedule-{index}", title, passes, longest, highest)
        figures.append(figure(drawing, name, _schedule_note(settings.get("schedule", {}))))
    note = paragraph(
        "What was trained when, and how fast: a block is a pass over a part of the unlabelled "
        "speech, with the part's number, or over all labelled speech; the line above it is the "
        "learning rate.",
    )
    return Section("schedule", "Scheduled learning", [note, grid(figures, "wide")])


def _schedule_rows(history: TrainingHistory) -> list[dict[str, Any]]:
    """The passes that say what a picture of the schedule takes."""
    fields = {"updates", "source", "learning_rate"}
    return [row for row in history.rows if fields <= row.keys()]


def _schedule_note(settings: Mapping[str, Any]) -> str:
    if not {"schedule", "epochs", "parts"} <= settings.keys():
        return ""
    factor = settings.get("labeled_learning_rate_factor", 1.0)
    factors = ", ".join(f"{one:g}" for one in ([factor] if isinstance(factor, float) else factor))
    return (
        f"{settings['schedule']}; {settings['epochs']} times through {settings['parts']} parts; "
        f"learning rate × {factors} on labelled speech"
    )


def _gmm_section(gmms: Mapping[str, TrainingHistory]) -> Section | None:
    figures = []
    for index, (name, history) in enumerate(gmms.items()):
        curves = history.curves("log_likelihood_per_frame")
        if not curves:
            continue
        points = [(x, y) for x, y in zip(*curves[""], strict=True) if math.isfinite(y)]
        if not points:
            continue
        anew = {row[GMM_STEP] for row in history.rows if REALIGNED in row}
        rings = [point for point in points if point[0] in anew]
        panel = Panel("log-likelihood a frame", [Line("", points, DEV, rings)])
        drawing = line_chart(
            f"gmm-{index}", f"Log-likelihood of {name}", [panel], x_title="iteration"
        )
        figures.append(figure(drawing, name, _gmm_note(history.rows)))
    if not figures:
        return None
    note = (
        "Log-likelihood (natural) a frame before each update; a ring where the data were aligned "
        "anew. It does not compare between models of different features."
    )
    return Section("gmms", "GMM training", [paragraph(note), grid(figures, "narrow")])


def _gmm_note(rows: Sequence[Mapping[str, Any]]) -> str:
    facts = {"Gaussians": rows[-1].get("gaussians"), "frames": rows[-1].get("frames")}
    return ", ".join(f"{svg.number(value)} {name}" for name, value in facts.items() if value)
