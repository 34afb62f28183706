"""The made-up experiment, once a session: tests that change it copy it."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_cases import make_experiment

from am.report.report import write_report
from am.report.sources import ReportSources


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> ReportSources:
    return make_experiment(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="session")
def report(experiment: ReportSources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(experiment, "A <made-up> experiment", path)
    return path
