"""Reading and writing ARPA files (the format is described in SRILM's ``ngram-format.5``)."""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from am.errors import InputError
from am.lm.model import LOG10_ZERO, ArpaModel, NgramOrder
from am.lm.text import decode_line, open_bytes

_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_SECTION = re.compile(r"\\(\d+)-grams:")
# Rounding lets some tools write a probability a little above 1.
_ROUNDING = 1e-3
Numbered = Iterator[tuple[int, str]]


def read_arpa(path: Path) -> ArpaModel:
    """Read an ARPA file; a name that ends with ``.gz`` is gzip.

    Fields may be separated by tabs or spaces, backoff weights may be absent, and text before
    ``\\data\\`` is skipped.

    Raises:
        InputError: names file and line of what is malformed.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such language model; give an ARPA file")
    try:
        with open_bytes(path) as stream:
            lines = (
                (number, decode_line(line, path, number).strip())
                for number, line in enumerate(stream, 1)
            )
            return _Parser(path, lines).parse()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a whole gzip file ({error}); make it again") from error


def write_arpa(model: ArpaModel, path: Path, *, compress: bool) -> None:
    """Write a model as an ARPA file, gzip if ``compress``; the bytes depend on the model alone."""
    with contextlib.ExitStack() as stack:
        stream: IO[bytes] = stack.enter_context(path.open("wb"))
        if compress:
            # Without name and time of writing, which would make equal models differ.
            packed = gzip.GzipFile("", "wb", compresslevel=6, fileobj=stream, mtime=0)
            stream = stack.enter_context(io.BufferedWriter(packed, 1 << 20))
        counts = [f"ngram {order}={len(level)}" for order, level in enumerate(model.orders, 1)]
        stream.write("\n".join(["\\data\\", *counts, ""]).encode())
        for order in range(1, model.order + 1):
            stream.write(f"\n\\{order}-grams:\n".encode())
            stream.writelines(line.encode() for line in _order_lines(model, order))
        stream.write(b"\n\\end\\\n")


def _order_lines(model: ArpaModel, order: int) -> Iterator[str]:
    level = model.orders[order - 1]
    backoffs = level.log10_backoff.tolist()
    for words, prob, backoff in zip(
        model.ngrams(order).tolist(), level.log10_prob.tolist(), backoffs, strict=True
    ):
        text = " ".join([model.words[word] for word in words])
        weight = f"\t{backoff:.7f}" if backoff != 0.0 else ""
        yield f"{prob:.7f}\t{text}{weight}\n"


class _Parser:
    """One pass over the lines of an ARPA file."""

    def __init__(self, path: Path, lines: Numbered):
        self._path = path
        self._lines = lines
        self._number = 0
        self._words: dict[str, int] = {}
        self._orders: list[NgramOrder] = []

    def parse(self) -> ArpaModel:
        counts, line = self._header()
        for order, count in enumerate(counts, 1):
            match = _SECTION.fullmatch(line)
            if not match or int(match[1]) != order:
                raise self._error(f"expected '\\{order}-grams:', found '{line}'")
            line = self._section(order, count)
        if line != "\\end\\":
            raise self._error(f"expected '\\end\\', found '{line}'")
        return ArpaModel(tuple(self._words), tuple(self._orders))

    def _header(self) -> tuple[list[int], str]:
        """The n-gram counts, and the line after them."""
        while self._next() != "\\data\\":
            pass
        counts: list[int] = []
        while match := _COUNT.fullmatch(line := self._next()):
            if int(match[1]) != len(counts) + 1:
                raise self._error(f"expected 'ngram {len(counts) + 1}=...', found '{line}'")
            counts.append(int(match[2]))
        if not counts:
            raise self._error("expected 'ngram 1=COUNT'")
        return counts, line

    def _section(self, order: int, count: int) -> str:
        """Read the n-grams of one order; returns the line after them."""
        words: list[list[int]] = []
        probs: list[float] = []
        backoffs: list[float] = []
        numbers: list[int] = []
        while not (line := self._next()).startswith("\\"):
            fields = line.split()
            if len(fields) not in (order + 1, order + 2):
                raise self._error(
                    f"expected a probability, {order} words and perhaps a backoff weight, "
                    f"found {len(fields)} fields"
                )
            words.append([self._word(word, order) for word in fields[1 : order + 1]])
            probs.append(self._probability(fields[0]))
            backoffs.append(self._float(fields[-1]) if len(fields) == order + 2 else 0.0)
            numbers.append(self._number)
        if len(words) != count:
            raise self._error(f"the header announces {count} {order}-grams, found {len(words)}")
        table = np.array(words, dtype=np.int64).reshape(-1, order)
        self._add_order(table, np.array(probs), np.array(backoffs), np.array(numbers))
        return line

    def _add_order(
        self, table: np.ndarray, probs: np.ndarray, backoffs: np.ndarray, numbers: np.ndarray
    ) -> None:
        order = table.shape[1]
        history = np.zeros(len(table), dtype=np.int64)
        if order > 1:
            so_far = ArpaModel(tuple(self._words), tuple(self._orders))
            history = so_far.find(table[:, :-1])
            for row in np.flatnonzero(history < 0)[:1]:
                self._number = int(numbers[row])
                raise self._error(f"the history of this {order}-gram is not in the model")
        sorting = np.lexsort((table[:, -1], history))
        history, word = history[sorting], table[sorting, -1]
        repeated = (np.diff(history) == 0) & (np.diff(word) == 0)
        for row in np.flatnonzero(repeated)[:1]:
            self._number = int(numbers[sorting[row + 1]])
            raise self._error(f"this {order}-gram stands twice in the model")
        self._orders.append(NgramOrder(history, word, probs[sorting], backoffs[sorting]))

    def _word(self, word: str, order: int) -> int:
        if order == 1:
            if word in self._words:
                raise self._error(f"the unigram '{word}' stands twice")
            self._words[word] = len(self._words)
        elif word not in self._words:
            raise self._error(f"the word '{word}' is not among the unigrams")
        return self._words[word]

    def _probability(self, text: str) -> float:
        value = self._float(text)
        if value > _ROUNDING:
            raise self._error(f"log10 probability {text} is above 0")
        return min(value, 0.0)

    def _float(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isnan(value) or value == math.inf:
            raise self._error(f"'{text}' is not a log10 weight")
        return max(value, LOG10_ZERO)

    def _next(self) -> str:
        """The next line that is not empty."""
        for number, line in self._lines:
            self._number = number
            if line:
                return line
        raise self._error("the file ends too early; make it again")

    def _error(self, text: str) -> InputError:
        return InputError(f"{self._path}:{self._number}: {text}")
