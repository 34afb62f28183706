"""The parts that Kaldi's files of models are made of, text and binary.

As Kaldi's ``base/io-funcs.h``, ``matrix/kaldi-vector.cc`` and ``matrix/kaldi-matrix.cc`` define
them.  A binary file begins with ``\\0B``; its integers and reals carry their size in a byte before
them (negative for an unsigned integer) and are little-endian; a token ends with one space.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from am.errors import InputError

BINARY_MARK = b"\0B"
_TOKEN = re.compile(rb"\s*(\S+)")
# A binary token is short; what runs on without a space is no token.
_BINARY_TOKEN = re.compile(rb"\s*([^\s\0]{1,256})\s")
_REAL_TYPES: dict[str, np.dtype] = {"F": np.dtype("<f4"), "D": np.dtype("<f8")}


class KaldiReader:
    """Reads one file from its beginning to its end.

    Args:
        path: the file.
        content: what it should hold, for messages, e.g. ``a decision tree``.

    Attributes:
        binary: whether it is a binary file.

    Raises:
        InputError: from every method, where the file holds something else or ends too early.
    """

    def __init__(self, path: Path, content: str):
        self._path = path
        self._content = content
        if not path.is_file():
            raise InputError(f"{path}: no such file; give a folder of Kaldi's that holds it")
        self._data = path.read_bytes()
        self.binary = self._data.startswith(BINARY_MARK)
        self._place = len(BINARY_MARK) if self.binary else 0

    def fault(self, problem: str) -> InputError:
        """An error at the present place, for the caller to raise."""
        return InputError(
            f"{self._path}: byte {self._place}: {problem}; give {self._content} of Kaldi's, whole"
        )

    def peek(self) -> str:
        """The next token, which stays to be read; empty at the end of the file."""
        match = (_BINARY_TOKEN if self.binary else _TOKEN).match(self._data, self._place)
        return match[1].decode("ascii", "replace") if match else ""

    def token(self, *expected: str) -> str:
        """Read a token, which must be one of ``expected``, if any are given."""
        found = self.peek()
        if not found or (expected and found not in expected):
            wanted = " or ".join(expected) or "a token"
            raise self.fault(f"expected {wanted}, found {found[:40] or 'the end or no token'!r}")
        match = (_BINARY_TOKEN if self.binary else _TOKEN).match(self._data, self._place)
        assert match is not None
        self._place = match.end()
        return found

    def integer(self) -> int:
        """Read a 32-bit integer, signed or not."""
        if not self.binary:
            return self._text_integer()
        size = self._take(1, "an integer")[0]
        if size not in (4, 256 - 4):
            raise self.fault(f"expected an integer of 4 bytes, found size {size}")
        return int(struct.unpack("<i" if size == 4 else "<I", self._take(4, "an integer"))[0])

    def real(self) -> float:
        """Read a float or double."""
        if not self.binary:
            return self._text_real()
        size = self._take(1, "a number")[0]
        if size not in (4, 8):
            raise self.fault(f"expected a number of 4 or 8 bytes, found size {size}")
        return float(struct.unpack("<f" if size == 4 else "<d", self._take(size, "a number"))[0])

    def integers(self) -> np.ndarray:
        """Read a vector of integers: (n,) int32."""
        if not self.binary:
            return self._numbers(self._bracketed(), np.dtype(np.int32))
        size = self._take(1, "integers")[0]
        if size != 4:
            raise self.fault(f"expected integers of 4 bytes, found size {size}")
        (count,) = struct.unpack("<i", self._take(4, "integers"))
        return self._array(np.dtype("<i4"), count).astype(np.int32)

    def vector(self) -> np.ndarray:
        """Read a vector of floats or doubles: (n,) float32 or float64."""
        if not self.binary:
            return self._numbers(self._bracketed(), np.dtype(np.float32))
        kind = self.token("FV", "DV")
        return self._array(_REAL_TYPES[kind[0]], self.integer())

    def matrix(self) -> np.ndarray:
        """Read a matrix of floats or doubles: (rows, columns) float32 or float64."""
        if not self.binary:
            lines = [line for line in self._bracketed().splitlines() if line.strip()]
            rows = [self._numbers(line, np.dtype(np.float32)) for line in lines]
            if len({len(row) for row in rows}) > 1:
                raise self.fault("a matrix whose rows differ in length")
            return np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)
        kind = self.token("FM", "DM")
        rows_columns = self.integer(), self.integer()
        if min(rows_columns) < 0:
            raise self.fault(f"a matrix of {rows_columns[0]} x {rows_columns[1]}")
        values = self._array(_REAL_TYPES[kind[0]], rows_columns[0] * rows_columns[1])
        return values.reshape(rows_columns)

    def _text_integer(self) -> int:
        found = self.token()
        # Longer ones have no place in 32 bits.
        if not re.fullmatch(r"[+-]?[0-9]{1,10}", found) or abs(int(found)) >= 1 << 31:
            raise self.fault(f"expected an integer, found '{found[:40]}'")
        return int(found)

    def _text_real(self) -> float:
        found = self.token()
        try:
            return float(np.float32(found))
        except ValueError:
            raise self.fault(f"expected a number, found '{found[:40]}'") from None

    def _bracketed(self) -> bytes:
        self.token("[")
        end = self._data.find(b"]", self._place)
        if end < 0:
            raise self.fault("a list without its end ']'")
        found = self._data[self._place : end]
        self._place = end + 1
        return found

    def _numbers(self, text: bytes, dtype: np.dtype) -> np.ndarray:
        try:
            return np.array(text.split(), dtype=dtype)
        except (ValueError, OverflowError):
            raise self.fault("a list that holds something other than numbers") from None

    def _array(self, dtype: np.dtype, count: int) -> np.ndarray:
        if count < 0:
            raise self.fault(f"a list of {count} numbers")
        data = self._take(count * dtype.itemsize, f"{count} numbers")
        return np.frombuffer(data, dtype=dtype)

    def _take(self, count: int, what: str) -> bytes:
        end = self._place + count
        if end > len(self._data):
            raise self.fault(f"the file ends within {what}")
        taken = self._data[self._place : end]
        self._place = end
        return taken


class KaldiWriter:
    """Builds a file's bytes; the methods mirror those of :class:`KaldiReader`.

    Attributes:
        binary: whether the binary form is written.
    """

    def __init__(self, *, binary: bool = True):
        self.binary = binary
        self._parts: list[bytes] = [BINARY_MARK] if binary else []

    def token(self, *tokens: str) -> None:
        """Write tokens."""
        self._parts += [f"{token} ".encode() for token in tokens]

    def end_line(self) -> None:
        """End the line, in a text file."""
        if not self.binary:
            self._parts.append(b"\n")

    def integer(self, value: int, *, signed: bool = True) -> None:
        """Write a 32-bit integer."""
        if not self.binary:
            self.token(str(int(value)))
        else:
            self._parts.append(struct.pack("<bi", 4, value) if signed else _unsigned(value))

    def real(self, value: float) -> None:
        """Write a float."""
        if self.binary:
            self._parts.append(struct.pack("<bf", 4, value))
        else:
            self.token(_as_text(np.float32(value)))

    def integers(self, values: np.ndarray) -> None:
        """Write a vector (n,) of integers."""
        if self.binary:
            self._parts.append(struct.pack("<bi", 4, len(values)))
            self._parts.append(np.asarray(values, dtype="<i4").tobytes())
        else:
            self.token("[", *(str(int(value)) for value in values), "]")
            self.end_line()

    def vector(self, values: np.ndarray) -> None:
        """Write a vector (n,) of floats."""
        if self.binary:
            self.token("FV")
            self.integer(len(values))
            self._parts.append(np.asarray(values, dtype="<f4").tobytes())
        else:
            self.token("[", *map(_as_text, values.astype(np.float32)), "]")
            self.end_line()

    def matrix(self, values: np.ndarray) -> None:
        """Write a matrix (rows, columns) of floats."""
        if self.binary:
            self.token("FM")
            self.integer(values.shape[0])
            self.integer(values.shape[1])
            self._parts.append(np.ascontiguousarray(values, dtype="<f4").tobytes())
            return
        self.token("[")
        for row in values.astype(np.float32):
            self.end_line()
            self.token(*map(_as_text, row))
        self.token("]")
        self.end_line()

    def to_bytes(self) -> bytes:
        """All that was written."""
        return b"".join(self._parts)


def _unsigned(value: int) -> bytes:
    return struct.pack("<bI", -4, value)


def _as_text(value: np.float32) -> str:
    """The shortest decimal that gives the same float32 back."""
    return np.format_float_positional(value, trim="-") if value else "0"
