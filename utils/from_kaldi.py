#!/usr/bin/env python3
"""Bring Kaldi's models, alignments, data folders and features into our forms; see the usage."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from am.kaldi.alignments import FrameRules, import_alignments
from am.kaldi.feature_archives import import_features
from am.kaldi.model_folder import MODEL_NAME, KaldiFolder, import_model
from am.manifests.make_cuts import make_cuts
from am.manifests.settings import DataRules
from commandline import Tool

INPUTS_OF_KIND = {
    "model": ("LANG", "KALDI_DIR"),
    "alignment": ("LANG", "KALDI_DIR"),
    "data": ("KALDI_DATA",),
    "features": ("KALDI_DATA", "DATA"),
}
tool = Tool(
    summary="Turn what Kaldi made into what our tools read; docs/kaldi.md says what fits.",
    reads=[
        "--kind model LANG KALDI_DIR: tree, final.mdl (GMMs), phones.txt, final.mat, *_opts",
        "--kind alignment LANG KALDI_DIR: ali.*.gz, tree, final.mdl, phones.txt",
        "--kind data KALDI_DATA: wav.scp (plain paths), segments, text, utt2spk",
        "--kind features KALDI_DATA DATA: feats.scp, and the cuts of the same utterances",
    ],
    writes=[
        "OUT: as steps/train_*.py, steps/align.py, utils/make_cuts.py or steps/make_features.py",
        "OUT/failed.tsv or rejected.tsv: what was left out, and why",
    ],
    example="utils/from_kaldi.py --kind model data/lang kaldi/exp/tri2b exp/tri2b",
)
add, frames, rules = tool.add_argument, FrameRules(), DataRules()
add("--kind", choices=tuple(INPUTS_OF_KIND), required=True)
add("--model-name", default=MODEL_NAME, help="the model's file (%(default)s)")
add("--phones", type=Path, help="Kaldi's phones.txt (KALDI_DIR/phones.txt)")
add("--approximate-topology", action="store_true", help="leave out arcs that our HMMs have not")
add("--frame-shift", type=float, default=frames.frame_shift, help="seconds (%(default)s)")
add("--snip-edges", action="store_true", help="Kaldi's features had its default --snip-edges=true")
add("--feature-kind", choices=("mfcc", "lfbe"), default="mfcc", help="(%(default)s)")
add("--max-rejected", type=float, default=rules.max_rejected, help="share (%(default)s)")
tool.add_config()
tool.add_jobs()
add("inputs", type=Path, nargs="+", metavar="INPUT", help="as --kind wants them")
add("output", type=Path, metavar="OUT")


def main(options: argparse.Namespace) -> None:
    names, inputs = INPUTS_OF_KIND[options.kind], options.inputs
    if len(inputs) != len(names):
        tool.parser.error(f"--kind {options.kind} takes {' '.join(names)} OUT")
    frames = FrameRules(options.frame_shift, options.snip_edges)
    rules = tool.settings(DataRules, options)
    kaldi = KaldiFolder(
        inputs[-1], options.model_name, options.phones, options.approximate_topology
    )
    final, rejected = options.output, options.max_rejected
    make: dict[str, Callable[[Path], None]] = {
        "model": lambda output: import_model(inputs[0], kaldi, output),
        "alignment": lambda output: import_alignments(inputs[0], kaldi, output, frames),
        "data": lambda output: make_cuts(inputs[0], output, rules, options.jobs),
        "features": lambda output: import_features(
            inputs[0], inputs[1], output, final, options.feature_kind, frames, rejected
        ),
    }
    settings = {**asdict(kaldi), **asdict(frames), **asdict(rules)}
    settings |= {"kind": options.kind, "features": options.feature_kind, "rejected": rejected}
    phones = [options.phones] if options.phones else []
    tool.build(final, [*inputs, *phones], settings, make[options.kind])


if __name__ == "__main__":
    tool.run(main)
