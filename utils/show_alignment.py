#!/usr/bin/env python3
"""Draw the alignment of single cuts."""

import argparse
from pathlib import Path

from am.inspection.alignment_picture import draw_alignments
from am.inspection.pictures import check_picture_name
from commandline import Tool

tool = Tool(
    summary="Draw cuts: log mel energies, and below them words, phones, HMM states and senones.",
    reads=[
        "LANG: that the alignment was made with (utils/prepare_lang.py)",
        "DATA: LFBE and transcripts (steps/make_features.py --kind lfbe)",
        "ALIGNMENT: transition-ids (steps/align.py), or senones (steps/make_senone_labels.py)",
    ],
    writes=["PICTURE: .png, .svg or .pdf, as its name ends"],
    example="utils/show_alignment.py --cut 000530003 data/lang data/labeled/lfbe exp/tri2_ali "
    "exp/000530003.png",
)
tool.add_argument(
    "--cut",
    dest="cuts",
    action="append",
    required=True,
    metavar="ID",
    help="a cut that is drawn; may be given several times",
)
tool.add_argument("--start", type=float, default=0.0, help="first second shown (%(default)s)")
tool.add_argument("--end", type=float, help="last second shown (the cut's end)")
tool.add_argument("lang", type=Path)
tool.add_argument("data", type=Path)
tool.add_argument("alignment", type=Path)
tool.add_argument("picture", type=Path)


def main(options: argparse.Namespace) -> None:
    check_picture_name(options.picture)
    tool.build(
        options.picture,
        [options.lang, options.data, options.alignment],
        {"cuts": options.cuts, "start": options.start, "end": options.end},
        lambda path: draw_alignments(
            options.lang,
            options.data,
            options.alignment,
            options.cuts,
            path,
            start=options.start,
            end=options.end,
        ),
        is_folder=False,
    )


if __name__ == "__main__":
    tool.run(main)
