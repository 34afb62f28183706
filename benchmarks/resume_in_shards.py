#!/usr/bin/env python3
"""How long a training that was stopped takes to find its place in a corpus of shards.

The index of so many hours (1,000 cuts of 2 to 18 seconds a shard) is made up, and so is what its
shards hold.  "Opened": the index read, and the batches of all shards counted.  "Next batch": the
first one of a pass, and the one half way through it, each with the shard that it is in.  Seconds of
this process alone (CPU time).

Example:

    benchmarks/resume_in_shards.py --hours 1000 10000 100000
"""

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lhotse import Features, MonoCut

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.features.low_frame_rate import num_low_rate_frames
from am.inspection.tables import table
from am.nnet.data import BatchingSettings, Labels
from am.nnet.shar_data import ShardedCuts
from am.shar.index import LinesWriter, Shard, count_lengths
from am.shar.read import SharData

CUTS = 1000
KINDS = 50
BATCH_SECONDS = 200.0


class MadeUpShards(SharData):
    """Shards of features that are all 0."""

    def read_shard(self, position: int) -> list[MonoCut]:
        """A cut of each length that the index tells of."""
        lengths = self.shards[position].lengths
        return [_cut(f"{position}-{i}-{n}", n) for n, count in lengths for i in range(count)]


class NoLabels:
    """Labels that are all 0."""

    def of(self, position: int, cuts: Sequence[MonoCut]) -> Labels:
        """Those of some cuts."""
        return {
            cut.id: {"pdf_ids": np.zeros(num_low_rate_frames(cut.num_frames), np.int32)}
            for cut in cuts
        }


def _cut(cut_id: str, num_frames: int) -> MonoCut:
    stream = io.BytesIO()
    np.save(stream, np.zeros((num_frames, 4), np.float16))
    seconds = num_frames / 100
    cut = MonoCut(cut_id, 0, seconds, channel=0)
    cut.features = Features(
        "none", num_frames, 4, 0.01, 16000, 0, seconds, "memory_npy", "", stream.getvalue()
    )
    return cut


def make_index(folder: Path, hours: float) -> None:
    """An index of so many hours."""
    random = np.random.default_rng(0)
    sha256 = dict.fromkeys(("cuts", "features", "soft_labels"), "0" * 64)
    kinds = [random.integers(200, 1800, CUTS).tolist() for _ in range(KINDS)]
    counted = [count_lengths(lengths) for lengths in kinds]
    frames = [sum(map(num_low_rate_frames, lengths)) for lengths in kinds]
    with LinesWriter(folder) as writer:
        while writer.seconds < hours * 3600:
            number = writer.num_shards
            kind = number % KINDS
            seconds = sum(kinds[kind]) / 100
            writer.add(Shard(number, CUTS, frames[kind], seconds, counted[kind], sha256))
    writer.facts(["features"], {}, []).write(folder)
    settings = {"kind": "lfbe", "dimension": 4, "frame_shift": 0.01}
    (folder / "features.json").write_text(json.dumps(settings))


def measure(hours: float) -> list[str]:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as name:
        make_index(Path(name), hours)
        started = time.process_time()
        data = MadeUpShards(Path(name))
        cuts = ShardedCuts("made up", data, NoLabels(), BatchingSettings(BATCH_SECONDS))
        opened = time.process_time() - started
        seconds = []
        for skip in (0, cuts.size().updates // 2):
            started = time.process_time()
            next(cuts.batches(1, skip=skip))
            seconds.append(time.process_time() - started)
    values = [f"{value:.2f}" for value in (opened, *seconds)]
    return [f"{hours:g}", str(len(data.shards)), *values]


def main() -> None:
    """Parse the options and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, nargs="+", default=[1000.0, 10000.0])
    options = parser.parse_args()
    head = ["hours", "shards", "opened, s", "first batch, s", "half way, s"]
    print("\n".join(table([head, *map(measure, options.hours)])))


if __name__ == "__main__":
    main()
