"""The tables of a Kaldi-style data folder, joined on disk.

``wav.scp``, ``text``, ``utt2spk``, ``segments`` and ``utt2condition`` are read line by line into
a temporary SQLite database, which sorts and joins them: memory does not grow with the corpus,
and the order of the files (and the locale that sorted them) does not matter.
"""

from __future__ import annotations

import math
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from am.errors import InputError

# Table → whether a second field must follow the id.
TABLES = {
    "wav.scp": True,
    "utt2spk": True,
    "text": False,
    "segments": True,
    "utt2condition": True,
}


@dataclass(frozen=True)
class SourceUtterance:
    """One utterance as its folder's tables have it.

    Attributes:
        duplicated_in: tables that have the id more than once.
        recording_id: the utterance id itself where there are no segments.
        audio: path, or None if ``wav.scp`` (or ``segments``) has no such id.
        speaker, text, condition: None where the table has no such id.
        start, end: seconds in the recording; end None: to its end.
    """

    utterance_id: str
    duplicated_in: tuple[str, ...]
    recording_id: str
    audio: str | None
    speaker: str | None
    text: str | None
    condition: str | None
    start: float
    end: float | None


class SourceTables:
    """The joined tables of one folder; use as a context manager."""

    def __init__(self, folder: Path):
        """Read the tables.

        Raises:
            InputError: a needed table is missing, or a line is malformed.
        """
        self.folder = folder
        self._directory = tempfile.TemporaryDirectory(prefix="source-tables-")
        self._database = sqlite3.connect(Path(self._directory.name) / "tables.db")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = OFF")
        try:
            for name in ("wav.scp", "utt2spk"):
                if not (folder / name).is_file():
                    raise InputError(f"{folder}: holds no {name}; write it, as Kaldi has it")
            for name in TABLES:
                self._read(name)
        except BaseException:
            self.close()
            raise
        self.has_segments = (folder / "segments").is_file()
        self.has_text = (folder / "text").is_file()

    def __enter__(self) -> SourceTables:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the database."""
        self._database.close()
        self._directory.cleanup()

    def __len__(self) -> int:
        query = f"SELECT count(*) FROM ({self._ids()})"
        return int(self._database.execute(query).fetchone()[0])

    def __iter__(self) -> Iterator[SourceUtterance]:
        """Every utterance that any table names, once, sorted by the bytes of its id."""
        audio_id = "segment.recording" if self.has_segments else "ids.id"
        times = "segment.start, segment.stop" if self.has_segments else "0.0, NULL"
        segments = 'LEFT JOIN "segments" segment USING (id)' if self.has_segments else ""
        # A duplicated id joins to several rows; GROUP BY keeps one, and the counts tell.
        query = f"""
            SELECT ids.id, {audio_id}, wav.value, speaker.value, text.value, condition.value,
                {times}
            FROM ({self._ids()}) ids
            {segments}
            LEFT JOIN "wav.scp" wav ON wav.id = {audio_id}
            LEFT JOIN "utt2spk" speaker ON speaker.id = ids.id
            LEFT JOIN "text" text ON text.id = ids.id
            LEFT JOIN "utt2condition" condition ON condition.id = ids.id
            GROUP BY ids.id ORDER BY ids.id
        """
        for row in self._database.execute(query):
            utterance_id, recording_id, audio, speaker, text, condition, start, end = row
            yield SourceUtterance(
                utterance_id=utterance_id,
                duplicated_in=self._duplicated_in(utterance_id, recording_id),
                recording_id=recording_id or utterance_id,
                audio=audio,
                speaker=speaker,
                text=text,
                condition=condition,
                start=start or 0.0,
                end=end,
            )

    def _ids(self) -> str:
        """SQL: the ids that are utterances; with segments, ``wav.scp`` has recordings."""
        tables = ["segments" if self.has_segments else "wav.scp", "utt2spk", "text"]
        return " UNION ".join(f'SELECT id FROM "{name}"' for name in tables)

    def _duplicated_in(self, utterance_id: str, recording_id: str | None) -> tuple[str, ...]:
        keys = dict.fromkeys(TABLES, utterance_id)
        keys["wav.scp"] = recording_id or utterance_id
        return tuple(
            name
            for name, key in keys.items()
            if self._database.execute(
                f'SELECT count(*) FROM "{name}" WHERE id = ?', (key,)
            ).fetchone()[0]
            > 1
        )

    def _read(self, name: str) -> None:
        rows: Iterator[tuple[str | float | None, ...]]
        if name == "segments":
            columns, places = "id TEXT, recording TEXT, start REAL, stop REAL", "?, ?, ?, ?"
            rows = self._segments()
        else:
            columns, places = "id TEXT, value TEXT", "?, ?"
            rows = self._pairs(name)
        self._database.execute(f'CREATE TABLE "{name}" ({columns})')
        self._database.executemany(f'INSERT INTO "{name}" VALUES ({places})', rows)
        self._database.execute(f'CREATE INDEX "{name} ids" ON "{name}" (id)')

    def _pairs(self, name: str) -> Iterator[tuple[str | float | None, ...]]:
        for where, line in self._lines(name):
            key, *rest = line.split(maxsplit=1)
            value = rest[0] if rest else ""
            if TABLES[name] and not value:
                raise InputError(f"{where}: '{line}' has an id and nothing more; mend the line")
            if name == "wav.scp" and (value.endswith("|") or value.startswith("|")):
                raise InputError(
                    f"{where}: '{key}' is a command; write its output to a file and give its path"
                )
            if name in ("utt2spk", "utt2condition") and len(value.split()) != 1:
                raise InputError(f"{where}: expected two fields, found '{line}'; mend the line")
            yield key, " ".join(value.split()) if name == "text" else value

    def _segments(self) -> Iterator[tuple[str | float | None, ...]]:
        for where, line in self._lines("segments"):
            fields = line.split()
            try:
                utterance_id, recording_id = fields[:2]
                start, end = (float(field) for field in fields[2:4])
                # Kaldi's extract-segments takes the number of a channel, from 0, as a fifth field.
                channel = int(" ".join(fields[4:]) or "0")
            except ValueError as error:
                raise InputError(
                    f"{where}: expected 'utterance recording start end', found '{line}'"
                ) from error
            if channel:
                raise InputError(
                    f"{where}: '{utterance_id}' is of channel {channel}; write mono recordings"
                )
            # Kaldi writes -1 for the end of the recording.
            if not (math.isfinite(start) and math.isfinite(end)) or start < 0:
                raise InputError(f"{where}: times must be finite and not negative: '{line}'")
            if end != -1 and end <= start:
                raise InputError(f"{where}: the end must come after the start: '{line}'")
            yield utterance_id, recording_id, start, None if end == -1 else end

    def _lines(self, name: str) -> Iterator[tuple[str, str]]:
        path = self.folder / name
        if not path.is_file():
            return
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, 1):
                where = f"{path}:{number}"
                try:
                    line = raw.decode("utf-8").strip()
                except UnicodeDecodeError as error:
                    raise InputError(f"{where}: not UTF-8; convert the file") from error
                if not line:
                    raise InputError(f"{where}: empty line; remove it")
                yield where, line
