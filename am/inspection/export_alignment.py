"""A whole alignment folder as CTM and TextGrid files, for other tools."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from am.alignment.failures import FAILED_NAME, write_failures
from am.errors import InputError
from am.features.feature_data import CUTS_NAME
from am.inspection.ctm import write_ctm
from am.inspection.cuts import open_cuts
from am.inspection.textgrid import textgrid_name, write_textgrid
from am.inspection.tiers import WORDS, TierReader
from am.lang.lang import Lang
from am.progress import track

log = logging.getLogger(__name__)

TEXTGRID_FOLDER = "textgrid"


@dataclass(frozen=True)
class ExportSettings:
    """What is written.

    Attributes:
        ctm: one file for each tier.
        textgrid: one file for each cut.
    """

    ctm: bool = True
    textgrid: bool = True


def export_alignment(
    lang_folder: Path,
    data: Path,
    alignment_folder: Path,
    output: Path,
    settings: ExportSettings,
) -> None:
    """Write ``words.ctm``, ``phones.ctm``, ``states.ctm``, ``senones.ctm`` and ``textgrid/``.

    Of senone labels only the senones are written.  Cuts whose words could not be found among the
    phones have no words, and stand in ``failed.tsv``.

    Args:
        lang_folder: that the alignment was made with.
        data: holds the cuts, with their transcripts.
        alignment_folder: transition-ids or senone labels.
        output: folder.
        settings: what is written.

    Raises:
        InputError: the folders do not belong together, or no cut of the data is aligned.
    """
    reader = TierReader(alignment_folder, Lang.load(lang_folder))
    failures: list[tuple[str, str]] = []
    exported, unaligned = 0, 0
    if settings.textgrid:
        (output / TEXTGRID_FOLDER).mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as files:
        streams: dict[str, TextIO] = {
            name: files.enter_context((output / f"{name}.ctm").open("w", encoding="utf-8"))
            for name in (reader.tier_names if settings.ctm else ())
        }
        for cut in track(open_cuts(data), "exporting", unit="cut"):
            if cut.id not in reader:
                unaligned += 1
                continue
            tiers = reader.tiers(cut)
            if WORDS in reader.tier_names and WORDS not in tiers:
                failures.append((cut.id, "no words: the phones are no reading of its transcript"))
            for name, stream in streams.items():
                write_ctm(stream, cut.id, tiers.get(name, ()))
            if settings.textgrid:
                path = output / TEXTGRID_FOLDER / textgrid_name(cut.id)
                write_textgrid(path, tiers, reader.duration(cut.id))
            exported += 1
    if not exported:
        raise InputError(
            f"{alignment_folder}: none of the cuts of {data / CUTS_NAME} is aligned here; give "
            "the data that were aligned"
        )
    write_failures(output / FAILED_NAME, failures)
    log.info("exported %d cuts; %d cuts have no alignment", exported, unaligned)
