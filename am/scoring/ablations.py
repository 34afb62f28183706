"""Ablations: rows of systems that differ in one thing, each trained from several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from lhotse import CutSet

from am.alignment.senone_labels import KIND as LABEL_KIND
from am.errors import InputError
from am.features.feature_data import CUTS_NAME
from am.outputs import DONE_NAME
from am.scoring.bootstrap import Comparison, Interval, compare, wer_interval
from am.scoring.results import (
    POOLED,
    comparison_cells,
    machine_section,
    markdown_table,
    percent,
    percent_interval,
)
from am.scoring.score import error_columns
from am.scoring.systems import (
    NOTHING,
    System,
    check_same_utterances,
    command_of,
    read_json,
    read_system,
)
from am.soft_labels.statistics import store_statistics
from am.storage import STORE_NAME

ROW_COLUMNS = ("system", "curves", "unlabeled", "labels", "folder")
# How the list of rows leaves a cell empty.
EMPTY = "-"
HOURS, TOP_K = "hours", "top_k"


@dataclass(frozen=True)
class AblationRow:
    """A system and its runs.

    Attributes:
        name: as people call it.
        curves: that it is a point of: ``hours``, ``top_k``.
        unlabeled: feature data folder of its unlabelled speech; None without.
        labels: store of the teacher's labels of it; None without.
        runs: the same system from several seeds.
    """

    name: str
    curves: tuple[str, ...]
    unlabeled: Path | None
    labels: Path | None
    runs: tuple[System, ...]

    @cached_property
    def hours(self) -> float:
        """Hours of unlabelled speech."""
        if self.unlabeled is None:
            return 0.0
        cuts = CutSet.from_jsonl_lazy(self.unlabeled / CUTS_NAME)
        return float(sum(cut.duration for cut in cuts)) / 3600

    @property
    def top_k(self) -> int | None:
        """Stored logits a frame; None with all of them, with hard labels or with none."""
        if self.labels is None:
            return None
        codec = read_json(self.labels / STORE_NAME).get("codec", {})
        return int(codec["top_k"]) if "top_k" in codec else None

    def labels_for_people(self) -> str:
        """What the unlabelled speech was labelled with."""
        if self.labels is None:
            return NOTHING
        if read_json(self.labels / STORE_NAME).get("kind") == LABEL_KIND:
            return "hard"
        return "soft, all" if self.top_k is None else f"soft, k = {self.top_k}"

    def is_scored(self, test_sets: Sequence[str]) -> bool:
        """Whether every run is scored on every test set."""
        return all(test in run.scores for run in self.runs for test in test_sets)

    def errors(self, test_sets: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(S, N) errors of every run and (N,) words, by cut (sorted) over the test sets."""
        errors = []
        words = np.zeros(0)
        for run in self.runs:
            by_cut = run.errors_by_cut(test_sets)
            of_run, words = error_columns(by_cut[cut] for cut in sorted(by_cut))
            errors.append(of_run)
        return np.stack(errors), words

    def rate(self, test_sets: Sequence[str], seed: int) -> tuple[float, Interval]:
        """The mean word error rate over the runs and its 95 % interval, as fractions."""
        errors, words = self.errors(test_sets)
        return float(errors.sum() / len(errors) / words.sum()), wer_interval(
            errors, words, seed=seed
        )


def read_rows(path: Path, test_sets: Sequence[str]) -> list[AblationRow]:
    """Read the list of rows and their scores.

    Args:
        path: tab-separated, the first line naming the columns of ``ROW_COLUMNS``, then a line a
            run; ``-`` is an empty cell, ``curves`` are separated by commas, and the runs of one
            system have the same name.
        test_sets: names of the test sets.

    Raises:
        InputError: the list is not such, or a system cannot be read or was scored on others'
            utterances.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the ablations' trainings first")
    heading, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    if tuple(heading.split("\t")) != ROW_COLUMNS:
        raise InputError(f"{path}: the first line must name the columns: {' '.join(ROW_COLUMNS)}")
    rows: dict[str, AblationRow] = {}
    for number, line in enumerate(lines, 2):
        cells = line.split("\t")
        if len(cells) != len(ROW_COLUMNS):
            raise InputError(f"{path}: line {number}: expected {len(ROW_COLUMNS)} columns")
        name, curves, unlabeled, labels, folder = cells
        run = read_system(name, Path(folder), test_sets)
        earlier = rows[name].runs if name in rows else ()
        rows[name] = AblationRow(
            name,
            () if curves == EMPTY else tuple(curves.split(",")),
            None if unlabeled == EMPTY else Path(unlabeled),
            None if labels == EMPTY else Path(labels),
            (*earlier, run),
        )
    if not rows:
        raise InputError(f"{path}: names no system; run the ablations' trainings first")
    for test_set in test_sets:
        check_same_utterances([run for row in rows.values() for run in row.runs], test_set)
    return list(rows.values())


def ablation_table(
    rows: Sequence[AblationRow],
    test_sets: Sequence[str],
    against: Sequence[str],
    pictures: Mapping[str, str],
    seed: int = 1,
) -> str:
    """Compare systems that were trained from several seeds.

    Args:
        rows: in the table's order.
        test_sets: in the order of the columns.
        against: names of the systems that the others are compared with; the first one is that of
            the relative changes.
        pictures: file name → title of the pictures beside the table.
        seed: of the bootstrap.

    Returns:
        Markdown.

    Raises:
        InputError: a system of ``against`` is none of the rows.
    """
    by_name = {row.name: row for row in rows}
    for name in against:
        if name not in by_name:
            raise InputError(f"--against {name}: is none of {', '.join(by_name)}")
    columns = test_columns(test_sets)
    sections = [
        "# Ablations",
        _rates_section(rows, columns, by_name[against[0]] if against else None, seed),
        *(f"![{title}]({name})" for name, title in pictures.items()),
        _stored_logits_section(rows, columns, seed),
        *(_significance_section(rows, columns, by_name[name], seed) for name in against),
        _runs_section(rows, columns),
        _commands_section(rows),
        machine_section(seed),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def test_columns(test_sets: Sequence[str]) -> dict[str, list[str]]:
    """Heading → the test sets under it: each by itself, then all."""
    columns = {test: [test] for test in test_sets}
    if len(test_sets) > 1:
        columns[POOLED] = list(test_sets)
    return columns


def _rates_section(
    rows: Sequence[AblationRow],
    columns: Mapping[str, Sequence[str]],
    baseline: AblationRow | None,
    seed: int,
) -> str:
    header = ["system", "size", "runs", "unlabelled speech, h", "its labels", *columns]
    table = []
    for row in rows:
        hours = f"{row.hours:.2f}" if row.unlabeled else NOTHING
        facts = [row.name, row.runs[0].size(), str(len(row.runs)), hours, row.labels_for_people()]
        table.append([*facts, *(_cell(row, tests, baseline, seed) for tests in columns.values())])
    note = (
        "Mean word error rate over the runs in percent and its 95 % interval, a bootstrap over "
        "utterances and, of several runs, over the runs too"
    )
    if baseline is not None:
        note += f"; the relative change is against “{baseline.name}”"
    return f"{note}.\n\n{markdown_table(header, table)}"


def _cell(row: AblationRow, tests: Sequence[str], baseline: AblationRow | None, seed: int) -> str:
    if not row.is_scored(tests):
        return NOTHING
    rate, interval = row.rate(tests, seed)
    cell = f"{100 * rate:.1f} {percent_interval(interval)}"
    if baseline is None or baseline is row or not baseline.is_scored(tests):
        return cell
    before, _ = baseline.errors(tests)
    if before.sum() == 0:
        return cell
    after, _ = row.errors(tests)
    change = (after.sum() / len(after)) / (before.sum() / len(before)) - 1
    return f"{cell} {percent(float(change), '+')}"


def _stored_logits_section(
    rows: Sequence[AblationRow], columns: Mapping[str, Sequence[str]], seed: int
) -> str:
    stores = [(row, row.labels) for row in rows if TOP_K in row.curves and row.labels is not None]
    if len(stores) < 2:
        return ""
    table = []
    for row, labels in sorted(stores, key=lambda pair: pair[0].top_k or math.inf):
        store = store_statistics(labels)
        facts = [f"{store.bytes_a_frame:.1f}", f"{store.probability_kept:.3f}"]
        rates = [_cell(row, tests, None, seed) for tests in columns.values()]
        table.append(["all" if row.top_k is None else str(row.top_k), *facts, *rates])
    header = ["k", "bytes a frame", "probability kept", *columns]
    note = (
        "What the store of soft labels takes on disk, the mean probability of the stored senones, "
        "and the student's word error rate in percent."
    )
    return f"## Stored logits\n\n{note}\n\n{markdown_table(header, table)}"


def _significance_section(
    rows: Sequence[AblationRow],
    columns: Mapping[str, Sequence[str]],
    reference: AblationRow,
    seed: int,
) -> str:
    table = [
        [row.name, name, *comparison_cells(comparison)]
        for row in rows
        if row is not reference
        for name, tests in columns.items()
        if (comparison := compare_rows(reference, row, tests, seed)) is not None
    ]
    if not table:
        return ""
    header = ["system", "test set", "difference", "P(better)", "p-value"]
    note = (
        "The difference of mean word error rates in percent points [95 % interval], the bootstrap "
        "probability that the system is better, both over utterances and runs; and the two-sided "
        "p-value of the matched-pairs test over utterances, each with its mean over these runs."
    )
    return f"## Against “{reference.name}”\n\n{note}\n\n{markdown_table(header, table)}"


def compare_rows(
    first: AblationRow, second: AblationRow, tests: Sequence[str], seed: int
) -> Comparison | None:
    """``second`` against ``first``; None if one is not scored on all test sets."""
    if not (first.is_scored(tests) and second.is_scored(tests)):
        return None
    before, words = first.errors(tests)
    after, _ = second.errors(tests)
    return compare(before, after, words, seed=seed)


def _runs_section(rows: Sequence[AblationRow], columns: Mapping[str, Sequence[str]]) -> str:
    table = []
    for row in rows:
        for run in row.runs:
            rates = []
            for tests in columns.values():
                errors, words = error_columns(
                    run.errors_by_cut([test for test in tests if test in run.scores]).values()
                )
                complete = all(test in run.scores for test in tests)
                rates.append(f"{100 * errors.sum() / words.sum():.2f}" if complete else NOTHING)
            table.append([row.name, _seed_of(run), *rates])
    return f"## Every run\n\n{markdown_table(['system', 'seed', *columns], table)}"


def _seed_of(run: System) -> str:
    settings = read_json(run.folder / DONE_NAME).get("settings", {})
    return str(settings.get("trainer", {}).get("seed", NOTHING))


def _commands_section(rows: Sequence[AblationRow]) -> str:
    lines = []
    for row in rows:
        lines.append(f"# {row.name}")
        made = [folder for folder in (row.unlabeled, row.labels) if folder is not None]
        commands = [command_of(folder) for folder in made]
        commands += [run.made_with.get("training") for run in row.runs]
        commands += [text for step, text in row.runs[0].made_with.items() if step != "training"]
        lines += [command for command in commands if command]
    return "## Commands\n\n```\n" + "\n".join(dict.fromkeys(lines)) + "\n```"
