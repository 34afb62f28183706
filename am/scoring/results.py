"""The table of results, as Markdown."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib import metadata
from os import cpu_count
from pathlib import Path

from am.errors import InputError
from am.scoring.bootstrap import Comparison, Interval, compare, wer_interval
from am.scoring.score import error_columns
from am.scoring.systems import (
    INTERLEAVED,
    NOTHING,
    SEGREGATED,
    System,
    check_same_utterances,
    read_system,
)

POOLED = "all"


def results_table(
    systems: Mapping[str, Path],
    test_sets: Sequence[str],
    *,
    baseline: str | None = None,
    timings: Path | None = None,
    seed: int = 1,
) -> str:
    """Compare systems on test sets.

    Args:
        systems: name → model folder, in the order of the rows.
        test_sets: in the order of the columns; a system's scores lie in ``score_TESTSET``.
        baseline: name of the system that the others are compared with.
        timings: lines of ``stage TAB seconds TAB title``.
        seed: of the bootstrap.

    Returns:
        Markdown.

    Raises:
        InputError: a system has no scores, the baseline is none of them, or two systems were
            scored on different utterances.
    """
    if not systems or not test_sets:
        raise InputError("results: give at least one --system and one of --test-sets")
    if baseline is not None and baseline not in systems:
        raise InputError(f"--baseline {baseline}: is none of {', '.join(systems)}")
    rows = [read_system(name, folder, test_sets) for name, folder in systems.items()]
    for test_set in test_sets:
        check_same_utterances(rows, test_set)
    reference = next((row for row in rows if row.name == baseline), None)
    columns = [test for test in test_sets if any(test in row.scores for row in rows)]
    sections = [
        "# Results",
        _wer_section(rows, columns, reference, seed),
        _comparison_section(rows, columns, reference, seed) if reference else "",
        _schedule_section(rows, columns, reference, seed) if reference else "",
        _timing_section(timings) if timings else "",
        _command_section(rows),
        machine_section(seed),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def shown_on_screen(results: str) -> str:
    """The sections of :func:`results_table` that fit a screen: the rates, and the times."""
    first, *sections = results.split("\n## ")
    return "\n## ".join([first, *(s for s in sections if s.startswith(("Schedule", "Time")))])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table; the first column is aligned left, the others right."""
    cells = [[text.replace("|", "\\|") for text in row] for row in [header, *rows]]
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [cells[0], rule, *cells[1:]])


def _wer_section(
    rows: Sequence[System], columns: Sequence[str], reference: System | None, seed: int
) -> str:
    pooled = [POOLED] if len(columns) > 1 else []
    header = ["system", "size", "senones", "dev", *columns, *pooled]
    table = []
    for row in rows:
        dev = f"{row.dev['wer_percent']:.1f}" if "wer_percent" in row.dev else NOTHING
        cells = [wer_cell(row, [test], reference, seed) for test in columns]
        cells += [wer_cell(row, columns, reference, seed) for _ in pooled]
        table.append([row.name, row.size(), row.senones(), dev, *cells])
    note = "Word error rate in percent, [95 % bootstrap interval]"
    if reference is not None:
        note += f", and the relative change against “{reference.name}”"
    note += (
        ". “size” counts parameters; “dev” is the lowest rate of the search for scales, which "
        "looks less far than decoding."
    )
    return f"{note}\n\n{markdown_table(header, table)}"


def wer_cell(row: System, test_sets: Sequence[str], reference: System | None, seed: int) -> str:
    """Word error rate in percent, its interval, and the relative change against a reference."""
    if any(test not in row.scores for test in test_sets):
        return NOTHING
    errors, words = error_columns(row.errors_by_cut(test_sets).values())
    interval = wer_interval(errors, words, seed=seed)
    cell = f"{100 * errors.sum() / words.sum():.1f} {percent_interval(interval)}"
    if reference is None or reference is row or any(t not in reference.scores for t in test_sets):
        return cell
    before, _ = error_columns(reference.errors_by_cut(test_sets).values())
    if before.sum() == 0:
        return cell
    return f"{cell} {percent(errors.sum() / before.sum() - 1, '+')}"


def _comparison_section(
    rows: Sequence[System], columns: Sequence[str], reference: System, seed: int
) -> str:
    groups: list[tuple[str, Sequence[str]]] = [(test, [test]) for test in columns]
    if len(columns) > 1:
        groups.append((POOLED, columns))
    table = []
    for row in rows:
        if row is reference:
            continue
        for name, tests in groups:
            comparison = _compare(reference, row, tests, seed)
            if comparison is not None:
                table.append([row.name, name, *comparison_cells(comparison)])
    if not table:
        return ""
    header = ["system", "test set", "difference", "P(better)", "p-value"]
    note = (
        f"Against “{reference.name}”: the difference of word error rates in percent points "
        "[95 % interval], the bootstrap probability that the system is better (Bisani and Ney, "
        "2004), and the two-sided p-value of the matched-pairs test over utterances."
    )
    return f"## Significance\n\n{note}\n\n{markdown_table(header, table)}"


def comparison_cells(comparison: Comparison) -> list[str]:
    """Difference in percent points with its interval, probability of improvement, p-value."""
    p_value = comparison.p_value
    difference = f"{100 * comparison.difference:+.2f} {percent_interval(comparison.interval, 2)}"
    return [
        difference.replace("-", "−"),
        f"{comparison.probability_of_improvement:.3f}",
        "< 0.001" if p_value < 0.001 else f"{p_value:.3f}",
    ]


def _compare(first: System, second: System, tests: Sequence[str], seed: int) -> Comparison | None:
    """``second`` against ``first`` on the pooled test sets; None if one is not scored on all."""
    if any(test not in system.scores for test in tests for system in (first, second)):
        return None
    before, after = first.errors_by_cut(tests), second.errors_by_cut(tests)
    cuts = sorted(before)
    before_errors, words = error_columns(before[cut] for cut in cuts)
    after_errors, _ = error_columns(after[cut] for cut in cuts)
    return compare(before_errors, after_errors, words, seed=seed)


def _schedule_section(
    rows: Sequence[System], columns: Sequence[str], baseline: System, seed: int
) -> str:
    """How much of the error reduction interleaving adds, where both schedules were trained."""
    of_schedule = {row.schedule: row for row in rows if row.schedule}
    interleaved, segregated = of_schedule.get(INTERLEAVED), of_schedule.get(SEGREGATED)
    if interleaved is None or segregated is None:
        return ""
    against_baseline = {
        name: _compare(baseline, row, columns, seed)
        for name, row in ((INTERLEAVED, interleaved), (SEGREGATED, segregated))
    }
    between = _compare(segregated, interleaved, columns, seed)
    if between is None or None in against_baseline.values():
        return ""
    all_errors = sum(error_columns(baseline.errors_by_cut(columns).values())[0])
    all_words = sum(error_columns(baseline.errors_by_cut(columns).values())[1])
    reduction = {
        name: -comparison.difference * all_words / max(all_errors, 1)
        for name, comparison in against_baseline.items()
        if comparison is not None
    }
    text = (
        "## Schedule\n\n"
        f"Against “{baseline.name}”, over all test sets, the interleaved schedule "
        f"(“{interleaved.name}”) changes the word error rate by "
        f"{percent(-reduction[INTERLEAVED], '+')} relative, the segregated one "
        f"(“{segregated.name}”) by {percent(-reduction[SEGREGATED], '+')}"
    )
    if min(reduction.values()) > 0:
        more = reduction[INTERLEAVED] / reduction[SEGREGATED] - 1
        text += f": the reduction is {percent(abs(more))} {'larger' if more >= 0 else 'smaller'}"
    return (
        f"{text}. Bootstrap probability that interleaved is better than segregated: "
        f"{between.probability_of_improvement:.3f}."
    )


def _timing_section(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the recipe's timings, or leave them out")
    seconds: dict[tuple[int, str], float] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        stage, *rest = line.split("\t")
        if not stage.isdigit() or len(rest) != 2 or not rest[0].replace(".", "", 1).isdigit():
            raise InputError(f"{path}: line {number}: expected 'stage TAB seconds TAB title'")
        key = (int(stage), rest[1])
        seconds[key] = seconds.get(key, 0.0) + float(rest[0])
    table = [
        [f"{stage} {title}", f"{spent:.0f}"] for (stage, title), spent in sorted(seconds.items())
    ]
    table.append(["together", f"{sum(seconds.values()):.0f}"])
    return f"## Time\n\n{markdown_table(['stage', 'seconds'], table)}"


def _command_section(rows: Sequence[System]) -> str:
    commands = [
        f"# {row.name}: {step}\n{command}"
        for row in rows
        for step, command in row.made_with.items()
    ]
    if not commands:
        return ""
    return "## Commands\n\n```\n" + "\n".join(commands) + "\n```"


def machine_section(seed: int) -> str:
    """When and with what the table was made."""
    today = date.today().isoformat()
    facts = [
        f"{today}; {cpu_count()} cores, {_cpu_name()}; {platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}, torch {metadata.version('torch')}",
        f"seed of the bootstrap {seed}",
    ]
    return "## Machine\n\n" + "; ".join(facts) + "."


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def percent(share: float, sign: str = "-") -> str:
    """A share for people, with a sign if ``sign`` is ``+``."""
    return f"{100 * share:{sign}.1f} %".replace("-", "−")


def percent_interval(interval: Interval, digits: int = 1) -> str:
    """An interval of shares for people."""
    return f"[{100 * interval.low:.{digits}f}, {100 * interval.high:.{digits}f}]"
