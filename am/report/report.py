"""One page on an experiment: a file that needs no network and no scripts."""

from __future__ import annotations

import logging
from pathlib import Path

from am.errors import InputError
from am.report.error_sections import error_sections
from am.report.model_sections import soft_label_sections, tree_sections
from am.report.page import page
from am.report.results_sections import results_parts
from am.report.sources import ReportSources
from am.report.training_sections import training_sections

log = logging.getLogger(__name__)


def write_report(sources: ReportSources, title: str, path: Path) -> None:
    """Write the page; a section whose inputs are missing is left out, and the log says so.

    Args:
        sources: what it is about.
        title: of the page.
        path: the HTML file.

    Raises:
        InputError: nothing of a report is there, or an input cannot be read.
    """
    results = results_parts(sources)
    sections = [
        *results.rates,
        *training_sections(sources),
        *soft_label_sections(sources),
        *error_sections(sources),
        *tree_sections(sources),
        *results.last,
    ]
    if not sections:
        raise InputError(
            "report: nothing to show; give --system of scored models, or --exp with trained ones"
        )
    path.write_text(page(title, results.lead, sections), encoding="utf-8")
    log.info("%d sections, %.2f MB", len(sections), path.stat().st_size / 1e6)
