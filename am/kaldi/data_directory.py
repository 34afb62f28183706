"""Data folders of ours as Kaldi's: ``wav.scp``, ``segments``, ``text``, ``utt2spk``, ``spk2utt``.

The way in is :func:`am.manifests.make_cuts.make_cuts`, which reads Kaldi's tables.  On the way out
the rows are sorted on disk, so that memory does not grow with the corpus.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lhotse import CutSet, MonoCut

from am.errors import InputError
from am.features.gmm_features import speaker_of
from am.manifests.source_folder import write_table
from am.progress import track

log = logging.getLogger(__name__)

CUTS_NAME = "cuts.jsonl.gz"
# Times are written in seconds with so many decimals; a sample at 48 kHz lasts 21 microseconds.
TIME_DECIMALS = 6
# Only these need no command in wav.scp for Kaldi to read them.
KALDI_AUDIO = (".wav",)


def export_data(data_folder: Path, output: Path) -> None:
    """Write a data folder as a Kaldi data directory, sorted by the bytes of the ids.

    ``segments`` is written unless every cut is a whole recording of the same id; ``text`` unless no
    cut has a transcript; ``utt2condition``, which Kaldi does not look at, if a cut has a condition.

    Args:
        data_folder: of ``utils/make_cuts.py``, or with features.
        output: an existing folder.

    Raises:
        InputError: it holds no cuts, some cuts alone have a transcript, or a cut's audio is no
            file.
    """
    path = data_folder / CUTS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; run utils/make_cuts.py")
    with tempfile.TemporaryDirectory(prefix="kaldi-data-") as folder:
        database = sqlite3.connect(Path(folder) / "tables.db")
        try:
            database.execute("PRAGMA synchronous = OFF")
            database.execute("PRAGMA journal_mode = OFF")
            _fill(database, track(CutSet.from_jsonl_lazy(path), "cuts", unit="cut"), path)
            _write(database, path, output)
        finally:
            database.close()


def _fill(database: sqlite3.Connection, cuts: Iterable[MonoCut], path: Path) -> None:
    database.execute("CREATE TABLE recordings (id TEXT PRIMARY KEY, path TEXT) WITHOUT ROWID")
    database.execute(
        "CREATE TABLE utterances (id TEXT PRIMARY KEY, recording TEXT, start REAL, stop REAL, "
        "whole INTEGER, speaker TEXT, text TEXT, condition TEXT) WITHOUT ROWID"
    )
    for cut in cuts:
        recording = cut.recording
        if recording is None or recording.sources[0].type != "file":
            raise InputError(f"{path}: {cut.id}: its audio is no file; only files can be listed")
        audio = str(Path(recording.sources[0].source).resolve())
        database.execute("INSERT OR IGNORE INTO recordings VALUES (?, ?)", (recording.id, audio))
        whole = recording.id == cut.id and cut.start == 0 and cut.end >= recording.duration
        text = cut.supervisions[0].text if cut.supervisions else None
        condition = (
            (cut.supervisions[0].custom or {}).get("condition") if cut.supervisions else None
        )
        place = (cut.id, recording.id, cut.start, cut.end, whole)
        row = (*place, speaker_of(cut), text, condition)
        try:
            database.execute("INSERT INTO utterances VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            raise InputError(f"{path}: {cut.id}: stands there twice; make the cuts again") from None


def _write(database: sqlite3.Connection, path: Path, output: Path) -> None:
    count, whole, with_text, with_condition = database.execute(
        "SELECT count(*), coalesce(sum(whole), 0), count(text), count(condition) FROM utterances"
    ).fetchone()
    if not count:
        raise InputError(f"{path}: holds no cuts; give data with at least one utterance")
    if with_text not in (0, count):
        raise InputError(
            f"{path}: {count - with_text} of {count} cuts have no transcript; Kaldi wants all or "
            "none"
        )
    paths = database.execute("SELECT id, path FROM recordings ORDER BY id")
    write_table(output / "wav.scp", paths)
    speakers = database.execute("SELECT id, speaker FROM utterances ORDER BY id")
    write_table(output / "utt2spk", speakers)
    by_speaker = itertools.groupby(
        database.execute("SELECT speaker, id FROM utterances ORDER BY speaker, id"),
        key=lambda row: row[0],
    )
    write_table(
        output / "spk2utt",
        ((speaker, " ".join(row[1] for row in rows)) for speaker, rows in by_speaker),
    )
    if with_text:
        texts = database.execute("SELECT id, text FROM utterances ORDER BY id")
        write_table(output / "text", texts)
    if with_condition:
        query = "SELECT id, condition FROM utterances WHERE condition IS NOT NULL ORDER BY id"
        write_table(output / "utt2condition", database.execute(query))
    if whole != count:
        segments = database.execute("SELECT id, recording, start, stop FROM utterances ORDER BY id")
        write_table(
            output / "segments",
            (
                (cut_id, f"{recording} {start:.{TIME_DECIMALS}f} {stop:.{TIME_DECIMALS}f}")
                for cut_id, recording, start, stop in segments
            ),
        )
    other = [
        audio
        for (audio,) in database.execute("SELECT path FROM recordings")
        if not audio.endswith(KALDI_AUDIO)
    ]
    if other:
        log.warning(
            "%d recordings are no .wav (%s …); Kaldi reads them through a command in wav.scp",
            len(other),
            other[0],
        )
    log.info("%d utterances", count)
