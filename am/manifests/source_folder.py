"""Writing Kaldi-style data folders, and reading small tables whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from am.errors import InputError


@dataclass(frozen=True)
class SourceRow:
    """One utterance of a data folder; text and condition are None where it has none."""

    utterance_id: str
    speaker: str
    audio: Path
    text: str | None = None
    condition: str | None = None


def write_source_folder(folder: Path, rows: Iterable[SourceRow]) -> None:
    """Write ``wav.scp``, ``utt2spk`` and, of those rows that have them, ``text`` and
    ``utt2condition``, sorted by the bytes of the ids."""
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sorted(rows, key=lambda row: row.utterance_id.encode())
    write_table(folder / "wav.scp", ((row.utterance_id, str(row.audio)) for row in ordered))
    write_table(folder / "utt2spk", ((row.utterance_id, row.speaker) for row in ordered))
    texts = [(row.utterance_id, row.text) for row in ordered if row.text is not None]
    if texts:
        write_table(folder / "text", texts)
    conditions = [(row.utterance_id, row.condition) for row in ordered if row.condition]
    if conditions:
        write_table(folder / "utt2condition", conditions)


def write_table(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write ``key value`` lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(f"{key} {value}\n" for key, value in rows)


def read_table(path: Path) -> dict[str, str]:
    """Read ``key value`` lines.

    Raises:
        InputError: there is no such file, a line has no value, or a key comes twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such table; give the folder of the whole corpus")
    table: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        key, *rest = line.split(maxsplit=1) or [""]
        if not rest:
            raise InputError(f"{path}:{number}: expected 'key value', found '{line}'")
        if key in table:
            raise InputError(f"{path}:{number}: '{key}' comes twice; remove one")
        table[key] = " ".join(rest[0].split())
    return table
