#!/usr/bin/env python3
"""Store a teacher's highest logits for unlabelled data."""

import argparse
import dataclasses
from pathlib import Path

from am.soft_labels.dump import DumpSettings, dump_soft_labels, reopen_damaged_store
from commandline import Tool, positive_int

tool = Tool(
    summary="Store a teacher's k highest logits, or all, for every frame of unlabelled data.  A "
    "killed run goes on; in a finished store, damaged shards are found and made again alone.",
    reads=[
        "UNLABELED: a feature data folder, LFBE (steps/make_features.py)",
        "MODEL: the teacher, a network folder (steps/train_ce.py)",
    ],
    writes=["OUTPUT/store.json, shard-*: the soft labels by cut (am/storage.py)"],
    example="steps/dump_soft_labels.py --top-k 20 data/unlabeled/lfbe exp/teacher_ce "
    "data/unlabeled/soft_labels",
)
defaults = DumpSettings()
tool.add_argument(
    "--top-k",
    type=lambda text: text if text == "all" else positive_int(text),
    default=defaults.top_k,
    help="logits a frame, or all (%(default)s)",
)
tool.add_argument(
    "--temperature",
    type=float,
    default=defaults.temperature,
    help="divides the teacher's logits; above 1 makes flatter labels (%(default)s)",
)
tool.add_argument(
    "--logit-step",
    type=float,
    default=defaults.logit_step,
    help="of the stored logits, which are off by half of it at most (%(default)s)",
)
tool.add_argument(
    "--cuts-per-shard",
    type=positive_int,
    default=defaults.cuts_per_shard,
    help="cuts in one shard (%(default)s)",
)
tool.add_argument(
    "--batch-seconds",
    type=float,
    default=defaults.batch_seconds,
    help="speech in one forward pass (%(default)s)",
)
tool.add_jobs()
tool.add_device()
for name in ("unlabeled", "model", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    settings = DumpSettings(
        options.top_k,
        options.temperature,
        options.logit_step,
        options.cuts_per_shard,
        options.batch_seconds,
    )
    if not options.redo:
        reopen_damaged_store(options.output)
    tool.build(
        options.output,
        [options.unlabeled, options.model],
        dataclasses.asdict(settings),
        lambda partial: dump_soft_labels(
            options.unlabeled, options.model, partial, settings, options.jobs, options.device
        ),
    )


if __name__ == "__main__":
    tool.run(main)
