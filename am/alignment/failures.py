"""The list of cuts that a step had to leave out."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

FAILED_NAME = "failed.tsv"


def write_failures(path: Path, failures: list[tuple[str, str]]) -> None:
    """Write cut id and reason, tab-separated, a cut a line; warn of their number."""
    path.write_text("".join(f"{cut_id}\t{reason}\n" for cut_id, reason in failures))
    if failures:
        log.warning("%d cuts left out, listed in %s", len(failures), path.name)
