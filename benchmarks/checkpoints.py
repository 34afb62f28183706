#!/usr/bin/env python3
"""What a checkpoint costs, and how long a training takes to find its place in a folder of features.

First table: a checkpoint of the main process with bmuf and Adam, five times a model of so many
megabytes, against torch's bare writing (flushed to the disk) and reading of the same tensors.
"Processor": seconds of this process alone (CPU time).  Second table: a manifest of so many made-up
cuts is opened, and gone through in batches as it is to find a place in a pass.  Shards have a
benchmark of their own, benchmarks/resume_in_shards.py.

Example:

    benchmarks/checkpoints.py --megabytes 97 --cuts 50000
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lhotse import CutSet, Features, MonoCut

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.inspection.tables import table
from am.nnet.checkpoint import CheckpointFolder, SavedTraining, TrainingState
from am.nnet.data import BatchingSettings, LabelledCuts
from am.outputs import flush_to_disk
from am.parallel.process_group import ProcessGroup

BYTES_A_VALUE = 4


class AllLabelled(set[str]):
    """Labels that every cut has."""

    def __contains__(self, cut_id: object) -> bool:
        return True


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and processor seconds."""
    started, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - started, time.process_time() - processor


def checkpoint_rows(folder: Path, megabytes: float) -> list[list[str]]:
    """Rows of the first table."""
    names = ["model", "global model", "its last change", "mean", "variance"]
    values = {name: torch.randn(int(megabytes * 1e6 / BYTES_A_VALUE)) for name in names}
    own = {name: values.pop(name) for name in names[3:]}
    bare = folder / "bare.pt"
    checkpoints = CheckpointFolder(folder / "checkpoints", ProcessGroup(), 1)

    def write_bare() -> None:
        torch.save([values, own], bare)
        flush_to_disk(bare)

    def row(name: str, ours: Callable[[], object], reference: Callable[[], object]) -> list[str]:
        reference_seconds, _ = timed(reference)
        seconds, processor = timed(ours)
        numbers = seconds, processor, seconds / reference_seconds
        return [name, f"{5 * megabytes:g}", *(f"{number:.2f}" for number in numbers)]

    return [
        row(
            "written",
            lambda: checkpoints.save(TrainingState(), SavedTraining(values, own)),
            write_bare,
        ),
        row("read", checkpoints.load, lambda: torch.load(bare, weights_only=True)),
    ]


def write_manifest(path: Path, num_cuts: int) -> None:
    """Cuts of 2 to 18 seconds without features."""
    lengths = np.random.default_rng(0).integers(200, 1800, num_cuts).tolist()
    with CutSet.open_writer(path) as writer:
        for index, num_frames in enumerate(lengths):
            seconds = num_frames / 100
            cut = MonoCut(f"speaker-{index:08d}", 0, seconds, channel=0)
            cut.features = Features(
                "none", num_frames, 64, 0.01, 16000, 0, seconds, "none", "features", f"{index}"
            )
            writer.write(cut)


def folder_row(folder: Path, num_cuts: int) -> list[str]:
    """A row of the second table."""
    manifest = folder / "cuts.jsonl.gz"
    write_manifest(manifest, num_cuts)
    opened: list[LabelledCuts] = []
    settings = BatchingSettings(batch_seconds=200.0)
    _, opening = timed(
        lambda: opened.append(LabelledCuts("made up", manifest, AllLabelled(), settings))
    )
    _, going_through = timed(lambda: sum(1 for _ in opened[0].sampler(1)))
    return [
        str(num_cuts),
        *(f"{1e6 * seconds / num_cuts:.0f}" for seconds in (opening, going_through)),
    ]


def main() -> None:
    """Parse the options and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=97.0)
    parser.add_argument("--cuts", type=int, default=50_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        head = ["checkpoint", "MB", "seconds", "processor", "of bare torch"]
        print("\n".join(table([head, *checkpoint_rows(Path(name), options.megabytes)])), "\n")
        head = ["cuts", "opened, µs a cut", "gone through, µs a cut"]
        print("\n".join(table([head, folder_row(Path(name), options.cuts)])))


if __name__ == "__main__":
    main()
