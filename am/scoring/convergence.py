"""Trainings of one network by one process and by several, at equal data: a table as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from am.config import settings_from_mapping
from am.errors import InputError
from am.nnet.data import BatchingSettings
from am.outputs import DONE_NAME
from am.parallel.gradient_exchange import BYTES_A_MEGABYTE
from am.parallel.settings import ParallelSettings
from am.parallel.worker import BYTES_A_VALUE
from am.scoring.ablations import test_columns
from am.scoring.results import machine_section, markdown_table, percent, wer_cell
from am.scoring.systems import NOTHING, System, check_same_utterances, read_json, read_system

HEADER = (
    *("row", "workers", "batch, s", "sync interval", "block momentum", "threshold", "updates"),
    *("dev loss", "dev frame accuracy", "bytes sent a batch", "of a gradient", "in the last pass"),
)
NOTE = """\
Every row is trained on the same speech equally often, {frames} frames of all workers together, from
the same seed; the first row is one process. “batch” is the speech in a batch of each worker, and
“updates” are those that each worker makes, together with the others or, with BMUF, by itself. A
block of BMUF ends with its pass at the latest: where a pass has fewer batches of a worker than the
sync interval, it says how many. “dev loss” and “dev frame accuracy” are those of the pass with the
lowest dev loss. “bytes sent a batch” is what a worker hands to the others, each value counted once
and counters included; beside it the share of a whole gradient, of all passes and of the last, in
which the dense updates that GTC starts with no longer count. Word error rates are in percent, with
a 95 % bootstrap interval and the relative change against the first row, as is that of the dev
loss."""


@dataclass(frozen=True)
class Training:
    """One row: a network, how it was trained and how well it does.

    Attributes:
        system: its folder, summary and scores.
        workers: processes that trained it together.
        parallel: how they did; says nothing of one process.
        batch_seconds: speech in a batch of each.
        passes: lines of log.jsonl.
    """

    system: System
    workers: int
    parallel: ParallelSettings
    batch_seconds: float
    passes: tuple[dict[str, Any], ...]

    @property
    def frames(self) -> int:
        """Seen by all workers together."""
        return int(self.system.summary["frames"])

    @property
    def updates_of_passes(self) -> list[int]:
        """Updates of a worker in each pass."""
        ends = [int(one["updates"]) for one in self.passes]
        return [end - start for start, end in zip([0, *ends], ends, strict=False)]

    def cells(self, reference: Training) -> list[str]:
        """The columns of ``HEADER``."""
        summary = self.system.summary
        loss = f"{summary['dev_loss']:.3f}"
        if self is not reference:
            loss += (
                f" {percent(summary['dev_loss'] / reference.system.summary['dev_loss'] - 1, '+')}"
            )
        return [
            self.system.name,
            str(self.workers),
            f"{self.batch_seconds:g}",
            *self._method_cells(),
            str(summary["updates"]),
            loss,
            percent(summary["dev_frame_accuracy"]),
            *self._traffic_cells(),
        ]

    def _method_cells(self) -> list[str]:
        """Sync interval, block momentum and threshold, where the method has them."""
        interval = momentum = threshold = NOTHING
        bmuf, gtc = self.parallel.bmuf, self.parallel.gtc
        if self.workers > 1 and self.parallel.method == "bmuf":
            longest = max(self.updates_of_passes)
            interval = str(bmuf.sync_interval)
            if bmuf.sync_interval > longest:
                interval += f" (a pass: {longest})"
            eta = bmuf.momentum_of(self.workers)
            momentum = f"{eta:g}"
            if eta:
                momentum += " Nesterov" if bmuf.nesterov else " classical"
            if bmuf.optimizer_state != "kept":
                momentum += f", optimiser {bmuf.optimizer_state}"
        if self.workers > 1 and self.parallel.method == "gtc":
            fixed = gtc.threshold is not None
            threshold = f"{gtc.threshold:g}" if fixed else f"by density {gtc.density:g}"
        return [interval, momentum, threshold]

    def _traffic_cells(self) -> list[str]:
        """Bytes a batch, the gradient's bytes over them, and the same of the last pass."""
        if self.workers == 1:
            return [NOTHING] * 3
        updates = self.updates_of_passes
        sent = [BYTES_A_MEGABYTE * float(one["megabytes_sent"]) for one in self.passes]
        mean = sum(a * b for a, b in zip(updates, sent, strict=True)) / sum(updates)
        gradient = BYTES_A_VALUE * int(self.system.summary["parameters"])
        return [f"{mean:.0f}", *(_share(gradient, one) for one in (mean, sent[-1]))]


def read_training(folder: Path, test_sets: Sequence[str]) -> Training:
    """Read what steps/train_ce.py and steps/score.py left in a folder.

    Raises:
        InputError: it is unfinished, not scored on any of the test sets, or of an older version.
    """
    system = read_system(folder.name, folder, test_sets)
    done = folder / DONE_NAME
    settings = read_json(done).get("settings", {})
    if "processes" not in system.summary or "batching" not in settings:
        raise InputError(f"{folder}: no finished training of steps/train_ce.py; train it again")
    workers = int(system.summary["processes"])
    batching = settings_from_mapping(BatchingSettings, settings["batching"], f"{done}: batching")
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return Training(
        system,
        workers,
        settings_from_mapping(ParallelSettings, settings["parallel"], f"{done}: parallel"),
        batching.batch_seconds / (workers if batching.divided else 1),
        tuple(json.loads(line) for line in lines),
    )


def convergence_table(
    folders: Sequence[Path], test_sets: Sequence[str], command: str, seed: int = 1
) -> str:
    """Compare trainings by several processes with that by one.

    Args:
        folders: of the trained networks, the reference first; their names are those of the rows.
        test_sets: in the order of the columns; none for the trainings alone.
        command: that made them.
        seed: of the bootstrap.

    Returns:
        Markdown.

    Raises:
        InputError: a folder cannot be read, or was trained on more or less speech or scored on
            other utterances than the first.
    """
    rows = [read_training(folder, test_sets) for folder in folders]
    reference = rows[0]
    for row in rows:
        if row.frames != reference.frames:
            raise InputError(
                f"{row.system.folder}: trained on {row.frames} frames, "
                f"{reference.system.folder} on {reference.frames}; train both on the same data, "
                "for as many passes"
            )
    for test_set in test_sets:
        check_same_utterances([row.system for row in rows], test_set)
    columns = test_columns(test_sets)
    table = [
        row.cells(reference)
        + [wer_cell(row.system, tests, reference.system, seed) for tests in columns.values()]
        for row in rows
    ]
    sections = [
        "# Convergence",
        NOTE.format(frames=reference.frames),
        markdown_table([*HEADER, *columns], table),
        f"## Command\n\n```\n{command}\n```",
        machine_section(seed),
    ]
    return "\n\n".join(sections) + "\n"


def _share(whole: float, part: float) -> str:
    """A share for people, as one over a number."""
    return f"1/{whole / part:.0f}" if part < whole / 2 else f"{part / whole:.2f}"
