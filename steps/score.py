#!/usr/bin/env python3
"""Score hypotheses against transcripts."""

import argparse
from pathlib import Path

from am.features.feature_data import CUTS_NAME
from am.scoring.score import score_decoding
from am.scoring.transcripts import HYPOTHESES_NAME
from commandline import Tool

tool = Tool(
    summary="Word error rate of a decoding, with its 95 % bootstrap interval.",
    reads=[
        "DATA/cuts.jsonl.gz: cuts with speakers and transcripts",
        "DECODED/hypotheses.txt: cut, words (steps/decode.py)",
        "lines of 'cut words ...' as transcripts, if --reference names them",
    ],
    writes=[
        "OUTPUT/scores.json: error rates of words and sentences, by condition too",
        "OUTPUT/alignments.txt: every utterance, reference above hypothesis",
        "OUTPUT/confusions.tsv: insertions, deletions, substitutions, most frequent first",
        "OUTPUT/per_speaker.tsv, per_utterance.tsv: counts",
    ],
    example="steps/score.py data/test_noisy exp/student_ce/decode_test_noisy "
    "exp/student_ce/score_test_noisy",
)
tool.add_argument("--reference", type=Path, help="transcripts, instead of those of the cuts")
tool.add_argument("--seed", type=int, default=1, help="of the bootstrap (%(default)s)")
tool.add_argument(
    "--resample",
    choices=["utterance", "speaker"],
    default="utterance",
    help="what the bootstrap draws (%(default)s)",
)
for name in ("data", "decoded", "output"):
    tool.add_argument(name, type=Path)


def main(options: argparse.Namespace) -> None:
    reference = [options.reference] if options.reference else []
    tool.build(
        options.output,
        [options.data / CUTS_NAME, options.decoded / HYPOTHESES_NAME, *reference],
        {"seed": options.seed, "resample": options.resample},
        lambda folder: score_decoding(
            options.data,
            options.decoded,
            folder,
            reference=options.reference,
            seed=options.seed,
            resample=options.resample,
        ),
    )


if __name__ == "__main__":
    tool.run(main)
