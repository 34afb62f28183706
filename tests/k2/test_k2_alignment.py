"""Forced alignment with k2 against the torch code, which is held against every path elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from am.alignment.align_data import align_data
from am.alignment.training_graph import GraphCompiler
from am.alignment.viterbi import AlignmentScales, align_batch
from am.k2.alignment import align_batch_with_k2
from am.storage import RaggedStore
from tests.alignment.alignment_cases import (
    NUM_PDFS,
    RandomTree,
    X,
    Y,
    Z,
    random_transitions,
    small_lang,
)
from tests.k2.k2_cases import make_spoken_task

pytestmark = pytest.mark.k2
CPU = torch.device("cpu")
SCALES = AlignmentScales(acoustic_scale=0.7, self_loop_scale=0.4)


@pytest.mark.parametrize("seed", range(8))
def test_random_utterances(seed: int) -> None:
    generator = np.random.default_rng(seed)
    lang = small_lang(silence_probability=float(generator.uniform(0.2, 0.8)))
    transitions = random_transitions(generator)
    tree = RandomTree(generator, kinds=1 + seed % 3)
    compiler = GraphCompiler(lang, tree, lang.topology, transitions)  # type: ignore[arg-type]
    transcripts = [[X, Y, Z, X], [Y], [Z, Z], [X, Y], [Y, Z, Y]]
    lengths = (100, 60, 30, 8, 5)
    graphs = [compiler.compile(words) for words in transcripts]
    values = [generator.normal(-50, 4, (n, NUM_PDFS)).astype(np.float32) for n in lengths]
    ours, theirs = (
        list(
            align(
                graphs,
                np.array(lengths),
                lambda place, pdf_ids: torch.from_numpy(values[place][:, pdf_ids]),
                transitions,
                SCALES,
                CPU,
            )
        )
        for align in (align_batch, align_batch_with_k2)
    )
    assert ours[-1] is None and theirs[-1] is None  # six frames at least
    for one, other in zip(ours[:-1], theirs[:-1], strict=True):
        assert one is not None and other is not None
        assert other.score == pytest.approx(one.score, abs=1e-3)
        np.testing.assert_array_equal(other.transition_ids, one.transition_ids)


def test_speech(tmp_path: Path) -> None:
    task = make_spoken_task(tmp_path, num_cuts=8)
    for engine in ("torch", "k2"):
        (tmp_path / engine).mkdir()
        align_data(
            task.mfcc,
            task.lang,
            task.mono,
            tmp_path / engine,
            AlignmentScales(),
            CPU,
            engine=engine,  # type: ignore[arg-type]
        )
    ours, theirs = RaggedStore(tmp_path / "torch"), RaggedStore(tmp_path / "k2")
    assert list(ours) == list(theirs) and len(ours) == 8
    for cut_id in ours:
        np.testing.assert_array_equal(
            ours[cut_id]["transition_ids"], theirs[cut_id]["transition_ids"]
        )
