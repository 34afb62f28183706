"""What came out: the tables of the results, and word error rates and times as bars."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from am.report import svg
from am.report.charts import TICKS_ON_X, Bar, bar_chart, widest_label
from am.report.markdown import ResultsSection, read_results
from am.report.markup import Markup, element, join
from am.report.page import Section, figure, grid, meter, paragraph, table
from am.report.sources import ReportSources
from am.scoring.bootstrap import wer_interval
from am.scoring.results import POOLED, results_table
from am.scoring.score import error_columns, grouped
from am.scoring.systems import System
from am.scoring.word_errors import WordErrors

# The last row of the table of times.
TOGETHER = "together"
log = logging.getLogger(__name__)

# "11.6 [9.5, 13.9] −50.2 %" or, of a comparison, "−12.05 [−15.69, −8.56]".
_RATE_CELL = re.compile(r"(?P<rate>[−+]?[\d.]+|inf|nan) (?P<interval>\[[^]]*\]) ?(?P<change>.*)")


@dataclass(frozen=True)
class Rate:
    """A word error rate and its 95 % bootstrap interval, in percent."""

    wer: float
    low: float
    high: float


def measure(errors: Iterable[WordErrors], seed: int) -> Rate:
    """The rate of utterances together, as the table of results computes it."""
    wrong, words = error_columns(errors)
    bounds = wer_interval(wrong, words, seed=seed)
    return Rate(100 * wrong.sum() / max(words.sum(), 1), 100 * bounds.low, 100 * bounds.high)


def best_system(sources: ReportSources) -> System | None:
    """The scored system with the lowest word error rate over all its test sets.

    Systems that lack a test set that another has are left out.
    """
    most = max((len(system.scores) for system in sources.scored.values()), default=0)
    complete = [system for system in sources.scored.values() if len(system.scores) == most]
    return min(complete, key=_pooled_wer, default=None)


@dataclass(frozen=True)
class ResultsParts:
    """What the results give to the page.

    Attributes:
        lead: below the page's title.
        rates: the section on word error rates.
        last: sections for the page's end: times, commands.
    """

    lead: Sequence[Markup] = ()
    rates: Sequence[Section] = ()
    last: Sequence[Section] = ()


def results_parts(sources: ReportSources) -> ResultsParts:
    """Sections with the tables of :func:`am.scoring.results.results_table` and their pictures."""
    folders = sources.scored_folders()
    if not folders:
        log.info("no results: none of the systems is scored on any of the test sets")
        return ResultsParts()
    for name in sources.systems.keys() - folders.keys():
        log.info("%s: not scored, left out of the results", name)
    baseline = sources.baseline if sources.baseline in folders else None
    timings = sources.timings if sources.timings and sources.timings.is_file() else None
    text = results_table(
        folders, sources.test_sets, baseline=baseline, timings=timings, seed=sources.seed
    )
    parts = read_results(text)
    main = parts["Results"]
    rates = Section(
        "results",
        "Word error rates",
        [
            paragraph(_prose(main.note)),
            _rates_table(main, "Word error rates"),
            *_wer_figures(sources, baseline),
            *_significance(parts.get("Significance")),
        ],
    )
    lead = _headline(sources, main, baseline)
    if schedule := parts.get("Schedule"):
        lead.append(paragraph(_prose(schedule.note)))
    if machine := parts.get("Machine"):
        lead.append(paragraph(machine.note, class_="small"))
    last = [*_time_section(parts.get("Time")), *_commands(parts.get("Commands"))]
    return ResultsParts(lead, [rates], last)


def _headline(sources: ReportSources, main: ResultsSection, baseline: str | None) -> list[Markup]:
    best = best_system(sources)
    if best is None:
        return []
    row_of = dict(zip(sources.scored, main.rows, strict=True))
    rate, interval, change = _split_rate(row_of[best.name][-1])
    # Without an interval there is no rate: each system lacks a test set that another has.
    if not interval:
        return []
    where = "over all test sets" if main.header[-1] == POOLED else f"on {main.header[-1]}"
    against = f"{_prose(change)} against “{baseline}”" if change and baseline else ""
    words = element(
        "p",
        element("span", _prose(f"{rate} %"), class_="figure"),
        element(
            "span",
            f"word error rate {interval} of “{best.name}”, the lowest {where}",
            f", {against}" if against else "",
            ".",
        ),
        class_="headline",
    )
    return [words]


def _prose(note: str) -> str:
    """Percent signs stay on the line of their numbers."""
    return note.replace(" %", "\u00a0%")


def _split_rate(cell: str) -> tuple[str, str, str]:
    found = _RATE_CELL.fullmatch(cell)
    return (found["rate"], found["interval"], found["change"]) if found else (cell, "", "")


def _rate_cell(cell: str) -> object:
    """A rate, its change beside it or an empty place, its interval below."""
    rate, interval, change = _split_rate(cell)
    if not interval:
        return cell
    looks = f"change {'better' if change.startswith('−') else 'worse'}" if change else "change"
    parts = [("rate", rate), (looks, change), ("small", interval)]
    return join((element("span", text, class_=class_) for class_, text in parts), " ")


def _difference_cell(cell: str) -> object:
    difference, interval, _ = _split_rate(cell)
    if not interval:
        return cell
    return join([element("span", difference, class_="rate"), " ", interval])


def _rates_table(section: ResultsSection, caption: str) -> Markup:
    rows = [[row[0], *map(_rate_cell, row[1:])] for row in section.rows]
    return table(section.header, rows, caption=caption, class_="rates")


def _significance(section: ResultsSection | None) -> list[Markup]:
    if section is None:
        return []
    rows = [[*row[:2], *map(_difference_cell, row[2:])] for row in section.rows]
    heading = element("summary", "Significance of the differences")
    shown = table(section.header, rows, caption="Significance", left_columns=2)
    return [element("details", heading, paragraph(section.note), shown)]


def _wer_figures(sources: ReportSources, baseline: str | None) -> list[Markup]:
    """Bars of every test set, of all together, and of the conditions within a test set."""
    systems = list(sources.scored.values())
    groups: dict[str, dict[str, Rate]] = {}
    for test in sources.test_sets:
        having = [system for system in systems if test in system.scores]
        if having:
            groups[test] = {s.name: measure(_errors(s, [test]), sources.seed) for s in having}
        for condition in _conditions(having, test):
            groups[f"{test}, {condition}"] = {
                s.name: measure(_errors_in(s, test, condition), sources.seed) for s in having
            }
    tests = [test for test in sources.test_sets if test in groups]
    complete = [s for s in systems if all(test in s.scores for test in tests)]
    if len(tests) > 1 and complete:
        groups[POOLED] = {s.name: measure(_errors(s, tests), sources.seed) for s in complete}
    highs = [rate.high for rates in groups.values() for rate in rates.values()]
    _, highest = svg.rounded_domain([0.0, *highs], TICKS_ON_X)
    figures = []
    for index, (name, rates) in enumerate(groups.items()):
        title = "All test sets" if name == POOLED else name
        bars = _wer_bars(rates, baseline)
        drawing = bar_chart(
            f"wer-{index}",
            f"Word error rate in percent, {title}",
            bars,
            maximum=highest,
            mark=rates[baseline].wer if baseline in rates else None,
            label_width=widest_label([system.name for system in systems]),
        )
        figures.append(figure(drawing, title))
    note = "Word error rate in percent; whiskers are 95 % intervals; the lowest rate stands out."
    if baseline:
        note += f" The dashed line is “{baseline}”."
    return [element("h3", "By condition"), paragraph(note), grid(figures, "wide")]


def _wer_bars(rates: dict[str, Rate], baseline: str | None) -> list[Bar]:
    lowest = min(rates, key=lambda name: rates[name].wer)
    classes = {baseline: "muted", lowest: "strong"}
    return [
        Bar(name, r.wer, f"{r.wer:.1f}", r.low, r.high, classes.get(name, "plain"))
        for name, r in rates.items()
    ]


def _conditions(systems: Sequence[System], test: str) -> list[str]:
    """The conditions, with words to count, of a test set that mixes several."""
    errors = grouped(systems[0].utterances[test], "condition") if systems else {}
    names = [name for name, of_condition in errors.items() if of_condition.words]
    return names if len(names) > 1 else []


def _errors(system: System, tests: Sequence[str]) -> Iterable[WordErrors]:
    return system.errors_by_cut(tests).values()


def _errors_in(system: System, test: str, condition: str) -> list[WordErrors]:
    return [u.errors for u in system.utterances[test] if u.condition == condition]


def _pooled_wer(system: System) -> float:
    utterances = (one for several in system.utterances.values() for one in several)
    return sum((one.errors for one in utterances), WordErrors()).wer


def _time_section(section: ResultsSection | None) -> list[Section]:
    if section is None:
        log.info("no times: no file of timings")
        return []
    longest = max(float(seconds) for _, seconds in section.rows[:-1])
    rows = [
        [title, _duration(seconds), meter(seconds / longest) if title != TOGETHER else ""]
        for title, seconds in ((title, float(seconds)) for title, seconds in section.rows)
    ]
    note = "Minutes and seconds by the clock; a stage that had nothing to do is not counted."
    shown = table(["stage", "time", ""], rows, caption="Time by stage", class_="meters")
    return [Section("time", "Time", [paragraph(note), shown])]


def _duration(seconds: float) -> str:
    """``minutes:seconds``, with hours from one hour on."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{whole % 60:02d}"
    return f"{minutes}:{whole % 60:02d}"


def _commands(section: ResultsSection | None) -> list[Section]:
    if section is None:
        return []
    heading = element("summary", f"{sum(not c.startswith('# ') for c in section.code)} commands")
    code = element("pre", element("code", "\n".join(section.code)))
    return [Section("commands", "Commands", [element("details", heading, code)])]
