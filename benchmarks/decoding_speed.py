#!/usr/bin/env python3
"""Real-time factor of decoding on one core, against a bare search over scores in memory.

Example, after the recipe:

    benchmarks/decoding_speed.py exp/graph_senones data/dev/lfbe exp/student_ce
"""

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

import kaldi_decoder
import torch
from lhotse import CutSet

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.config import load_settings
from am.decoding.decode_data import decode_data, load_graph_and_scorer
from am.decoding.settings import DecodingSettings
from am.features.feature_data import CUTS_NAME, open_feature_data


def main() -> None:
    """Print a table: seconds, real-time factor, ratio to the bare search plus scoring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("conf/decode.yaml"))
    parser.add_argument("--cuts", type=int, default=100, help="how many are decoded (%(default)s)")
    for name in ("graph", "data", "model"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        data = some_cuts(options.data, Path(folder) / "data", options.cuts)
        graph, scorer = load_graph_and_scorer(options.graph, data, options.model, device)
        settings = load_settings(DecodingSettings, options.config).of(scorer.facts.kind)
        scales = settings.scales(None, None)
        cuts = list(open_feature_data(data))
        seconds_of_audio = sum(cut.duration for cut in cuts)

        started = time.perf_counter()
        scores = [scorer.scores(cut) for cut in cuts]
        scoring = time.perf_counter() - started

        decoder = kaldi_decoder.FasterDecoder(
            graph.fst, kaldi_decoder.FasterDecoderOptions(**vars(settings.search))
        )
        started = time.perf_counter()
        for matrix in scores:
            decoder.decode(kaldi_decoder.DecodableCtc(matrix * scales.acoustic_scale))
            decoder.get_best_path()
        search = time.perf_counter() - started

        started = time.perf_counter()
        decode_data(options.graph, data, options.model, Path(folder), scales, settings.search)
        whole = time.perf_counter() - started
    print(f"{len(cuts)} cuts, {seconds_of_audio:.0f} s of audio, {len(scores[0][0])} senones")
    print("| what | seconds | real-time factor | ratio to scoring + search |")
    print("| --- | ---: | ---: | ---: |")
    rows = [
        ("scoring alone", scoring),
        ("FasterDecoder alone, scores in memory", search),
        ("steps/decode.py's work, loading included", whole),
    ]
    for name, seconds in rows:
        ratio = seconds / (scoring + search)
        print(f"| {name} | {seconds:.2f} | {seconds / seconds_of_audio:.4f} | {ratio:.2f} |")


def some_cuts(data: Path, folder: Path, count: int) -> Path:
    """A data folder with the first ``count`` cuts of another."""
    folder.mkdir()
    (folder / "features.json").write_bytes((data / "features.json").read_bytes())
    cuts = itertools.islice(open_feature_data(data), count)
    with CutSet.open_writer(folder / CUTS_NAME) as writer:
        for cut in cuts:
            writer.write(cut)
    return folder


if __name__ == "__main__":
    main()
