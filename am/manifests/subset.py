"""A random part of a data folder."""

from __future__ import annotations

import hashlib
import logging
import shutil
from fractions import Fraction
from pathlib import Path

from lhotse import CutSet

from am.errors import InputError
from am.features.feature_data import CUTS_NAME, SETTINGS_NAME

log = logging.getLogger(__name__)


def subset_data(data: Path, output: Path, share: Fraction, seed: int) -> None:
    """Write a data folder with about a share of the cuts of another one, in its order.

    Whether a cut is taken depends on its id, the share and the seed alone: with one seed, a
    smaller subset lies within every larger one.  Features stay where they are.

    Args:
        data: a data folder, with features or without.
        output: the folder to write.
        share: of the cuts, above 0 and at most 1.
        seed: another one takes other cuts.

    Raises:
        InputError: the share is out of range, or no cut was taken.
    """
    if not 0 < share <= 1:
        raise InputError(f"--share {share}: give a share above 0 and at most 1, e.g. 1/4")
    path = data / CUTS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a data folder")
    taken = total = 0
    seconds = 0.0
    with CutSet.open_writer(output / CUTS_NAME, overwrite=True) as writer:
        for cut in CutSet.from_jsonl_lazy(path):
            total += 1
            if place_of(cut.id, seed) < share:
                writer.write(cut)
                taken += 1
                seconds += cut.duration
    if taken == 0:
        raise InputError(f"{path}: {share} of {total} cuts are none; choose a larger share")
    if (data / SETTINGS_NAME).is_file():
        shutil.copy(data / SETTINGS_NAME, output)
    log.info("%d of %d cuts, %.2f hours", taken, total, seconds / 3600)


def place_of(cut_id: str, seed: int) -> Fraction:
    """A cut's place between 0 and 1 (not included), evenly distributed over cuts."""
    digest = hashlib.sha256(f"{seed} {cut_id}".encode()).digest()[:8]
    return Fraction(int.from_bytes(digest, "big"), 1 << 64)
