"""Kaldi's archives and matrices through kaldi-native-io, Kaldi's own reading and writing code.

Names of files go into Kaldi's specifiers as absolute paths: a name that begins or ends with ``|``
would be run as a command.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kaldi_native_io
import numpy as np

from am.errors import InputError

# The first entry of an archive of integer vectors, binary or text, as far as it was read.
_INTEGER_VECTOR = re.compile(rb"\S+[ \t]+(\x00B\x04|[-\d \t]*(\n|$))")


def archives_of(folder: Path, name: str) -> list[Path]:
    """The archives ``NAME.1.gz``, ``NAME.2.gz`` … (or ``.ark``, ``.txt``, unnumbered) of a folder.

    Raises:
        InputError: there are none, or a number is missing.
    """
    pattern = re.compile(rf"{re.escape(name)}(?:\.(\d+))?(?:\.ark|\.txt)?(?:\.gz)?")
    found: dict[int, Path] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match and path.is_file():
            number = int(match[1] or 0)
            if number in found:
                raise InputError(
                    f"{path}: stands beside {found[number].name}; remove one of the two"
                )
            found[number] = path
    if not found:
        raise InputError(f"{folder}: holds no {name}.1.gz or the like; give Kaldi's output folder")
    numbers = sorted(found)
    if numbers[-1] and (missing := sorted(set(range(1, numbers[-1])) - set(numbers))):
        raise InputError(
            f"{folder}: {name}.{missing[0]} is missing; copy all the archives of the folder"
        )
    return [found[number] for number in numbers]


def read_integer_vectors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance id, (n,) int32) of an archive of integer vectors, text or binary, maybe gzipped.

    Raises:
        InputError: it holds something else, or is cut short.
    """
    with _uncompressed(path) as plain:
        with plain.open("rb") as stream:
            start = stream.read(1 << 12)
        # Looked at here because kaldi_native_io prints a traceback when it cannot open.
        if start and not _INTEGER_VECTOR.match(start):
            raise InputError(f"{path}: begins with something else than a vector of integers")
        try:
            reader = kaldi_native_io.SequentialInt32VectorReader(f"ark:{_specified(plain)}")
        except RuntimeError as error:
            raise InputError(f"{path}: damaged or cut short in its first entry") from error
        last = ""
        for key, value in reader:
            yield key, np.array(value, dtype=np.int32)
            last = key
        # An archive that ends early, or goes on with something else, just ends the loop; Kaldi
        # tells on closing, which kaldi_native_io's own close() keeps to itself.
        if not reader._impl.close():
            raise InputError(f"{path}: damaged or cut short after '{last}'; copy it again")


def read_matrix(path: Path) -> np.ndarray:
    """A file that is one matrix, text or binary: (rows, columns) float32.

    Raises:
        InputError: it is none, or is cut short.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the file of a matrix")
    try:
        return _read(_specified(path))
    except RuntimeError as error:
        raise InputError(f"{path}: holds no matrix of Kaldi's, or not all of it") from error


def read_matrix_at(index: Path, place: str) -> np.ndarray:
    """A matrix that a ``.scp`` names by ``archive:offset`` or ``file``, compressed or not.

    Args:
        index: the ``.scp``, for messages.
        place: relative to the working directory, as in Kaldi; never a command.

    Raises:
        InputError: there is none, or it is damaged.
    """
    archive, separator, offset = place.rpartition(":")
    path = Path(archive if separator and offset.isdecimal() else place)
    if not path.is_file():
        raise InputError(
            f"{index}: {path}: no such file; relative names are looked up in the working folder"
        )
    try:
        specified = place.replace(str(path), _specified(path), 1)
        return _read(specified)
    except RuntimeError as error:
        raise InputError(f"{index}: {place}: damaged or no matrix; compute it again") from error


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    """Write a file that is one matrix, binary."""
    value = kaldi_native_io.FloatMatrix(np.ascontiguousarray(matrix, dtype=np.float32))
    value.write(_specified(path), binary=True)


def open_integer_vectors(path: Path) -> Any:
    """A writer of integer vectors, ``write(utterance_id, list)``; use as a context manager."""
    return kaldi_native_io.Int32VectorWriter(f"ark:{_specified(path)}")


class MatrixArchiveWriter:
    """Writes an archive of float matrices, and its index; use as a context manager.

    Args:
        archive: the file to write.
        index: the ``.scp`` to write.
        final_archive: where ``archive`` will lie in the end; the index points there.

    Raises:
        InputError: a comma in the path.
    """

    def __init__(self, archive: Path, index: Path, final_archive: Path):
        self._archive, self._index, self._final = archive, index, final_archive.resolve()
        self._aside = index.with_name(f"{index.name}.tmp")
        if "," in _specified(index):
            raise InputError(f"{index.resolve()}: Kaldi allows no comma in this path; rename it")
        self._writer = kaldi_native_io.FloatMatrixWriter(
            f"ark,scp:{_specified(archive)},{_specified(self._aside)}"
        )

    def __enter__(self) -> MatrixArchiveWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        written = f" {_specified(self._archive)}:"
        with (
            self._aside.open(encoding="utf-8") as lines,
            self._index.open("w", encoding="utf-8") as index,
        ):
            index.writelines(line.replace(written, f" {self._final}:", 1) for line in lines)
        self._aside.unlink()

    def write(self, key: str, matrix: np.ndarray) -> None:
        """Append (rows, columns)."""
        self._writer.write(key, np.ascontiguousarray(matrix, dtype=np.float32))


def open_posteriors(path: Path) -> Any:
    """A writer of posteriors, ``write(utterance_id, [[(pdf_id, weight), …], …])``."""
    return kaldi_native_io.PosteriorWriter(f"ark:{_specified(path)}")


def compress(path: Path) -> None:
    """Replace ``path`` by ``path.gz``."""
    with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed, 1 << 20)
    path.unlink()


@contextlib.contextmanager
def _uncompressed(path: Path) -> Iterator[Path]:
    """The archive as a plain file: itself, or unpacked to a temporary one."""
    if path.suffix != ".gz":
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=".ark") as plain:
        try:
            with gzip.open(path, "rb") as packed:
                shutil.copyfileobj(packed, plain, 1 << 20)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(
                f"{path}: damaged or cut short ({' '.join(str(error).split())}); copy it again"
            ) from error
        plain.flush()
        yield Path(plain.name)


def _read(specified: str) -> np.ndarray:
    matrix = kaldi_native_io.FloatMatrix.read(specified)
    # The array is a view of memory that goes with the matrix.
    return np.array(matrix.numpy())


def _specified(path: Path) -> str:
    return str(path.resolve())
