"""The alignment of a whole data folder, shard by shard, by an executor's workers."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from am.alignment.aligner import Aligner
from am.alignment.failures import FAILED_NAME, write_failures
from am.alignment.transcripts import log_unknown_words
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import count_cuts, open_feature_data
from am.outputs import unfinished_folder
from am.processes import chunks
from am.shards import make_shards
from am.storage import shard_fault, shard_paths, write_shard

log = logging.getLogger(__name__)

CUTS_A_SHARD = 256
PARTS_NAME = "parts"


@dataclass(frozen=True)
class _ShardFacts:
    """What became of the cuts of one shard, or of several.

    Attributes:
        cuts, frames: that were aligned.
        score: of their paths, see :class:`am.alignment.viterbi.Alignment`.
        failures: cuts without an alignment, with the reason.
        unknown_words: of the transcripts, how often each was met.
    """

    cuts: int = 0
    frames: int = 0
    score: float = 0.0
    failures: list[tuple[str, str]] = field(default_factory=list)
    unknown_words: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: _ShardFacts) -> _ShardFacts:
        return _ShardFacts(
            self.cuts + other.cuts,
            self.frames + other.frames,
            self.score + other.score,
            self.failures + other.failures,
            Counter(self.unknown_words) + Counter(other.unknown_words),
        )


def write_alignments(
    make_aligner: Callable[[], Aligner],
    data_folder: Path,
    output: Path,
    executor: Executor,
    device: torch.device,
) -> int:
    """Align a feature data folder; write the shards of a store, and ``failed.tsv``.

    Finished shards of an unfinished run in ``output`` are kept.

    Args:
        make_aligner: called without arguments by a worker; picklable.
        data_folder: cuts with the features that the model reads, and transcripts.
        output: gets the files.
        executor: what aligns; the result does not depend on it.
        device: where the aligner's tensors live.

    Returns:
        the number of shards.

    Raises:
        InputError: no cut could be aligned, or shards failed.
    """
    shards = enumerate(chunks(open_feature_data(data_folder), CUTS_A_SHARD))
    num_shards = -(-count_cuts(data_folder) // CUTS_A_SHARD)
    (output / PARTS_NAME).mkdir(parents=True, exist_ok=True)
    make_shards(
        _align_shard,
        partial(_State.make, make_aligner, output),
        ((shard_paths(output, index)[0].stem, (index, cuts)) for index, cuts in shards),
        num_shards,
        executor,
        output,
        description="aligning",
        share_state=device.type == "cpu",
        at_most=None if device.type == "cpu" else 1,
    )
    facts = _ShardFacts()
    for index in range(num_shards):
        facts += _ShardFacts(**json.loads(_facts_path(output, index).read_text()))
    if not facts.cuts:
        raise InputError(
            f"{data_folder}: no cut could be aligned; the first, "
            f"{': '.join(facts.failures[0])}; check transcripts, lexicon and durations"
        )
    write_failures(output / FAILED_NAME, facts.failures)
    log_unknown_words(Counter(facts.unknown_words))
    log.info(
        "aligned %d cuts, %d frames, scaled score %.3f a frame",
        facts.cuts,
        facts.frames,
        facts.score / facts.frames,
    )
    shutil.rmtree(output / PARTS_NAME)
    return num_shards


@dataclass(frozen=True)
class _State:
    aligner: Aligner
    output: Path

    @classmethod
    def make(cls, make_aligner: Callable[[], Aligner], output: Path) -> _State:
        return cls(make_aligner(), output)


def _facts_path(output: Path, index: int) -> Path:
    return output / PARTS_NAME / f"{index:05d}.json"


def _align_shard(state: _State, shard: tuple[int, list[Any]]) -> None:
    index, cuts = shard
    facts_path = _facts_path(state.output, index)
    if facts_path.is_file() and shard_fault(state.output, index) is None:
        return
    aligned = state.aligner.align(cuts)
    record = state.aligner.model.record
    found = aligned.alignments
    write_shard(
        state.output,
        index,
        ((cut_id, record(alignment.transition_ids)) for cut_id, alignment in found.items()),
    )
    facts = _ShardFacts(
        len(found),
        sum(len(alignment.transition_ids) for alignment in found.values()),
        sum(alignment.score for alignment in found.values()),
        aligned.failures,
        dict(aligned.unknown_words),
    )
    with unfinished_folder(facts_path.parent) as aside:
        (aside / facts_path.name).write_text(json.dumps(asdict(facts)))
        (aside / facts_path.name).replace(facts_path)
