"""A table of GMM-HMMs: size, likelihood, time and word error rates, beside a reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from am.errors import InputError
from am.outputs import DONE_NAME
from am.scoring.results import markdown_table
from am.scoring.systems import NOTHING, command_of, read_json

GRID = "grid_test"
COLUMNS = ("pdfs", "gaussians", "seconds", "log_likelihood", "wer", "errors", "on_others")
HEADINGS = (
    "model",
    "senones",
    "Gaussians",
    "training, s",
    "log-likelihood a frame",
    "WER %, best of grid",
    "ins / del / sub",
    "WER %, scales of other speakers",
)


def gmm_table(models: Mapping[str, Path], reference: Path | None) -> str:
    """Markdown.

    Args:
        models: name → folder of ``steps/train_*.py``; with ``grid_test`` inside
            (``steps/decode_grid.py``) also its word error rates.
        reference: lines of ``name TAB column TAB …`` under a heading line, the columns named
            ``model`` and as in ``COLUMNS``; shown in italics under the model of that name.

    Raises:
        InputError: a folder holds no finished model.
    """
    references = _read_reference(reference) if reference else {}
    rows: list[list[str]] = []
    commands: list[str] = []
    for name, folder in models.items():
        found = _columns(folder)
        rows.append([name, *(found.get(column, NOTHING) for column in COLUMNS)])
        if name in references:
            beside = references[name]
            cells = [beside.get(column) or NOTHING for column in COLUMNS]
            rows.append([f"*{beside['title']}*", *(f"*{cell}*" for cell in cells)])
        commands.append(f"# {name}")
        commands += [
            command for path in (folder, folder / GRID) if (command := command_of(path)) is not None
        ]
    return "\n".join([markdown_table(HEADINGS, rows), "", "```", *commands, "```", ""])


def _columns(folder: Path) -> dict[str, str]:
    summary, done = read_json(folder / "summary.json"), read_json(folder / DONE_NAME)
    if "log_likelihood_per_frame" not in summary:
        raise InputError(f"{folder}: no finished GMM; train it with steps/train_*.py")
    columns = {
        "pdfs": str(summary["pdfs"]),
        "gaussians": str(summary["gaussians"]),
        "seconds": f"{done.get('seconds', float('nan')):.0f}",
        "log_likelihood": f"{summary['log_likelihood_per_frame']:.2f}".replace("-", "−"),
    }
    grid = read_json(folder / GRID / "summary.json")
    if grid:
        best: dict[str, Any] = grid["best"]
        columns["wer"] = f"{best['wer_percent']:.2f}"
        columns["errors"] = (
            f"{best['insertions']} / {best['deletions']} / {best['substitutions']} "
            f"of {best['words']}"
        )
        columns["on_others"] = f"{grid['chosen_on_others']['wer_percent']:.2f}"
    return columns


def _read_reference(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a table of reference figures")
    heading, *lines = path.read_text(encoding="utf-8").splitlines()
    names = heading.split("\t")
    if names[:2] != ["model", "title"]:
        raise InputError(f"{path}: the first line must name the columns: model, title, …")
    rows = [dict(zip(names, line.split("\t"), strict=False)) for line in lines if line.strip()]
    return {row["model"]: row for row in rows}
