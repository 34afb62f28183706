#!/usr/bin/env python3
"""k2's search against kaldi-decoder's: the same paths and scores, and the time of both.

Example, in the environment of utils/install_k2.py, after the recipe:

    benchmarks/k2_decoding.py exp/graph_senones data/dev/lfbe exp/student_ce
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.decoding.decode_data import load_graph_and_scorer
from am.decoding.decoder import Decoder, SearchSettings
from am.decoding.settings import DecodingSettings
from am.features.feature_data import open_feature_data
from am.k2.decoder import BatchDecoder, K2Settings


def main() -> None:
    """Print a table: agreement of the best paths, greatest difference of scores, seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=32, help="how many are decoded (%(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="cuts a batch of k2 (%(default)s)")
    parser.add_argument("--beam", type=float, default=25.0, help="of both (%(default)s)")
    parser.add_argument("--max-active", type=int, default=100_000, help="of both (%(default)s)")
    parser.add_argument("--device", default="cpu", help="of k2 (%(default)s)")
    for name in ("graph", "data", "model"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    graph, scorer = load_graph_and_scorer(
        options.graph, options.data, options.model, torch.device("cpu")
    )
    scales = DecodingSettings().of(scorer.facts.kind).scales(None, None)
    search = SearchSettings(options.beam, options.max_active, 0)
    cuts = list(itertools.islice(open_feature_data(options.data), options.cuts))
    scores = [scorer.scores(cut) for cut in cuts]
    kaldi = Decoder(graph, scales, search)
    started = time.perf_counter()
    expected = kaldi.decode_batch(scores)
    kaldi_seconds = time.perf_counter() - started

    batched = BatchDecoder(graph, scales, search, K2Settings(), torch.device(options.device))
    batched.decode_batch(scores[:1])  # makes the graph
    started = time.perf_counter()
    found = [
        path
        for first in range(0, len(scores), options.batch)
        for path in batched.decode_batch(scores[first : first + options.batch])
    ]
    k2_seconds = time.perf_counter() - started

    pairs = list(zip(expected, found, strict=True))
    alike = [
        one is not None
        and other is not None
        and one.word_ids == other.word_ids
        and np.array_equal(one.pdf_ids, other.pdf_ids)
        for one, other in pairs
    ]
    differences = [abs(one.cost - other.cost) for one, other in pairs if one and other]
    without = sum((one is None) != (other is None) for one, other in pairs)
    frames = sum(len(matrix) for matrix in scores)
    print(f"{len(cuts)} cuts, {frames} frames, {graph.fst.num_states} states, beam {search.beam}")
    print(f"best paths alike: {sum(alike)} of {len(pairs)}; only one has a path: {without}")
    print(f"greatest difference of a path's score: {max(differences):.2g}")
    print(f"seconds: kaldi-decoder {kaldi_seconds:.2f}, k2 {k2_seconds:.2f}", end="")
    print(f" (ratio {k2_seconds / kaldi_seconds:.2f})")


if __name__ == "__main__":
    main()
