"""The lattices of a decoding on disk: a store (:mod:`am.storage`) and the words' symbol table."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from am.decoding.decoder import Scales
from am.errors import InputError
from am.k2.graph import FINAL_LABEL
from am.lang.lang import read_symbols
from am.storage import RaggedStore, Record, check_store, write_shard, write_store_description

KIND = "word lattices"
FIELDS = ("source", "target", "label", "words", "graph_score", "acoustic_score")
CUTS_PER_SHARD = 64
WORDS_NAME = "words.txt"


class LatticeWriter:
    """Writes lattices shard by shard.

    Args:
        folder: the store; is made.
        graph_dir: the graph folder that was decoded with.
    """

    def __init__(self, folder: Path, graph_dir: Path):
        folder.mkdir()
        shutil.copyfile(graph_dir / WORDS_NAME, folder / WORDS_NAME)
        self._folder = folder
        self._records: list[tuple[str, Record]] = []
        self._num_shards = 0

    def write(self, cut_id: str, record: Record) -> None:
        """Add a cut's lattice (:mod:`am.k2.lattices`)."""
        self._records.append((cut_id, record))
        if len(self._records) == CUTS_PER_SHARD:
            self._write_shard()

    def finish(self, scales: Scales, frame_shift: float) -> None:
        """Write what is left, and the store's description.

        Args:
            scales: that the lattices were made with; the penalty is part of the graph's scores.
            frame_shift: seconds a frame.
        """
        if self._records:
            self._write_shard()
        write_store_description(
            self._folder,
            {
                "kind": KIND,
                "fields": FIELDS,
                "frame_shift": frame_shift,
                "num_shards": self._num_shards,
                **asdict(scales),
            },
        )

    def _write_shard(self) -> None:
        write_shard(self._folder, self._num_shards, self._records)
        self._num_shards += 1
        self._records = []


class LatticeStore:
    """Random access to the lattices of a decoding by cut id, in the order of decoding.

    Attributes:
        acoustic_scale: that they were made with.
        words: word by word-id.
    """

    def __init__(self, folder: Path):
        """Raise InputError unless the folder is a whole, unaltered store of lattices."""
        self.folder = folder
        self._store = RaggedStore(folder)
        if self._store.kind != KIND:
            raise InputError(
                f"{folder}: holds {self._store.kind}, not {KIND}; give the lattices folder of "
                "steps/decode.py --decoder k2 --lattices"
            )
        check_store(folder)
        if len(self._store) == 0:
            raise InputError(f"{folder}: holds no lattice; see failed.tsv beside it")
        self.acoustic_scale = float(self._store.description["acoustic_scale"])
        self.words = {number: word for word, number in read_symbols(folder / WORDS_NAME).items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._store)

    def __len__(self) -> int:
        return len(self._store)

    def __contains__(self, cut_id: str) -> bool:
        return cut_id in self._store

    def __getitem__(self, cut_id: str) -> Record:
        record = self._store[cut_id]
        if not (record["label"] == FINAL_LABEL).any():
            raise InputError(f"{self.folder}: {cut_id}: an empty lattice; decode again")
        return record

    def words_of(self, word_ids: Iterable[int]) -> list[str]:
        """The words of a path."""
        return [self.words[word_id] for word_id in word_ids]
