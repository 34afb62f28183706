#!/usr/bin/env python3
"""Time and memory of growing a large context tree from statistics made up at random."""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.hmm.topology import Topology
from am.tree.grow import TreeSettings, grow_tree
from am.tree.statistics import TriphoneStatistics


def made_up_statistics(num_states: int, num_phones: int, dim: int, seed: int) -> TriphoneStatistics:
    """Triphone states whose means depend on each part of the window and on pairs of them."""
    random = np.random.default_rng(seed)
    share = random.dirichlet(np.full(num_phones, 2.0))
    centre, left, right = (
        1 + random.choice(num_phones, size=2 * num_states, p=share) for _ in range(3)
    )
    windows = np.stack([left, centre, right, random.integers(0, 3, 2 * num_states)])
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


def main() -> None:
    """Parse the options and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=250_000, help="seen triphone states")
    parser.add_argument("--phones", type=int, default=44, help="base phones")
    parser.add_argument("--variants", type=int, default=3, help="of each base phone")
    parser.add_argument("--dim", type=int, default=40)
    parser.add_argument("--leaves", type=int, default=3183)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    num_phones = options.phones * options.variants
    statistics = made_up_statistics(options.states, num_phones, options.dim, options.seed)
    made = time.perf_counter()
    cpu_before = time.process_time()
    phones = range(1, num_phones + 1)
    groups = [
        phones[first : first + options.variants] for first in range(0, num_phones, options.variants)
    ]
    variants = [phones[first :: options.variants] for first in range(options.variants)]
    _, report = grow_tree(
        statistics,
        Topology.uniform(list(phones), 3),
        groups,
        groups[0],
        variants,
        TreeSettings(num_leaves=options.leaves, min_gain=0.0),
    )
    grown, grow_cpu = time.perf_counter(), time.process_time() - cpu_before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(report.summary())
    header = f"{'states':>8} {'dim':>4} {'leaves':>6} {'make, s':>8} {'grow, s':>8}"
    print(f"{header} {'grow, CPU s':>11} {'peak, GiB':>9}")
    print(
        f"{len(statistics):8d} {options.dim:4d} {report.leaves:6d} "
        f"{made - started:8.1f} {grown - made:8.1f} {grow_cpu:11.1f} {peak:9.2f}"
    )


if __name__ == "__main__":
    main()
