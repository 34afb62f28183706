#!/usr/bin/env python3
"""Show a context tree as text and as a picture."""

import argparse
from pathlib import Path

from am.errors import InputError
from am.inspection.pictures import check_picture_name
from am.inspection.tree_picture import draw_tree
from am.inspection.tree_view import TreeView
from commandline import Tool, positive_int

tool = Tool(
    summary="Show a context tree: a table of its roots, or one root's questions, frames, gains "
    "and senones.",
    reads=[
        "LANG: that the tree was grown with (utils/prepare_lang.py)",
        "FOLDER: a GMM, an alignment or senones (tree.json, topology.json, phones.txt)",
    ],
    writes=["--picture FILE: the root that is shown, drawn", "and prints the table or the tree"],
    example="utils/show_tree.py --phone AH --state 1 --picture exp/AH.svg data/lang exp/tri2",
)
tool.add_argument("--phone", help="base phone, or a phone, whose root is shown (all, as a table)")
tool.add_argument("--state", type=int, help="HMM state, from 0 (all, with the questions for it)")
tool.add_argument("--max-depth", type=positive_int, help="questions shown on a path (all)")
tool.add_argument("--picture", type=Path, metavar="FILE", help="ends with .svg, .png or .pdf")
tool.add_argument("lang", type=Path)
tool.add_argument("folder", type=Path)


def main(options: argparse.Namespace) -> None:
    view = TreeView(options.folder, options.lang)
    if options.phone is None:
        if options.picture or options.state is not None or options.max_depth:
            raise InputError("--picture, --state and --max-depth: give --phone too")
        print(view.summary())
        return
    phone = view.names.phone_of(options.phone)
    root = view.root(phone, options.state, options.max_depth)
    title = view.title(phone, options.state)
    if options.picture:
        check_picture_name(options.picture)
        tool.build(
            options.picture,
            [options.lang, options.folder],
            {"phone": options.phone, "state": options.state, "max_depth": options.max_depth},
            lambda path: draw_tree(root, title, path),
            is_folder=False,
        )
    print(view.text(root, title))


if __name__ == "__main__":
    tool.run(main)
