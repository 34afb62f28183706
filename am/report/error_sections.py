"""What still goes wrong: the most frequent word errors, and the worst utterances, to hear."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lhotse.cut import Cut

from am.errors import InputError
from am.inspection.cuts import find_cuts
from am.report.audio import audio_url
from am.report.markup import Markup, element, join
from am.report.page import Section, grid, meter, paragraph, table
from am.report.results_sections import best_system
from am.report.sources import ReportSources
from am.scoring.score import ScoredUtterance
from am.scoring.systems import System
from am.scoring.transcripts import HYPOTHESES_NAME, read_transcripts, reference_words
from am.scoring.word_errors import GAP, align_words, errors_of_alignment

log = logging.getLogger(__name__)

# Kinds in confusions.tsv, and how they are called.
KINDS = {"sub": "Substitutions", "del": "Deletions", "ins": "Insertions"}
ROWS_A_KIND = 10
# Of all audio together, so that a page stays small.
MAX_AUDIO_BYTES = 4_000_000
_NO_WORD = "\u00b7"


def error_sections(sources: ReportSources) -> list[Section]:
    """Sections on the best system's errors, beside those of the baseline."""
    best = best_system(sources)
    if best is None:
        log.info("no section on errors: nothing is scored")
        return []
    baseline = sources.scored.get(sources.baseline or "")
    compared = baseline if baseline is not None and baseline.name != best.name else None
    return [
        *_confusion_section(best, compared, sources.test_sets),
        *_utterance_section(sources, best, compared),
    ]


def _confusion_section(
    best: System, baseline: System | None, test_sets: Sequence[str]
) -> list[Section]:
    counts = read_confusions(best.folder, test_sets)
    if not counts:
        log.info("no section on confusions: %s has no confusions.tsv", best.folder)
        return []
    before = read_confusions(baseline.folder, test_sets) if baseline else None
    columns = []
    for kind, title in KINDS.items():
        of_kind = [(pair, n) for (its_kind, *pair), n in counts.most_common() if its_kind == kind]
        if of_kind:
            rows = of_kind[:ROWS_A_KIND]
            columns.append(_confusion_table(kind, title, rows, before))
    note = f"The most frequent word errors of “{best.name}” on all test sets"
    if baseline:
        note += f"; “baseline” counts those of “{baseline.name}”"
    return [Section("confusions", "Confusions", [paragraph(f"{note}."), grid(columns, "columns")])]


def _confusion_table(
    kind: str,
    title: str,
    rows: Sequence[tuple[list[str], int]],
    before: Counter[tuple[str, str, str]] | None,
) -> Markup:
    most = rows[0][1]
    lines = []
    for (reference, hypothesis), count in rows:
        words = {"sub": f"{reference} → {hypothesis}", "del": reference, "ins": hypothesis}[kind]
        earlier = [] if before is None else [str(before[kind, reference, hypothesis])]
        lines.append([words, str(count), *earlier, meter(count / most)])
    header = [title, "count", *([] if before is None else ["baseline"]), ""]
    return table(header, lines, caption=title, class_="meters")


def read_confusions(folder: Path, test_sets: Sequence[str]) -> Counter[tuple[str, str, str]]:
    """Count of (kind, reference, hypothesis) over test sets, from confusions.tsv."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for test_set in test_sets:
        path = folder / f"score_{test_set}" / "confusions.tsv"
        if not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8").split("\n")[1:]:
            count, *error = line.split("\t")
            if len(error) == 3 and count.isdecimal():
                counts[error[0], error[1], error[2]] += int(count)
    return counts


@dataclass
class _AudioBudget:
    """Counts what audio has been put into the page."""

    left: int = MAX_AUDIO_BYTES
    skipped: list[str] = field(default_factory=list)

    def player(self, cut: Cut) -> list[Markup]:
        """The cut's player, or nothing."""
        try:
            url = audio_url(cut)
        # lhotse, its backends and the file system raise errors of many kinds.
        except Exception as error:
            log.warning("%s: no audio (%s)", cut.id, " ".join(str(error).split())[:200])
            return []
        if len(url) > self.left:
            self.skipped.append(cut.id)
            return []
        self.left -= len(url)
        return [element("audio", src=url, controls=True, preload="metadata", aria_label=cut.id)]


def _utterance_section(
    sources: ReportSources, best: System, baseline: System | None
) -> list[Section]:
    if sources.utterances == 0:
        log.info("no utterances, as asked for")
        return []
    if sources.data is None:
        log.info("no section on utterances: it takes the test sets under --data")
        return []
    budget = _AudioBudget()
    parts: list[Markup] = []
    for test_set in sources.test_sets:
        if test_set in best.scores:
            parts += _worst_of(sources, test_set, [best, *([baseline] if baseline else [])], budget)
    if budget.skipped:
        log.warning(
            "%d utterances without audio, the page would be too large, the first: %s",
            len(budget.skipped),
            budget.skipped[0],
        )
    if not parts:
        return []
    note = paragraph(
        f"Most errors of “{best.name}”: the reference above what was recognised; ",
        join((element("span", name, class_=kind) for kind, name in _LEGEND), ", "),
        ".",
    )
    return [Section("utterances", "Worst utterances", [note, *parts])]


_LEGEND = (("sub", "substituted"), ("del", "deleted"), ("ins", "inserted"))


def _worst_of(
    sources: ReportSources, test_set: str, systems: Sequence[System], budget: _AudioBudget
) -> list[Markup]:
    data = (sources.data or Path()) / test_set
    worst = worst_utterances(systems[0].utterances[test_set], sources.utterances)
    try:
        cuts = find_cuts(data, [utterance.cut_id for utterance in worst])
        hypotheses = {
            system.name: read_transcripts(system.folder / f"decode_{test_set}" / HYPOTHESES_NAME)
            for system in systems
            if test_set in system.scores
        }
        shown = [
            _utterance(utterance, cut, hypotheses, budget)
            for utterance, cut in zip(worst, cuts, strict=True)
        ]
    except InputError as error:
        log.warning("no utterances of %s: %s", test_set, error)
        return []
    return [element("h3", test_set), *shown] if shown else []


def worst_utterances(utterances: Sequence[ScoredUtterance], number: int) -> list[ScoredUtterance]:
    """Those with the most errors, then with the highest error rate; those without are left out."""
    wrong = [utterance for utterance in utterances if utterance.errors.errors]
    return sorted(wrong, key=lambda u: (-u.errors.errors, -u.errors.wer, u.cut_id))[:number]


def _utterance(
    utterance: ScoredUtterance,
    cut: Cut,
    hypotheses: dict[str, dict[str, list[str]]],
    budget: _AudioBudget,
) -> Markup:
    words = reference_words(cut)
    head = element(
        "div",
        element("strong", utterance.cut_id),
        f" {utterance.speaker}, {cut.duration:.1f} s",
        class_="utterance-head",
    )
    rows = []
    for name, of_system in hypotheses.items():
        pairs = align_words(words, of_system.get(utterance.cut_id, []))
        counts = errors_of_alignment(pairs)
        label = f"{name}: {counts.errors} errors of {counts.words} words"
        rows.append(element("p", label, class_="small"))
        rows.append(element("div", *map(_word_pair, pairs), class_="pairs"))
    return element("article", head, *budget.player(cut), *rows, class_="utterance")


def _word_pair(pair: tuple[str, str]) -> Markup:
    reference, hypothesis = pair
    kind = "right"
    if reference != hypothesis:
        kind = "ins" if reference == GAP else "del" if hypothesis == GAP else "sub"
    return element(
        "span",
        element("span", reference or _NO_WORD),
        " ",
        element("span", hypothesis or _NO_WORD),
        " ",
        class_=f"pair {kind}",
    )
