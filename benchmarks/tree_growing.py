#!/usr/bin/env python3
"""Time and memory of growing a large context tree, and of mapping every triphone to its senone.

The statistics are made up at random.  Phones are base phones times variants (stress, position in
the word); with 60 times 5 there are 27 million triphones.  The mapping's memory is that of all
pdf-ids held at once; the slow walk is one triphone state at a time in Python, timed on a sample.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.hmm.topology import Topology
from am.tree.context_tree import ContextTree
from am.tree.grow import TreeSettings, grow_tree
from am.tree.statistics import TriphoneStatistics


def made_up_statistics(
    num_states: int, num_phones: int, num_classes: int, dim: int, seed: int
) -> TriphoneStatistics:
    """Triphone states whose means depend on each part of the window and on pairs of them."""
    random = np.random.default_rng(seed)
    share = random.dirichlet(np.full(num_phones, 2.0))
    centre, left, right = (
        1 + random.choice(num_phones, size=2 * num_states, p=share) for _ in range(3)
    )
    windows = np.stack([left, centre, right, random.integers(0, num_classes, 2 * num_states)])
    windows = np.unique(windows, axis=1)
    windows = windows[:, np.sort(random.permutation(windows.shape[1])[:num_states])]
    means = np.zeros((windows.shape[1], dim))
    for scale, parts in ((3, [1]), (2, [1, 3]), (1.5, [0, 1]), (1.5, [1, 2]), (0.5, [0, 1, 2, 3])):
        _, value = np.unique(windows[parts], axis=1, return_inverse=True)
        means += scale * random.normal(size=(value.max() + 1, dim))[value.ravel()]
    count = 1.0 + random.geometric(0.01, size=(windows.shape[1],))
    noise = random.normal(size=means.shape) / np.sqrt(count)[:, None]
    sums = count[:, None] * (means + noise)
    squares = count[:, None] * (np.square(means + noise) + 1.0)
    statistics = TriphoneStatistics(dim)
    statistics.add_sums(windows, np.concatenate([count[:, None], sums, squares], axis=1))
    return statistics


def map_every_triphone(tree: ContextTree, num_phones: int, num_states: int) -> np.ndarray:
    """(phones, states, phones + 1, phones + 1) int32 pdf-ids by centre, state, left, right."""
    pdf_ids = np.empty((num_phones, num_states, num_phones + 1, num_phones + 1), dtype=np.int32)
    for phone in range(num_phones):
        for state in range(num_states):
            pdf_ids[phone, state] = tree.pdf_id_table(phone + 1, state)
    return pdf_ids


def walk(tree: ContextTree, window: tuple[int, ...]) -> int:
    """The pdf-id of one triphone state, one question at a time."""
    node = int(tree.roots[window[1]])
    while tree.position[node] >= 0:
        answer = tree.members[node, window[tree.position[node]]]
        node = int(tree.yes[node] if answer else tree.no[node])
    return int(tree.pdf_id[node])


def peak_gib() -> float:
    """Highest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Parse the options and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=250_000, help="seen triphone states")
    parser.add_argument("--phones", type=int, default=60, help="base phones")
    parser.add_argument("--variants", type=int, default=5, help="of each base phone")
    parser.add_argument("--hmm-states", type=int, default=3, help="of a phone; 1 as at 30 ms")
    parser.add_argument("--dim", type=int, default=40)
    parser.add_argument("--leaves", type=int, default=3183)
    parser.add_argument("--sample", type=int, default=20_000, help="triphone states walked slowly")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    num_phones = options.phones * options.variants
    started = time.perf_counter()
    statistics = made_up_statistics(
        options.states, num_phones, options.hmm_states, options.dim, options.seed
    )
    made, cpu_before = time.perf_counter(), time.process_time()
    phones = range(1, num_phones + 1)
    groups = [
        phones[first : first + options.variants] for first in range(0, num_phones, options.variants)
    ]
    variants = [phones[first :: options.variants] for first in range(options.variants)]
    tree, report = grow_tree(
        statistics,
        Topology.uniform(list(phones), options.hmm_states),
        groups,
        groups[0],
        variants,
        TreeSettings(num_leaves=options.leaves, min_gain=0.0),
    )
    grown, grow_cpu = time.perf_counter(), time.process_time() - cpu_before
    print(report.summary())
    print("\n| seen states | dim | leaves | make, s | grow, s | grow, CPU s | peak, GiB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    print(
        f"| {len(statistics)} | {options.dim} | {report.leaves} | {made - started:.1f} "
        f"| {grown - made:.1f} | {grow_cpu:.1f} | {peak_gib():.2f} |"
    )
    print_mapping(tree, num_phones, options)


def print_mapping(tree: ContextTree, num_phones: int, options: argparse.Namespace) -> None:
    """Map every triphone, and a sample of them slowly; print one table."""
    started = time.perf_counter()
    pdf_ids = map_every_triphone(tree, num_phones, options.hmm_states)
    mapping = time.perf_counter() - started
    random = np.random.default_rng(options.seed)
    left, right = random.integers(0, num_phones + 1, (2, options.sample))
    centre = random.integers(1, num_phones + 1, options.sample)
    state = random.integers(0, options.hmm_states, options.sample)
    windows = list(zip(*(part.tolist() for part in (left, centre, right, state)), strict=True))
    started = time.perf_counter()
    walked = [walk(tree, window) for window in windows]
    slow = (time.perf_counter() - started) / options.sample
    started = time.perf_counter()
    stepped = tree.pdf_ids(left, centre, right, state)
    array = (time.perf_counter() - started) / options.sample
    found = pdf_ids[centre - 1, state, left, right]
    assert np.array_equal(found, walked) and np.array_equal(found, stepped)
    print(f"\n{num_phones} phones, {options.hmm_states} states: every triphone state, ", end="")
    print(f"{pdf_ids.nbytes / 2**30:.2f} GiB of pdf-ids, peak {peak_gib():.2f} GiB\n")
    print("| mapping | triphone states | seconds | million a second | ratio to the slow walk |")
    print("| --- | ---: | ---: | ---: | ---: |")
    rows = (
        ("a table a phone and state", pdf_ids.size, mapping),
        ("an array of windows, step by step", options.sample, array * options.sample),
        ("slow walk, one by one", options.sample, slow * options.sample),
    )
    for name, count, seconds in rows:
        print(
            f"| {name} | {count} | {seconds:.3f} | {count / seconds / 1e6:.2f} "
            f"| {slow * count / seconds:.0f} |"
        )


if __name__ == "__main__":
    main()
