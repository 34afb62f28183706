"""A Shar data folder whose shards lie elsewhere."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from am.features.feature_data import SETTINGS_NAME
from am.shar.index import INDEX_NAME, LINES_NAME, IndexFacts
from am.shar.location import is_url, join, read_file

log = logging.getLogger(__name__)


def link_shar(url: str, output: Path) -> None:
    """Write the index of the shards at ``url``, and what their features are.

    Args:
        url: of a Shar data folder: HTTP, what lhotse reads (``s3://``, …), or a folder's path.
        output: the folder to write.

    Raises:
        InputError: there is no such folder, it cannot be reached, or it holds something else.
    """
    location = url if is_url(url) else str(Path(url).resolve())
    facts = IndexFacts.parse(read_file(location, INDEX_NAME), join(location, INDEX_NAME))
    there = facts.location
    if not is_url(there) and not Path(there).is_absolute():
        there = join(location, there)
    (output / SETTINGS_NAME).write_bytes(read_file(location, SETTINGS_NAME))
    (output / LINES_NAME).write_bytes(read_file(location, LINES_NAME, facts.lines_sha256))
    dataclasses.replace(facts, location=there).write(output)
    log.info("%d cuts, %.2f hours at %s", facts.num_cuts, facts.hours, there)
