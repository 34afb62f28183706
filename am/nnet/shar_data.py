"""Training data in shards: batches of cuts that are read in order and never twice in a pass.

Which batch comes when follows from the index of the shards, the seed and the number of processes
alone.  So a training that was stopped finds its place by counting, and reads no shard before it.

1. The shards are put into random order and dealt out to the processes, and in each to its lanes:
   the next one goes to whoever has fewest batches.
2. Batches of a process come from its lanes in turn.  A lane has one shard in memory, and a worker
   of the DataLoader has whole lanes.
3. The cuts of a shard, shuffled, then sorted by length limit (:func:`am.shar.index.length_limit`),
   are cut up into batches, which are shuffled.  How many there are depends on the limits, which
   the index tells, and not on the order.

Shapes: T frames at 10 ms.
"""

from __future__ import annotations

import itertools
import logging
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from lhotse import MonoCut
from torch.utils.data import Dataset

from am.errors import InputError
from am.nnet.audio_augmentation import AudioAugmenter
from am.nnet.batch import LoadedBatch
from am.nnet.data import BatchingSettings, Labels, load_batch, loaded_batches
from am.nnet.length_batches import LengthBatch, batches_of_cuts, batches_of_lengths
from am.nnet.training_plan import SourceSize
from am.parallel.sharing import Share
from am.shar.index import INDEX_NAME, Shard
from am.shar.labels import ShardLabels
from am.shar.read import SharData

log = logging.getLogger(__name__)


class ShardedCuts:
    """Shards of cuts with labels, to be read in batches again and again.

    A :class:`am.nnet.data.LabelledCuts` for data that are never read at random.

    Args:
        name: what the log calls them.
        data: the shards.
        labels: of all their cuts.
        settings: how batches are made.
        augmenter: changes the audio; None takes the features as they are.
        positions: of the shards in the index; None takes all.

    Attributes:
        name, data, labels: as given.
        manifest: the index.
        num_cuts, num_frames: how many, and their 30 ms frames before any change of speed.
    """

    def __init__(
        self,
        name: str,
        data: SharData,
        labels: ShardLabels,
        settings: BatchingSettings,
        augmenter: AudioAugmenter | None = None,
        positions: Sequence[int] | None = None,
    ):
        self.name = name
        self.data = data
        self.labels = labels
        self.manifest = data.folder / INDEX_NAME
        self._settings = settings
        self._augmenter = augmenter
        everything = range(len(data.shards))
        self._positions = list(everything if positions is None else positions)
        self._max_frames = round(settings.process_batch_seconds / data.description.frame_shift)
        self._num_batches: dict[int, int] = {}
        self.num_cuts = self.num_frames = 0
        for position in self._positions:
            shard = data.shards[position]
            self.num_cuts += shard.num_cuts
            self.num_frames += shard.num_frames
            self._num_batches[position] = len(self._planned(shard))

    def _planned(self, shard: Shard) -> list[LengthBatch]:
        return batches_of_lengths(shard.lengths, self._max_frames)

    def size(self, chunk_seconds: float = 0.0) -> SourceSize:
        """Frames and updates of a pass; with chunks, an update each."""
        if chunk_seconds == 0.0:
            return SourceSize(self.num_frames, sum(self._num_batches.values()))
        chunk_frames = round(chunk_seconds / self.data.description.frame_shift)
        updates = 0
        for position in self._positions:
            for batch in self._planned(self.data.shards[position]):
                updates += -(-batch.longest // chunk_frames)
        return SourceSize(self.num_frames, updates)

    def batches(self, seed: int, shuffle: bool = True, skip: int = 0) -> Iterator[LoadedBatch]:
        """One pass over all cuts.

        Args:
            seed: of the order; the same seed gives the same batches.
            shuffle: whether the order is random.
            skip: leave out that many batches at the start, without reading the shards before.

        Raises:
            InputError: a shard is missing, damaged or out of reach; names it.
        """
        rounds = self.rounds(seed, Share(), shuffle, skip)
        return (batch for batch in rounds if batch is not None)

    def rounds(
        self, seed: int, share: Share, shuffle: bool = True, skip: int = 0
    ) -> Iterator[LoadedBatch | None]:
        """One pass of a process among several, over its share of the shards.

        Args:
            seed, shuffle, skip: as of :meth:`batches`.
            share: which process.

        Yields:
            A batch each round, or None where this process has none left; all processes have as
            many rounds.

        Raises:
            InputError: as of :meth:`batches`.
        """
        lanes = self._lanes(seed, share.size, shuffle)
        counts = [sum(self._num_batches[p] for lane in one for p in lane) for one in lanes]
        jobs = _Jobs(self._jobs(lanes[share.rank], skip))
        dataset = _ShardBatches(self, seed, shuffle)
        for batch in loaded_batches(dataset, jobs, self._settings.num_workers):
            if batch is not None:
                yield batch
        for _ in range(max(skip, counts[share.rank]), max(counts)):
            yield None

    def _lanes(self, seed: int, num_processes: int, shuffle: bool) -> list[list[list[int]]]:
        """[process][lane] → positions of shards, in the order of reading."""
        if len(self._positions) < num_processes:
            log.warning(
                "%s: %s: %d shards for %d processes, so some have nothing to do; make smaller "
                "shards (utils/to_shar.py --shard-size)",
                self.manifest,
                self.name,
                len(self._positions),
                num_processes,
            )
        workers = max(1, self._settings.num_workers)
        num_lanes = -(-self._settings.open_shards // workers) * workers
        order = self._positions
        if shuffle:
            order = np.random.default_rng(seed).permutation(order).tolist()
        counts = np.zeros((num_processes, num_lanes), dtype=np.int64)
        lanes: list[list[list[int]]] = [[[] for _ in range(num_lanes)] for _ in counts]
        for position in order:
            process = int(counts.sum(axis=1).argmin())
            lane = int(counts[process].argmin())
            lanes[process][lane].append(position)
            counts[process, lane] += self._num_batches[position]
        return lanes

    def _jobs(self, lanes: Sequence[Sequence[int]], skip: int) -> Iterator[_Job | None]:
        """Batches from each lane in turn, but for the first ``skip``.

        None stands for a lane that has come to its end: a DataLoader gives its jobs to the workers
        in turn, so that a lane's are always done by the same one.
        """
        totals = [sum(self._num_batches[position] for position in lane) for lane in lanes]

        def batches_before(turn: int) -> int:
            return sum(min(total, turn) for total in totals)

        turn = bisect_right(range(max(totals) + 1), skip, key=batches_before) - 1
        left = skip - batches_before(turn)
        streams = [
            self._jobs_of_lane(lane, positions, turn) for lane, positions in enumerate(lanes)
        ]
        for job in itertools.chain.from_iterable(itertools.zip_longest(*streams)):
            if left == 0:
                yield job
            elif job is not None:
                left -= 1

    def _jobs_of_lane(self, lane: int, positions: Sequence[int], start: int) -> Iterator[_Job]:
        """Its batches from number ``start`` on."""
        for position in positions:
            num_batches = self._num_batches[position]
            for batch in range(min(start, num_batches), num_batches):
                yield _Job(lane, position, batch)
            start = max(0, start - num_batches)

    def open_shard(self, position: int, seed: int, shuffle: bool) -> OpenShard:
        """Read a shard and cut it up into batches."""
        cuts = self.data.read_shard(position)
        planned = self._planned(self.data.shards[position])
        generator = np.random.default_rng([seed, position]) if shuffle else None
        batches = batches_of_cuts(cuts, planned, generator)
        return OpenShard(position, dict(enumerate(batches)), self.labels.of(position, cuts))

    def load(self, cuts: Sequence[MonoCut], labels: Labels, seed: int) -> LoadedBatch:
        """Make a batch of cuts whose data are in memory."""
        return load_batch(cuts, labels, self._augmenter, seed)


@dataclass(frozen=True)
class _Job:
    """One batch to load: the ``batch``-th of the shard at ``position``."""

    lane: int
    position: int
    batch: int


class _Jobs:
    """A sampler of jobs."""

    def __init__(self, jobs: Iterator[_Job | None]):
        self._jobs = jobs

    def __iter__(self) -> Iterator[_Job | None]:
        return self._jobs


@dataclass
class OpenShard:
    """A shard in memory.

    Attributes:
        position: in the index.
        batches: those to come, by number.
        labels: of its cuts.
    """

    position: int
    batches: dict[int, list[MonoCut]]
    labels: Labels


class _ShardBatches(Dataset[LoadedBatch | InputError | None]):
    """Does the jobs of a process, or those of a worker's lanes; keeps their shards in memory."""

    def __init__(self, cuts: ShardedCuts, seed: int, shuffle: bool):
        self._cuts = cuts
        self._seed = seed
        self._shuffle = shuffle
        self._open: dict[int, OpenShard] = {}

    def __getitem__(self, job: _Job | None) -> LoadedBatch | InputError | None:
        if job is None:
            return None
        try:
            shard = self._opened(job)
            cuts = shard.batches.pop(job.batch)
            if job.batch + 1 not in shard.batches:
                del self._open[job.lane]
            return self._cuts.load(cuts, shard.labels, self._seed)
        except InputError as error:  # raised in a worker it would become a traceback in a string
            return error

    def _opened(self, job: _Job) -> OpenShard:
        if job.lane not in self._open:
            shard = self._cuts.open_shard(job.position, self._seed, self._shuffle)
            for done in range(job.batch):
                del shard.batches[done]
            self._open[job.lane] = shard
        return self._open[job.lane]
