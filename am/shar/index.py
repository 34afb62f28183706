"""The index of a Shar data folder: what its shards hold, without opening one.

A Shar data folder::

    shar.json        what holds for all shards, and their totals
    shards.jsonl     a line for each shard
    features.json    what its features are, or how they are computed from its audio
    shar/            cuts.000000.jsonl.gz, features.000000.tar, ..., as lhotse writes them

``location`` may name another place than ``shar/``, such as an HTTP server.  Everything that a
training needs before it reads (sizes, numbers of batches, counts of labels) stands in the index,
and of a shard's line only its place in the file is kept in memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from am.errors import InputError

INDEX_NAME = "shar.json"
LINES_NAME = "shards.jsonl"
SHARDS_NAME = "shar"
CUTS_FIELD = "cuts"
FEATURES, RECORDING = "features", "recording"
VERSION = 2
# The limits of lengths grow by this factor: a batch of them is planned at most so much too long.
LENGTH_STEP = 1.08
SHORTEST_LIMIT = 8
MEND = "copy the shard again, or make it again with utils/to_shar.py"
INDEX_MEND = "copy the index again, or make it again with utils/to_shar.py"


def length_limit(num_frames: int) -> int:
    """The length that a cut of ``num_frames`` (10 ms) is counted with, at least its own.

    Limits are whole numbers that grow by :data:`LENGTH_STEP`, so that a shard has few of them.
    """
    limit = SHORTEST_LIMIT
    while limit < num_frames:
        limit = max(limit + 1, int(limit * LENGTH_STEP))
    return limit


def count_lengths(num_frames: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Pairs of length limit and number of cuts, from short to long."""
    return tuple(sorted(Counter(map(length_limit, num_frames)).items()))


@dataclass(frozen=True)
class Shard:
    """What one shard holds.

    Attributes:
        number: in the names of its files.
        num_cuts: how many.
        num_frames: at the low frame rate, of all its cuts.
        seconds: of speech.
        lengths: :func:`count_lengths` of its cuts.
        sha256: field → checksum (hex) of its file; of the cuts, uncompressed.
    """

    number: int
    num_cuts: int
    num_frames: int
    seconds: float
    lengths: tuple[tuple[int, int], ...]
    sha256: Mapping[str, str]

    def file_name(self, field: str) -> str:
        """The name of the file with a field of this shard, ``cuts`` included."""
        return file_name(field, self.number)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Shard:
        """The shard that :func:`dataclasses.asdict` turned into ``values``."""
        lengths = tuple((int(limit), int(count)) for limit, count in values["lengths"])
        return cls(**{**values, "lengths": lengths})


def file_name(field: str, number: int) -> str:
    """As lhotse names the file of a field."""
    return f"{field}.{number:06d}.{'jsonl.gz' if field == CUTS_FIELD else 'tar'}"


class ShardLines(Sequence[Shard]):
    """The shards of an index, read from its lines when they are asked for.

    Args:
        path: the lines.
        sha256: their checksum (hex).

    Raises:
        InputError: they are missing or altered.
    """

    def __init__(self, path: Path, sha256: str):
        self._path = path
        digest = hashlib.sha256()
        ends = []
        try:
            with path.open("rb") as stream:
                for line in stream:
                    digest.update(line)
                    ends.append(len(line))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; {INDEX_MEND}") from error
        if digest.hexdigest() != sha256:
            raise InputError(f"{path}: altered or truncated (checksum differs); {INDEX_MEND}")
        self._ends = np.cumsum(ends, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, position: int) -> Shard: ...

    @overload
    def __getitem__(self, position: slice) -> list[Shard]: ...

    def __getitem__(self, position: int | slice) -> Shard | list[Shard]:
        if isinstance(position, slice):
            return [self[index] for index in range(len(self))[position]]
        index = range(len(self))[position]
        with self._path.open("rb") as stream:
            stream.seek(int(self._ends[index - 1]) if index else 0)
            return Shard.from_json(json.loads(stream.readline()))

    def __iter__(self) -> Iterator[Shard]:
        with self._path.open("rb") as stream:
            for line in stream:
                yield Shard.from_json(json.loads(line))


@dataclass(frozen=True)
class IndexFacts:
    """What holds for all shards.

    Attributes:
        location: of the shards: a folder, relative to the index, or a URL.
        fields: beside the cuts.
        labels: kind of labels → what their store said of them (``num_pdfs``, ``tree_sha256``, …).
        pdf_counts: frames of each senone in the hard labels; empty without such.
        num_cuts, num_frames, hours: of all shards; frames at the low frame rate.
        lines_sha256: checksum (hex) of the shards' lines.
        version: of the format.
    """

    location: str
    fields: tuple[str, ...]
    labels: Mapping[str, Mapping[str, Any]]
    pdf_counts: tuple[int, ...]
    num_cuts: int
    num_frames: int
    hours: float
    lines_sha256: str
    version: int = VERSION

    def write(self, folder: Path) -> None:
        """Write them into a Shar data folder."""
        (folder / INDEX_NAME).write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def parse(cls, text: bytes, name: str) -> IndexFacts:
        """The facts in a file's content; ``name`` stands for the file in errors.

        Raises:
            InputError: it holds no such facts, or is of another version.
        """
        try:
            facts = cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise InputError(f"{name}: no index of shards; {INDEX_MEND}") from error
        if facts.version != VERSION:
            raise InputError(f"{name}: of version {facts.version}, not {VERSION}; {INDEX_MEND}")
        return dataclasses.replace(
            facts, fields=tuple(facts.fields), pdf_counts=tuple(facts.pdf_counts)
        )


class LinesWriter:
    """Writes the lines of an index, a shard at a time, and sums up; a context manager.

    Attributes:
        num_shards, num_cuts, num_frames, seconds: so far.
    """

    def __init__(self, folder: Path):
        self._path = folder / LINES_NAME
        self._digest = hashlib.sha256()
        self.num_shards = self.num_cuts = self.num_frames = 0
        self.seconds = 0.0

    def __enter__(self) -> LinesWriter:
        self._stream = self._path.open("wb")
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.close()

    def add(self, shard: Shard) -> None:
        """Append a shard."""
        line = json.dumps(dataclasses.asdict(shard)).encode() + b"\n"
        self._digest.update(line)
        self._stream.write(line)
        self.num_shards += 1
        self.num_cuts += shard.num_cuts
        self.num_frames += shard.num_frames
        self.seconds += shard.seconds

    def facts(
        self,
        fields: Iterable[str],
        labels: Mapping[str, Mapping[str, Any]],
        pdf_counts: Iterable[int],
    ) -> IndexFacts:
        """What holds for all shards; the arguments are :class:`IndexFacts`'s."""
        return IndexFacts(
            SHARDS_NAME,
            tuple(fields),
            labels,
            tuple(pdf_counts),
            self.num_cuts,
            self.num_frames,
            round(self.seconds / 3600, 6),
            self._digest.hexdigest(),
        )


def is_shar(folder: Path) -> bool:
    """Whether this is a Shar data folder."""
    return (folder / INDEX_NAME).is_file()


def read_facts(folder: Path) -> IndexFacts:
    """What holds for all shards of a Shar data folder.

    Raises:
        InputError: it has no index, or one that cannot be used.
    """
    path = folder / INDEX_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; run utils/to_shar.py or utils/link_shar.py")
    return IndexFacts.parse(path.read_bytes(), str(path))
