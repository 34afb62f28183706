"""Cuts of a data folder, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lhotse import CutSet

from am.errors import InputError
from am.features.feature_data import CUTS_NAME


def open_cuts(data: Path) -> CutSet:
    """The cuts of a folder, with or without features, read lazily."""
    path = data / CUTS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a data folder, e.g. data/labeled/lfbe")
    return CutSet.from_jsonl_lazy(path)


def find_cuts(data: Path, cut_ids: Sequence[str]) -> list[Any]:
    """The cuts of these ids, in their order.

    Raises:
        InputError: an id is not in the folder.
    """
    wanted = set(cut_ids)
    found: dict[str, Any] = {}
    for cut in open_cuts(data):
        if cut.id in wanted:
            found[cut.id] = cut
        if len(found) == len(wanted):
            break
    for cut_id in cut_ids:
        if cut_id not in found:
            raise InputError(f"{data / CUTS_NAME}: no cut {cut_id}; give the id of one of its cuts")
    return [found[cut_id] for cut_id in cut_ids]
