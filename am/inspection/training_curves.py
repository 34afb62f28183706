"""Curves of trainings, from the ``log.jsonl`` of GMM and network folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from am.errors import InputError
from am.gmm.train import LOG_NAME
from am.inspection.pictures import save_picture
from am.inspection.tables import table

# Of each kind of training: what it counts in, and the panels, each with the fields it shows.
LIKELIHOOD = "log_likelihood_per_frame"
GMM_STEP, NETWORK_STEP = "iteration", "updates"
PANELS: dict[str, dict[str, tuple[str, ...]]] = {
    GMM_STEP: {
        "log-likelihood a frame": (LIKELIHOOD,),
        "Gaussians": ("gaussians",),
    },
    NETWORK_STEP: {
        "loss": ("train_loss", "dev_loss"),
        "dev frame accuracy": ("dev_frame_accuracy",),
        "learning rate": ("learning_rate",),
    },
}
# Of networks, what differs between labelled and unlabelled data and is drawn apart.
BY_SOURCE = ("train_loss", "learning_rate")
# Formats of the printed table; other numbers get one by their type.
FORMATS = {"learning_rate": ".2e", "frames_per_second": ".0f", "seconds": ".2f"}
# A GMM's field that only an iteration with a new alignment has.
REALIGNED = "unaligned"
UNLABELLED = "unlabeled"
LINE_STYLES = ("-", "--")
PANEL_WIDTH, PANEL_HEIGHT = 7.0, 2.6


@dataclass(frozen=True)
class TrainingHistory:
    """What one training wrote.

    Attributes:
        folder: of the model.
        step: what it counts in: ``iteration`` of a GMM, ``updates`` of a network.
        rows: one an iteration or a pass.
    """

    folder: Path
    step: str
    rows: tuple[dict[str, Any], ...]

    @staticmethod
    def load(folder: Path) -> TrainingHistory:
        """Read a model folder's log.

        Raises:
            InputError: there is none, or it is something else.
        """
        path = folder / LOG_NAME
        if not path.is_file():
            raise InputError(f"{path}: no such file; give the folder of a trained GMM or network")
        try:
            rows = tuple(json.loads(line) for line in path.read_text().splitlines())
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: not lines of JSON ({error}); train again") from error
        for step in PANELS:
            if rows and all(isinstance(row, dict) and step in row for row in rows):
                return TrainingHistory(folder, step, rows)
        raise InputError(f"{path}: holds no iterations and no passes; train again")

    def table(self) -> str:
        """One line an iteration or a pass."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        cells = [tuple(name.replace("_", " ") for name in columns)]
        for row in self.rows:
            cells.append(tuple(_shown(row[n], FORMATS.get(n)) if n in row else "" for n in columns))
        return "\n".join([f"{self.folder}:", *table(cells)])

    def curves(self, field: str) -> dict[str, tuple[list[float], list[float]]]:
        """The curves of a field by the data that it is of: steps and values.

        The data are ``""`` unless the field differs between labelled and unlabelled data, and
        the training had both.
        """
        apart = field in BY_SOURCE and len({_source(row) for row in self.rows}) > 1
        found: dict[str, tuple[list[float], list[float]]] = {}
        for row in self.rows:
            if field in row:
                steps, values = found.setdefault(_source(row) if apart else "", ([], []))
                steps.append(row[self.step])
                values.append(row[field])
        return found


def _source(row: dict[str, Any]) -> str:
    """``labeled`` or ``unlabeled``: a part of the data bears its number behind a dash."""
    return str(row.get("source", "")).split("-")[0]


def _shown(value: Any, form: str | None) -> str:
    if isinstance(value, float):
        return format(value, form or ".4f")
    return str(value)


def load_histories(folders: Sequence[Path]) -> list[TrainingHistory]:
    """The logs of trainings that can be drawn together.

    Raises:
        InputError: a folder has none, or GMMs stand beside networks.
    """
    histories = [TrainingHistory.load(folder) for folder in folders]
    for history in histories:
        if history.step != histories[0].step:
            raise InputError(
                f"{history.folder}: counts in {history.step}, {histories[0].folder} in "
                f"{histories[0].step}; show GMMs and networks apart"
            )
    return histories


def draw_histories(histories: Sequence[TrainingHistory], path: Path) -> None:
    """Draw trainings over one another, a panel for each quantity.

    Args:
        histories: all of GMMs or all of networks.
        path: ends with ``.png``, ``.svg`` or ``.pdf``.
    """
    panels = PANELS[histories[0].step]
    figure = Figure(figsize=(PANEL_WIDTH, PANEL_HEIGHT * len(panels)), layout="constrained")
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, fields) in zip(all_axes, panels.items(), strict=True):
        for number, history in enumerate(histories):
            _draw_curves(axes, history, fields, f"C{number}")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    all_axes[-1].set_xlabel(histories[0].step)
    save_picture(figure, path)


def _draw_curves(axes: Axes, history: TrainingHistory, fields: Sequence[str], colour: str) -> None:
    """The fields of one training; a ring where a GMM's data were aligned anew."""
    for place, field in enumerate(fields):
        for source, (steps, values) in history.curves(field).items():
            name = field.replace("_", " ") if len(fields) > 1 else ""
            label = ", ".join(part for part in (str(history.folder), name, source) if part)
            line = ":" if source == UNLABELLED else LINE_STYLES[place]
            axes.plot(steps, values, line, color=colour, label=label, marker=".", ms=3, lw=1.2)
        anew = [row for row in history.rows if REALIGNED in row and field in row]
        if anew and field == LIKELIHOOD:
            steps, values = ([row[name] for row in anew] for name in (history.step, field))
            axes.plot(steps, values, "o", mfc="none", ms=6, color=colour, label="aligned anew")
