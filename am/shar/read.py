"""Reading a Shar data folder, shard by shard, wherever its shards lie.

A shard's files are fetched whole, checked against their checksums, and its cuts come with all their
data in memory.  Nothing else is kept, so memory does not grow with the corpus.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from lhotse import MonoCut
from lhotse.serialization import decode_json_line, deserialize_item
from lhotse.shar.readers.tar import iterate_tarfile_pairwise
from lhotse.shar.utils import fill_shar_placeholder

from am.errors import InputError
from am.features.computed import computed_features
from am.features.feature_data import describe_features, extractor_settings
from am.shar.index import CUTS_FIELD, FEATURES, LINES_NAME, MEND, Shard, ShardLines, read_facts
from am.shar.location import is_url, join, read_file


class SharData:
    """A Shar data folder; iterates over its cuts, in order.

    Attributes:
        folder: where its index lies.
        facts: that hold for all shards.
        shards: what each holds.
        location: a folder or URL.
        description: of the cuts' features.
    """

    def __init__(self, folder: Path):
        """Look through the index.

        Raises:
            InputError: it is missing or cannot be used.
        """
        self.folder = folder
        self.facts = read_facts(folder)
        self.shards = ShardLines(folder / LINES_NAME, self.facts.lines_sha256)
        given = self.facts.location
        self.location = given if is_url(given) else str(folder / given)
        self.description = describe_features(folder)
        computes = FEATURES not in self.facts.fields
        self._extractor = extractor_settings(folder) if computes else None

    def __iter__(self) -> Iterator[MonoCut]:
        for position in range(len(self.shards)):
            yield from self.read_shard(position)

    def read_shard(self, position: int) -> list[MonoCut]:
        """The cuts of the shard at a position of the index, their data in memory.

        Raises:
            InputError: a file of it is missing, damaged or cannot be reached; names it.
        """
        shard = self.shards[position]
        lines = self._content(shard, CUTS_FIELD).splitlines()
        cuts = [deserialize_item(decode_json_line(line.decode())) for line in lines]
        for field in self.facts.fields:
            self._attach(cuts, shard, field)
        if self._extractor is not None:
            for cut in cuts:
                cut.features = computed_features(cut, self.description.kind, self._extractor)
        return cuts

    def _content(self, shard: Shard, field: str) -> bytes:
        return read_file(self.location, shard.file_name(field), shard.sha256[field])

    def _attach(self, cuts: list[MonoCut], shard: Shard, field: str) -> None:
        content = BytesIO(self._content(shard, field))
        try:
            for cut, (manifest, path) in zip(cuts, _manifests(content), strict=True):
                if str(path.with_suffix("")) != cut.id:
                    raise ValueError(f"{path} stands where cut {cut.id} is expected")
                setattr(cut, field, manifest)
        except (ValueError, RuntimeError, tarfile.TarError) as error:
            name = join(self.location, shard.file_name(field))
            raise InputError(f"{name}: {error}; {MEND}") from error


def _manifests(content: BytesIO) -> Iterator[tuple[Any, Path]]:
    """What is in a tar file of a field: manifests with their data, and paths of those data.

    lhotse's ``TarIterator`` for files that are in memory already.
    """
    with tarfile.open(fileobj=content, mode="r:") as tar:
        for (data, path), (text, _) in iterate_tarfile_pairwise(tar):
            manifest = deserialize_item(decode_json_line(text.decode()))
            fill_shar_placeholder(manifest, data=data, tarpath=path)
            yield manifest, path
