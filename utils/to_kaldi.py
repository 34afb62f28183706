#!/usr/bin/env python3
"""Write our models, alignments, data folders and labels as Kaldi's; see the usage."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from am.kaldi.alignments import export_alignments
from am.kaldi.data_directory import export_data
from am.kaldi.model_folder import export_model
from am.kaldi.posteriors import export_log_posteriors, export_posteriors
from am.nnet.device import pick_device
from commandline import Tool

INPUTS_OF_KIND = {
    "model": ("MODEL",),
    "alignment": ("ALIGNMENT",),
    "data": ("DATA",),
    "posteriors": ("LABELS",),
    "log-posteriors": ("DATA", "MODEL"),
}
tool = Tool(
    summary="Turn what our tools made into what Kaldi reads; docs/kaldi.md says how to use it.",
    reads=[
        "--kind model MODEL: a GMM folder (steps/train_*.py)",
        "--kind alignment ALIGNMENT: transition-ids (steps/align.py)",
        "--kind data DATA: cuts (utils/make_cuts.py)",
        "--kind posteriors LABELS: soft labels or senone labels",
        "--kind log-posteriors DATA MODEL: LFBE, and a network folder",
    ],
    writes=[
        "OUT: tree, final.mdl, phones.txt, *_opts, final.mat | ali.1.gz with tree and final.mdl |",
        "     wav.scp, segments, text, utt2spk, spk2utt | post.1.gz | log_posteriors.{ark,scp}",
    ],
    example="utils/to_kaldi.py --kind alignment exp/tri2_ali kaldi/exp/tri2_ali",
)
add = tool.add_argument
add("--kind", choices=tuple(INPUTS_OF_KIND), required=True)
add("--text", action="store_true", help="write tree and model as text")
add("--subtract-priors", action="store_true", help="write pseudo log-likelihoods")
tool.add_device()
add("inputs", type=Path, nargs="+", metavar="INPUT", help="as --kind wants them")
add("output", type=Path, metavar="OUT")


def main(options: argparse.Namespace) -> None:
    names, inputs = INPUTS_OF_KIND[options.kind], options.inputs
    if len(inputs) != len(names):
        tool.parser.error(f"--kind {options.kind} takes {' '.join(names)} OUT")
    make: dict[str, Callable[[Path], None]] = {
        "model": lambda output: export_model(inputs[0], output, binary=not options.text),
        "alignment": lambda output: export_alignments(inputs[0], output),
        "data": lambda output: export_data(inputs[0], output),
        "posteriors": lambda output: export_posteriors(inputs[0], output),
        "log-posteriors": lambda output: export_log_posteriors(
            inputs[0],
            inputs[1],
            output,
            options.output,
            pick_device(options.device),
            subtract_priors=options.subtract_priors,
        ),
    }
    settings = {"kind": options.kind, "text": options.text, "priors": options.subtract_priors}
    tool.build(options.output, inputs, settings, make[options.kind])


if __name__ == "__main__":
    tool.run(main)
