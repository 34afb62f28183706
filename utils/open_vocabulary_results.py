#!/usr/bin/env python3
"""Make a table of systems of words and of pieces."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.features.feature_data import CUTS_NAME
from am.scoring.open_vocabulary import open_vocabulary_table
from commandline import Tool, named_folders

tool = Tool(
    summary="Compare systems of words with systems of pieces: word errors, and how many of the "
    "words outside the language models' vocabulary are recovered, as Markdown.",
    reads=[
        "FOLDER/decode_TESTSET, FOLDER/score_TESTSET of every system (steps/decode.py, score.py)",
        "DATA/cuts.jsonl.gz: the test set's transcripts",
        "VOCABULARY: the words of the language models' text, one a line (utils/hold_out_words.py)",
    ],
    writes=["OUTPUT: the table; it is printed too"],
    example='utils/open_vocabulary_results.py --words "teacher=exp/subword/words/teacher_ce" '
    '--pieces "teacher=exp/subword/teacher_ce" --test-set test --data data/test '
    "--vocabulary data/subword/lm_text/words.txt exp/subword/RESULTS.md",
)
for unit in ("words", "pieces"):
    tool.add_argument(
        f"--{unit}",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help=f"a system of {unit}; may be given several times",
    )
tool.add_argument("--test-set", default="test", help="its name (%(default)s)")
tool.add_argument("--data", type=Path, required=True, help="folder of its cuts")
tool.add_argument("--vocabulary", type=Path, required=True, help="file of the words known")
tool.add_seed()
tool.add_argument("output", type=Path)


def main(options: argparse.Namespace) -> None:
    words, pieces = named_folders(options.words), named_folders(options.pieces)
    scores = [
        folder / f"score_{options.test_set}" for folder in (*words.values(), *pieces.values())
    ]
    tool.build(
        options.output,
        [*scores, options.data / CUTS_NAME, options.vocabulary],
        {"words": options.words, "pieces": options.pieces, "seed": options.seed},
        lambda path: path.write_text(
            open_vocabulary_table(
                words,
                pieces,
                test_set=options.test_set,
                data=options.data,
                vocabulary=options.vocabulary,
                seed=options.seed,
            ),
            encoding="utf-8",
        ),
        is_folder=False,
    )
    print(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    tool.run(main)
