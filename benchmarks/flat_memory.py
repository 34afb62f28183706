#!/usr/bin/env python3
"""Peak memory of tools that read shards, as the corpus grows.

Random features (64 LFBE, cuts of 2 to 10 seconds) for so many hours are turned into shards
(utils/to_shar.py), a teacher's soft labels dumped from them (steps/dump_soft_labels.py), and a
student trained on them for one pass (steps/train_student.py): each a process of its own, whose
highest resident memory (max RSS, MB) is printed, and its growth from the first size to the last.
Exit status 1 if one grew by more than --max-growth.

glibc keeps more or less freed memory for itself, by chance: on one corpus the student's peak
differs by up to 8 % from run to run.  With its MALLOC_MMAP_THRESHOLD_ fixed, as here, by 0.1 %.

Example:

    benchmarks/flat_memory.sh --hours 1,4,16
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from lhotse import CutSet, Features, MonoCut

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.features.extractors import LfbeSettings
from am.features.feature_data import open_feature_data, write_feature_settings
from am.features.low_frame_rate import LowFrameRateFrontEnd, num_low_rate_frames
from am.features.storage import Float16FileWriter
from am.hmm.topology import Topology
from am.inspection.tables import table
from am.nnet.lstm import AcousticModel, LstmSettings
from am.nnet.network import save_network
from am.outputs import sha256_of_file
from am.storage import write_shard, write_store_description
from am.tree.context_tree import monophone_tree

ROOT = Path(__file__).resolve().parents[1]
NUM_PDFS = 300
CHANNELS = 64
# So many matrices are stored, and shared by the cuts.
NUM_MATRICES = 100
SMALL_HOURS = 0.05
STUDENT = (
    "lstm.num_layers=1 lstm.cells=64 schedule.epochs=1 schedule.parts=1 batching.batch_seconds=20"
)


def make_features(folder: Path, hours: float) -> Path:
    """A feature data folder of random features."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    lengths = random.integers(200, 1000, NUM_MATRICES).tolist()
    with (
        Float16FileWriter(folder / "features") as storage,
        CutSet.open_writer(folder / "cuts.jsonl.gz") as writer,
    ):
        matrices = (random.normal(-8.0, 3.0, (length, CHANNELS)) for length in lengths)
        stored = [
            (length, storage.write("", matrix))
            for length, matrix in zip(lengths, matrices, strict=True)
        ]
        seconds = 0.0
        for index, (length, key) in enumerate(itertools.cycle(stored)):
            if seconds >= hours * 3600:
                break
            cut = MonoCut(f"{folder.name}-{index:07d}", 0, length / 100, channel=0)
            cut.features = Features(
                "megahour-lfbe",
                length,
                CHANNELS,
                0.01,
                16000,
                0,
                cut.duration,
                storage.name,
                storage.storage_path,
                key,
                channels=0,
            )
            writer.write(cut)
            seconds += cut.duration
    write_feature_settings(folder, "lfbe", CHANNELS, LfbeSettings())
    return folder


def make_labels(folder: Path, data: Path, tree_sha256: str) -> None:
    """Random senone labels."""
    random = np.random.default_rng(0)
    description = {"kind": "pdf-ids", "frame_shift": 0.03, "fields": ["pdf_ids"]}
    facts = {"num_shards": 1, "num_pdfs": NUM_PDFS, "tree_sha256": tree_sha256}
    write_store_description(folder, {**description, **facts})
    records = []
    for cut in open_feature_data(data):
        size = num_low_rate_frames(cut.num_frames)
        records.append((cut.id, {"pdf_ids": random.integers(NUM_PDFS, size=size, dtype=np.int32)}))
    write_shard(folder, 0, records)


def make_task(folder: Path) -> None:
    """Senones, a teacher that knows nothing, and a little labelled and dev data."""
    phones = list(range(1, NUM_PDFS + 1))
    tree = monophone_tree([[phone] for phone in phones], Topology.uniform(phones, 1))
    (folder / "senones").mkdir(parents=True)
    tree.save(folder / "senones" / "tree.json")
    tree_sha256 = sha256_of_file(folder / "senones" / "tree.json")
    for name in ("labeled", "dev"):
        make_features(folder / name, SMALL_HOURS)
        make_labels(folder / "labels" / name, folder / name, tree_sha256)
    mean = torch.full((CHANNELS,), -8.0)
    front_end = LowFrameRateFrontEnd(mean, torch.zeros(CHANNELS), torch.ones(CHANNELS), 100.0)
    model = AcousticModel(LstmSettings(1, 64, True), front_end.output_dim, NUM_PDFS)
    (folder / "teacher").mkdir()
    save_network(folder / "teacher", model, front_end, torch.zeros(NUM_PDFS), tree_sha256)


def peak_megabytes(command: list[str | Path]) -> float:
    """Run a command; the highest resident memory of it or of a process that it started."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_MMAP_THRESHOLD_": "65536"}
    arguments = [sys.executable, *map(str, command)]
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(told)
    return usage.ru_maxrss / 1024


def measured(
    task: Path, folder: Path, hours: float, shard_size: int
) -> Iterator[tuple[str, float]]:
    """Tool and peak memory of each tool, for a corpus of so many hours."""
    unlabeled = make_features(folder / "unlabeled", hours)
    shar, soft = folder / "shar", folder / "soft_labels"
    jobs: list[str | Path] = ["--jobs", "1"]
    command: list[str | Path] = ["utils/to_shar.py", *jobs, "--shard-size", str(shard_size)]
    yield "to_shar", peak_megabytes([*command, unlabeled, shar])
    command = ["steps/dump_soft_labels.py", *jobs, "--device", "cpu"]
    yield "dump_soft_labels", peak_megabytes([*command, shar, task / "teacher", soft])
    command = ["steps/train_student.py", "--device", "cpu"]
    command += ["--config", "conf/tiny/student_scheduled.yaml"]
    command += [f"--set={setting}" for setting in STUDENT.split()]
    inputs = [task / "labeled", shar, task / "dev", task / "senones", task / "labels", soft]
    yield "train_student", peak_megabytes([*command, *inputs, folder / "student"])


def main() -> None:
    """Parse the options and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", default="1,4,16", help="of speech, rising (%(default)s)")
    parser.add_argument("--shard-size", type=int, default=50, help="cuts a shard (%(default)s)")
    parser.add_argument("--folder", type=Path, help="to work in; one size lies there at a time")
    parser.add_argument("--max-growth", type=float, default=0.05, help="(%(default)s)")
    options = parser.parse_args()
    hours = [float(text) for text in options.hours.split(",")]
    peaks: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        task = Path(work) / "task"
        make_task(task)
        for size in hours:
            folder = Path(work) / "corpus"
            for tool, peak in measured(task, folder, size, options.shard_size):
                peaks.setdefault(tool, []).append(peak)
                print(f"{size:g} h: {tool} {peak:.0f} MB", file=sys.stderr)
            shutil.rmtree(folder)
    growths = {tool: values[-1] / values[0] - 1.0 for tool, values in peaks.items()}
    rows = [("peak memory, MB", *(f"{size:g} h" for size in hours), "growth")]
    for tool, values in peaks.items():
        rows.append((tool, *(f"{value:.0f}" for value in values), f"{100 * growths[tool]:.1f} %"))
    print("\n".join(table(rows)))
    sys.exit(max(growths.values()) > options.max_growth)


if __name__ == "__main__":
    main()
