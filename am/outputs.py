"""Outputs that are whole or absent, and marked with what made them.

A step builds its output beside the final place (``NAME.partial``) and renames it when it is
complete.  The done-marker holds a fingerprint of inputs and settings, so that a second call
with the same ones has nothing to do and a call with others does the work again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DONE_NAME = "done.json"
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
    marker = done_path(output)
    if not output.exists() or not marker.is_file():
        return False
    return bool(json.loads(marker.read_text())["fingerprint"] == expected_fingerprint)


def start_partial(output: Path, expected_fingerprint: str, *, is_folder: bool) -> Path:
    """Make the place in which ``output`` is built, and return it.

    A folder left by a killed run with the same fingerprint is kept, so that training goes on
    from its checkpoints; any other leftover is removed.
    """
    partial = partial_path(output)
    if not is_folder:
        partial.unlink(missing_ok=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        return partial
    started = partial / "started.json"
    same = started.is_file() and json.loads(started.read_text()) == expected_fingerprint
    if partial.exists() and not same:
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    started.write_text(json.dumps(expected_fingerprint))
    return partial


def finish(output: Path, made_with: str, description: Mapping[str, Any]) -> None:
    """Rename the partial output into place and write the done-marker last."""
    partial = partial_path(output)
    if output.is_dir():
        shutil.rmtree(output)
    if partial.is_dir():
        (partial / "started.json").unlink(missing_ok=True)
    partial.replace(output)
    marker = done_path(output)
    marker.write_text(json.dumps({"fingerprint": made_with, **description}, indent=1, default=str))


def _input_state(path: Path) -> str:
    marker = done_path(path)
    if marker.is_file():
        return str(json.loads(marker.read_text())["fingerprint"])
    if path.is_dir():
        states = [(str(f.relative_to(path)), _input_state(f)) for f in sorted(path.iterdir())]
        return hashlib.sha256(json.dumps(states).encode()).hexdigest()
    status = path.stat()
    if status.st_size > MAX_HASHED_BYTES:
        return f"{status.st_size} {status.st_mtime_ns}"
    return sha256_of_file(path)
