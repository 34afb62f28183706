"""Sentences and vocabularies from text files."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from am.errors import InputError
from am.lang.lexicon import RESERVED_WORDS, SENTENCE_END, SENTENCE_START


def read_sentences(path: Path) -> Iterator[list[str]]:
    """The words of each sentence: a sentence a line, UTF-8, no ids; empty lines are skipped.

    Raises:
        InputError: names file and line of text that is not UTF-8 or holds a sentence mark.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such text; give a file with a sentence a line")
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, 1):
            words = decode_line(line, path, number).split()
            for mark in (SENTENCE_START, SENTENCE_END):
                if mark in words:
                    raise InputError(f"{path}:{number}: '{mark}' is a reserved word; remove it")
            if words:
                yield words


def read_vocabulary(path: Path) -> list[str]:
    """The words of a list or of Kaldi's ``words.txt`` (first field), without reserved ones."""
    if not path.is_file():
        raise InputError(f"{path}: no such vocabulary; give a file with a word a line")
    fields = [
        decode_line(line, path, number).split()
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1)
    ]
    words = dict.fromkeys(f[0] for f in fields if f and f[0] not in RESERVED_WORDS)
    if not words:
        raise InputError(f"{path}: holds no word; give a file with a word a line")
    return list(words)


def open_bytes(path: Path) -> IO[bytes]:
    """Open for reading; a name that ends with ``.gz`` is gzip."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def decode_line(line: bytes, path: Path, number: int) -> str:
    """A line of UTF-8 (a byte order mark is dropped), or InputError with file and line."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}:{number}: not UTF-8; convert the file") from error
