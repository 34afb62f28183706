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
        "UNLABELED: a feature data folder, with the features that MODEL was trained on, or the "
        "same as shards (utils/to_shar.py)",
        "MODEL: the teacher, a network folder (steps/train_ce.py)",
    ],
    writes=["OUTPUT/store.json, shard-*: the soft labels by cut (am/storage.py)"],
    example="steps/dump_soft_labels.py --top-k 20 data/unlabeled/lfbe exp/teacher_ce "
    "data/unlabeled/soft_labels",
)


def number_or_all(text: str) -> int | str:
    """The value of ``--top-k``."""
    return text if text == "all" else positive_int(text)


for option, kind, meaning in (
    ("--top-k", number_or_all, "logits a frame, or all"),
    ("--temperature", float, "divides the teacher's logits; above 1 makes flatter labels"),
    ("--logit-step", float, "of the stored logits, which are off by half of it at most"),
    ("--cuts-per-shard", positive_int, "cuts in one shard, where UNLABELED has none"),
    ("--batch-seconds", float, "speech in one forward pass"),
):
    default = getattr(DumpSettings, option.removeprefix("--").replace("-", "_"))
    tool.add_argument(option, type=kind, default=default, help=f"{meaning} (%(default)s)")
tool.add_argument(
    "--another-teacher",
    dest="other_models",
    type=Path,
    action="append",
    default=[],
    metavar="MODEL",
    help="of the same senones; the teachers' logits are averaged; may be given several times",
)
tool.add_executor()
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
        [options.unlabeled, options.model, *options.other_models],
        dataclasses.asdict(settings),
        lambda partial: dump_soft_labels(
            options.unlabeled,
            options.model,
            partial,
            settings,
            options.executor,
            options.device,
            options.other_models,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
