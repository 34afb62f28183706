"""Outputs that are whole or absent, and marked with what made them.

A step builds its output beside the final place (``partial.NAME``) and renames it when it is
complete.  The done-marker holds a fingerprint of inputs and settings, so that a second call
with the same ones has nothing to do and a call with others does the work again.  An input that
is itself such an output counts as changed when it was made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DONE_NAME = "done.json"
STARTED_NAME = "started.json"
UNFINISHED_PREFIX = "unfinished."
LEFTOVER_PREFIXES = ("partial.", "old.", UNFINISHED_PREFIX)
# Larger files are told apart by size and time of change, so that a check never reads a corpus.
MAX_HASHED_BYTES = 64 * 1024 * 1024


def fingerprint(tool: str, inputs: Iterable[Path], settings: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the tool's name, the state of its inputs and its settings."""
    digest = hashlib.sha256()
    digest.update(json.dumps([tool, settings], sort_keys=True, default=str).encode())
    for path in inputs:
        digest.update(f"{path}={_input_state(path)}\n".encode())
    return digest.hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def done_path(output: Path) -> Path:
    """Where the done-marker of ``output`` (a folder or a file) lies."""
    return (
        output / DONE_NAME if output.is_dir() else output.with_name(f".{output.name}.{DONE_NAME}")
    )


def partial_path(output: Path) -> Path:
    """Where ``output`` is built: a neighbour with the same suffixes."""
    return output.with_name(f"partial.{output.name}")


def is_done(output: Path, expected_fingerprint: str) -> bool:
    """Whether ``output`` is complete and was made from the same inputs and settings."""
    marker = _read_json(done_path(output))
    return output.exists() and marker is not None and marker["fingerprint"] == expected_fingerprint


def start_partial(output: Path, expected_fingerprint: str, *, is_folder: bool) -> Path:
    """Make the place in which ``output`` is built, and return it.

    A folder left by a killed run with the same fingerprint is kept, so that training goes on
    from its checkpoints; any other leftover is removed.
    """
    partial = partial_path(output)
    if not is_folder:
        _remove(partial)
        partial.parent.mkdir(parents=True, exist_ok=True)
        return partial
    if _read_json(partial / STARTED_NAME) != expected_fingerprint:
        _remove(partial)
        partial.mkdir(parents=True)
        _write_json(partial / STARTED_NAME, expected_fingerprint)
    return partial


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Where to write a file that then takes the place of ``path``, whole.

    Killed at any point, or with a loss of power, the old file or the new one is there.
    """
    aside = path.with_name(f"{path.name}.tmp")
    yield aside
    flush_to_disk(aside)
    aside.replace(path)


def flush_to_disk(path: Path) -> None:
    """Have what a file holds outlast a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def unfinished_folder(output: Path) -> Iterator[Path]:
    """A folder in ``output`` for one attempt at a part of it, removed at the end.

    Files are made here and renamed into ``output``, so that two workers at the same part do not
    meet.  That of a killed attempt stays until :func:`remove_unfinished`.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=UNFINISHED_PREFIX, dir=output, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def remove_unfinished(output: Path) -> None:
    """Remove what killed attempts left in ``output``."""
    for leftover in output.glob(f"{UNFINISHED_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def finish(output: Path, made_with: str, description: Mapping[str, Any]) -> None:
    """Rename the partial output into place, whole and with its done-marker.

    Killed at any point, it leaves the old output, or none, or the new one, never one that is
    marked as done and is not.
    """
    partial = partial_path(output)
    marker = {"fingerprint": made_with, "finished": time.time_ns(), **description}
    done_path(output).unlink(missing_ok=True)
    if partial.is_dir():
        _write_json(partial / DONE_NAME, marker)
    old = output.with_name(f"old.{output.name}")
    _remove(old)
    if output.exists():
        output.rename(old)
    partial.replace(output)
    if output.is_dir():
        (output / STARTED_NAME).unlink(missing_ok=True)
    else:
        _write_json(done_path(output), marker)
    _remove(old)


def _input_state(path: Path) -> str:
    marker = _read_json(done_path(path))
    if marker is not None:
        return f"{marker['fingerprint']} {marker.get('finished')}"
    if path.is_dir():
        states = [
            (entry.name, _input_state(entry))
            for entry in sorted(path.iterdir())
            if not entry.name.startswith(LEFTOVER_PREFIXES)
        ]
        return hashlib.sha256(json.dumps(states).encode()).hexdigest()
    status = path.stat()
    if status.st_size > MAX_HASHED_BYTES:
        return f"{status.st_size} {status.st_mtime_ns}"
    return sha256_of_file(path)


def _read_json(path: Path) -> Any:
    """The file's content; None where it is missing or was cut short."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def _write_json(path: Path, content: object) -> None:
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=1, default=str))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
