#!/usr/bin/env python3
"""Size of the soft-label store and speed of writing and reading it, on a teacher's own outputs.

The plain form that sizes are compared with is a uint16 pdf-id and a float16 logit, 4 k bytes a
frame; where all logits are stored, float16 logits alone.  "Posterior kept" is the mean probability
of the stored senones.  Reading is from a store on disk: in its order, and cut by cut at random.
The dump is features from disk, the forward pass, the k highest, coding and writing; its reference
is the forward pass alone, on the same batches in memory.

Example, after the recipe:

    benchmarks/soft_labels.py data/unlabeled/lfbe exp/teacher_smbr
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lhotse import MonoCut

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.coded_shards import Codec
from am.features.feature_data import open_feature_data
from am.features.low_frame_rate import num_low_rate_frames
from am.nnet.data import load_features
from am.nnet.network import LoadedNetwork, load_network
from am.soft_labels.dump import DumpSettings, batches_by_length, soft_labels_of
from am.storage import RaggedStore, shard_paths, write_shard, write_store_description


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """Median of a few runs, after one that counts for nothing."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def write_store(folder: Path, records: list, codec: Codec) -> None:
    """A store with one shard."""
    description = {
        "kind": "soft labels",
        "frame_shift": 0.03,
        "fields": ["pdf_ids", "logits"],
        "codec": codec.describe(),
    }
    write_store_description(folder, description)
    write_shard(folder, 0, records, codec)


def print_sizes(cuts: list[MonoCut], network: LoadedNetwork, options: argparse.Namespace) -> None:
    """A table over k."""
    print(
        "| k | bytes a frame | ratio to plain | posterior kept | largest error of a logit ", end=""
    )
    print("| written, frames/s | read in order | read at random |")
    print("| ---: |" + " ---: |" * 7)
    numbers = [k for k in options.top_k if k != "all" and k <= network.num_pdfs]
    if numbers:
        sorted_records = soft_labels_of(cuts, network, DumpSettings(top_k=max(numbers)))
        for top_k in numbers:
            codec = DumpSettings(top_k, logit_step=options.logit_step).codec(network.num_pdfs)
            of_top_k = [
                (cut_id, {name: array[:, :top_k] for name, array in record.items()})
                for cut_id, record in sorted_records
            ]
            print_row(of_top_k, str(top_k), 4 * top_k, codec, options.repeats)
    if "all" in options.top_k:
        settings = DumpSettings("all", logit_step=options.logit_step)
        codec = settings.codec(network.num_pdfs)
        records = soft_labels_of(cuts, network, settings)
        print_row(records, "all", 2 * network.num_pdfs, codec, options.repeats)


def print_row(records: list, name: str, plain_bytes: int, codec: Codec, repeats: int) -> None:
    """Size, error and speed for one k."""
    total = sum(len(record["logits"]) for _, record in records)
    kept = sum(float(np.exp(record["logits"]).sum()) for _, record in records) / total
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        writing = seconds_of(lambda: write_store(folder, records, codec), repeats)
        size = shard_paths(folder, 0)[0].stat().st_size / total
        store = RaggedStore(folder)
        in_order = list(store)
        at_random = np.random.default_rng(0).permutation(in_order).tolist()
        reading = seconds_of(lambda: [store[cut_id] for cut_id in in_order], repeats)
        picking = seconds_of(lambda: [store[cut_id] for cut_id in at_random], repeats)
        error = 0.0
        for cut_id, record in records:
            found = store[cut_id]
            assert np.array_equal(found["pdf_ids"], record["pdf_ids"])
            error = max(error, float(np.abs(found["logits"] - record["logits"]).max()))
    print(
        f"| {name} | {size:.2f} | {size / plain_bytes:.2f} | {kept:.4f} "
        f"| {error:.4f} | {total / writing:.0f} | {total / reading:.0f} | {total / picking:.0f} |"
    )


def print_dump(cuts: list[MonoCut], network: LoadedNetwork, options: argparse.Namespace) -> None:
    """A table: the dump beside the bare forward pass."""
    settings = DumpSettings(logit_step=options.logit_step)
    batches = [
        [torch.from_numpy(load_features(cut)) for cut in batch]
        for batch in batches_by_length(cuts, settings.batch_seconds)
    ]
    shape = (1, network.front_end.input_dim)
    ahead = [[matrix.to(network.device) for matrix in batch] for batch in batches]
    total = 0

    def forward() -> None:
        nonlocal total
        total = sum(len(one) for batch in ahead for one in network.batch_log_posteriors(batch))
        network.log_posteriors(torch.zeros(shape)).cpu()  # waits for the device

    def dump() -> None:
        with tempfile.TemporaryDirectory() as name:
            records = soft_labels_of(cuts, network, settings)
            write_store(Path(name), records, settings.codec(network.num_pdfs))

    # In turn, because a machine's speed changes with what else it does.
    seconds = [(seconds_of(forward, 1), seconds_of(dump, 1)) for _ in range(options.repeats)]
    bare, whole = (statistics.median(column) for column in zip(*seconds, strict=True))
    ratio = statistics.median(bare / whole for bare, whole in seconds)
    print(f"\n| what, k = {settings.top_k} | seconds | frames/s | ratio of speed |")
    print("| --- | ---: | ---: | ---: |")
    print(f"| forward pass alone | {bare:.2f} | {total / bare:.0f} | 1 |")
    print(f"| dump | {whole:.2f} | {total / whole:.0f} | {ratio:.3f} |")


def main() -> None:
    """Parse the options and print two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--top-k",
        type=lambda text: text if text == "all" else int(text),
        nargs="+",
        default=[1, 5, 10, 20, 40, "all"],
    )
    parser.add_argument("--logit-step", type=float, default=DumpSettings.logit_step)
    parser.add_argument("--cuts", type=int, default=500, help="how many (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    for name in ("data", "model"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = load_network(options.model, options.device)
    cuts = list(itertools.islice(open_feature_data(options.data), options.cuts))
    total = sum(num_low_rate_frames(cut.num_frames) for cut in cuts)
    print(
        f"{len(cuts)} cuts, {total} frames, {network.num_pdfs} senones, "
        f"{network.model.num_parameters()} parameters; {options.device}, {options.threads} threads"
    )
    print(f"logits in steps of {options.logit_step:g}, pdf-ids exact\n")
    print_sizes(cuts, network, options)
    print_dump(cuts, network, options)


if __name__ == "__main__":
    main()
