#!/usr/bin/env python3
"""Turn a data folder into shards that are read in order."""

import argparse
import dataclasses
from pathlib import Path

from am.features.extractors import LfbeSettings
from am.shar.shard_files import SharSettings
from am.shar.write import content_of, write_shar
from commandline import Tool, positive_int

tool = Tool(
    summary="Turn a data folder into shards in lhotse's Shar format, with labels if there are "
    "some.  Training, soft labels and decoding read them in order, from a disk or a server; so do "
    "other trainers.  A killed run goes on.",
    reads=[
        "DATA: a feature data folder (steps/make_features.py), or audio cuts (utils/make_cuts.py)",
        "the settings of the features to compute from audio, if DATA has none (--config)",
        "the labels that --labels and --soft-labels name; cuts without them are left out",
    ],
    writes=[
        "OUTPUT/shar.json: cuts, frames, seconds, checksums of each shard (docs/sharded_data.md)",
        'OUTPUT/shar/: the shards; lhotse.CutSet.from_shar(in_dir="OUTPUT/shar") reads them too',
        "OUTPUT/features.json: what the features are",
        "OUTPUT/rejected.tsv, without_labels.txt: cuts that were left out",
    ],
    example="utils/to_shar.py --soft-labels data/unlabeled/soft_labels data/unlabeled/lfbe "
    "data/unlabeled/shar",
)
tool.add_config(default="conf/lfbe.yaml")
tool.add_executor()
tool.add_argument("--labels", type=Path, help="pdf-ids (steps/make_senone_labels.py)")
tool.add_argument("--soft-labels", type=Path, help="of steps/dump_soft_labels.py")
tool.add_argument("--shard-size", type=positive_int, default=500, help="cuts a shard (%(default)s)")
tool.add_argument(
    "--content",
    choices=("features", "audio", "both"),
    help="what is stored; features are computed from audio alone (default: features, where there "
    "are some)",
)
for option, choices, meaning in (
    ("--audio-format", ("flac", "opus", "wav"), "of stored audio"),
    ("--precision", ("float16", "float32"), "of stored features"),
    ("--soft-label-form", ("coded", "plain"), "plain: arrays for other readers, 5 times the size"),
):
    tool.add_argument(option, choices=choices, default=choices[0], help=f"{meaning} (%(default)s)")
tool.add_argument(
    "--max-rejected",
    type=float,
    default=0.05,
    help="stop if a larger share of the cuts is unreadable (%(default)s)",
)
tool.add_argument("data", type=Path)
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    stored = content_of(options.data)
    extractor = tool.settings(LfbeSettings, options) if stored == "audio" else None
    names = (field.name for field in dataclasses.fields(SharSettings))
    given = {name: getattr(options, name) for name in names}
    settings = SharSettings(**{**given, "content": options.content or stored})
    stores = [store for store in (options.labels, options.soft_labels) if store is not None]
    tool.build(
        options.output,
        [options.data, *stores],
        {
            **dataclasses.asdict(settings),
            "extractor": None if extractor is None else extractor.to_dict(),
            "rejected": options.max_rejected,
        },
        lambda partial: write_shar(
            options.data,
            partial,
            settings,
            stores,
            extractor,
            options.executor,
            options.max_rejected,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
