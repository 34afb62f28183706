#!/usr/bin/env python3
"""Make a data folder of shards that lie elsewhere."""

import argparse
from pathlib import Path

from am.shar.link import link_shar
from commandline import Tool

tool = Tool(
    summary="Make a Shar data folder whose shards stay on an HTTP server or in an object store, "
    "from where they are read shard by shard; training, soft labels and decoding take it like any.",
    reads=["URL/shar.json, features.json: what utils/to_shar.py wrote"],
    writes=["OUTPUT/shar.json, features.json: the same, naming URL/shar/ as the shards' place"],
    example="utils/link_shar.py http://server:8000/unlabeled data/unlabeled/shar",
)
tool.add_argument("url", help="or a folder")
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    tool.build(
        options.output, [], {"url": options.url}, lambda partial: link_shar(options.url, partial)
    )


if __name__ == "__main__":
    tool.run(main)
