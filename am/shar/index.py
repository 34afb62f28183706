"""The index of a Shar data folder: what its shards hold, without opening one.

A Shar data folder::

    shar.json        this index
    features.json    what its features are, or how they are computed from its audio
    shar/            cuts.000000.jsonl.gz, features.000000.tar, ..., as lhotse writes them

``location`` may name another place than ``shar/``, such as an HTTP server.  Everything that a
training needs before it reads (sizes, numbers of batches, counts of labels) stands in the index.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from am.errors import InputError

INDEX_NAME = "shar.json"
SHARDS_NAME = "shar"
CUTS_FIELD = "cuts"
FEATURES, RECORDING = "features", "recording"
VERSION = 1
# The limits of lengths grow by this factor: a batch of them is planned at most so much too long.
LENGTH_STEP = 1.08
SHORTEST_LIMIT = 8
MEND = "copy the shard again, or make it again with utils/to_shar.py"


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
        sha256: field → checksum (hex) of its file.
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


@dataclass(frozen=True)
class SharIndex:
    """What a Shar data folder holds.

    Attributes:
        location: of the shards: a folder, relative to the index, or a URL.
        fields: beside the cuts.
        labels: kind of labels → what their store said of them (``num_pdfs``, ``tree_sha256``, …).
        pdf_counts: frames of each senone in the hard labels; empty without such.
        shards: in order.
    """

    location: str
    fields: tuple[str, ...]
    labels: Mapping[str, Mapping[str, Any]]
    pdf_counts: tuple[int, ...]
    shards: tuple[Shard, ...]

    @property
    def num_cuts(self) -> int:
        """Cuts of all shards."""
        return sum(shard.num_cuts for shard in self.shards)

    @property
    def num_frames(self) -> int:
        """Frames of all shards, at the low frame rate."""
        return sum(shard.num_frames for shard in self.shards)

    @property
    def hours(self) -> float:
        """Speech of all shards."""
        return sum(shard.seconds for shard in self.shards) / 3600

    def write(self, folder: Path) -> None:
        """Write it into a Shar data folder."""
        values = {
            "version": VERSION,
            "cuts": self.num_cuts,
            "frames": self.num_frames,
            "hours": round(self.hours, 4),
            **dataclasses.asdict(self),
        }
        (folder / INDEX_NAME).write_text(json.dumps(values))

    @classmethod
    def parse(cls, text: bytes | str, name: str) -> SharIndex:
        """The index of a file's content; ``name`` stands for the file in errors.

        Raises:
            InputError: it is no index, or one of another version.
        """
        try:
            values = json.loads(text)
            if values["version"] != VERSION:
                raise ValueError(f"version {values['version']}, not {VERSION}")
            return cls(
                values["location"],
                tuple(values["fields"]),
                values["labels"],
                tuple(values["pdf_counts"]),
                tuple(map(Shard.from_json, values["shards"])),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{name}: not an index of shards ({error!r}); {MEND}") from error


def is_shar(folder: Path) -> bool:
    """Whether this is a Shar data folder."""
    return (folder / INDEX_NAME).is_file()


def read_index(folder: Path) -> SharIndex:
    """The index of a Shar data folder.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    path = folder / INDEX_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; run utils/to_shar.py or utils/link_shar.py")
    return SharIndex.parse(path.read_bytes(), str(path))
