"""Lattice-free criteria against the enumeration of every path, and training with them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from am.alignment.align_data import align_data
from am.alignment.senone_labels import write_senone_labels
from am.alignment.training_graph import GraphCompiler
from am.alignment.viterbi import AlignmentScales, scaled_log_transitions
from am.errors import InputError
from am.features.compute import SETTINGS_OF_KIND, compute_features
from am.graph.arrays import FstArrays
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.k2.alignment import training_fsa
from am.k2.engine import Fsa, let_lhotse_sample, load_k2
from am.k2.graph import emitting_graph
from am.k2.lattice_free import DenominatorSearch, LatticeFreeLoss
from am.k2.lattice_free_training import LatticeFreeSettings, train_lattice_free
from am.k2.objectives import total_scores
from am.lang.lang import Lang
from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from am.nnet.data import Batch, BatchingSettings
from am.nnet.lstm import LstmSettings
from am.nnet.trainer import TrainerSettings
from am.sequence.phone_language_model import PhoneGraphSettings, make_phone_graph
from am.tree.context_tree import monophone_tree
from tests.alignment.alignment_cases import (
    NUM_PDFS as NUM_ALIGNMENT_PDFS,
)
from tests.alignment.alignment_cases import (
    RandomTree,
    X,
    Y,
    alignments_of,
    random_transitions,
    small_lang,
    state_sequences,
)
from tests.k2.k2_cases import all_paths, make_spoken_task, random_graph

CPU = torch.device("cpu")
NUM_PDFS, SCALE = 3, 0.6
WIDE = DenominatorSearch(beam=1000.0, lattice_beam=1000.0, max_active=100_000, min_active=0)
# At 10 ms; three of them are a frame.
LENGTHS = (7, 12, 3)
FRAMES = (3, 4, 1)


def make_batch(seed: int) -> tuple[Batch, Tensor]:
    """Three utterances, not the longest first, and float32 logits."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(LENGTHS)
    pdf_ids = torch.randint(NUM_PDFS, (sum(FRAMES),), generator=generator)
    batch = Batch(("a", "b", "c"), torch.zeros(3, 12, 1), lengths, pdf_ids, None)
    return batch, torch.randn(sum(FRAMES), NUM_PDFS, generator=generator)


def denominator(seed: int) -> tuple[FstArrays, Fsa]:
    fst = random_graph(np.random.default_rng(seed), 4, NUM_PDFS, 2)
    return fst, emitting_graph(fst).to_k2(CPU)


def path_scores(fst: FstArrays, scores: Tensor, reference: Tensor) -> tuple[Tensor, Tensor] | None:
    """Score and correct frames of every path of a graph; None if there is none."""
    totals, correct = [], []
    for (labels, _, cost), number in all_paths(fst, len(scores)).items():
        pdf_ids = torch.tensor(labels) - 1
        total = scores[torch.arange(len(scores)), pdf_ids].sum() - cost
        totals += [total] * number
        correct += [(pdf_ids == reference).sum()] * number
    return (torch.stack(totals), torch.stack(correct).double()) if totals else None


def enumerated(
    fst: FstArrays, scores: Tensor, pdf_ids: Tensor, criterion: str
) -> tuple[Tensor, int]:
    """The criterion's sum over the utterances, and how many have a path."""
    sums, used = [], 0
    for one, reference in zip(scores.split(FRAMES), pdf_ids.split(FRAMES), strict=True):
        found = path_scores(fst, one, reference)
        if found is None:
            continue
        used += 1
        totals, correct = found
        if criterion == "smbr":
            sums.append(totals.softmax(0) @ correct)
        else:
            sums.append(one.gather(1, reference[:, None]).sum() - totals.logsumexp(0))
    return torch.stack(sums).sum(), used


@pytest.mark.k2
@pytest.mark.parametrize("criterion", ["mmi", "smbr"])
@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients_are_those_of_all_paths(criterion: str, seed: int) -> None:
    fst, fsa = denominator(seed)
    batch, logits = make_batch(seed)
    priors = torch.tensor([0.5, 0.3, 0.2]).log()
    loss = LatticeFreeLoss(fsa, WIDE, priors, criterion, SCALE, 0.1)  # type: ignore[arg-type]
    ours, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
    found = loss.criterion_of(ours, batch)
    expected, used = enumerated(fst, SCALE * (exact - priors), batch.pdf_ids, criterion)
    assert int(found.is_used.sum()) == used
    torch.testing.assert_close(found.values.sum(), expected, rtol=0, atol=1e-4)
    found.values.sum().backward()
    expected.backward()
    assert ours.grad is not None and exact.grad is not None
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=0, atol=1e-5)


@pytest.mark.k2
def test_an_utterance_without_a_path_teaches_cross_entropy_alone() -> None:
    """The graph has paths of exactly four frames."""
    four = FstArrays(
        final=np.array([np.inf] * 4 + [0.0], dtype=np.float32),
        source=np.arange(4, dtype=np.int32),
        ilabel=np.ones(4, dtype=np.int32),
        olabel=np.zeros(4, dtype=np.int32),
        weight=np.zeros(4, dtype=np.float32),
        nextstate=np.arange(1, 5, dtype=np.int32),
    )
    batch, logits = make_batch(0)
    fsa = emitting_graph(four).to_k2(CPU)
    for criterion in ("mmi", "smbr"):
        loss = LatticeFreeLoss(fsa, WIDE, torch.zeros(NUM_PDFS), criterion, SCALE, 0.0)  # type: ignore[arg-type]
        leaf = logits.clone().requires_grad_()
        found = loss.criterion_of(leaf, batch)
        assert found.is_used.tolist() == [True, False, False]  # the longest comes first
        value = loss(found, leaf, batch)
        value.backward()
        assert torch.isfinite(value) and leaf.grad is not None
        per_utterance = [part.abs().sum() > 0 for part in leaf.grad.split(FRAMES)]
        assert [bool(each) for each in per_utterance] == [False, criterion == "mmi", False]


@pytest.mark.k2
@pytest.mark.parametrize("seed", range(4))
def test_transcripts_sum_over_all_their_alignments(seed: int) -> None:
    generator = np.random.default_rng(seed)
    lang = small_lang()
    transitions = random_transitions(generator)
    tree = RandomTree(generator, kinds=2)
    compiler = GraphCompiler(lang, tree, lang.topology, transitions)  # type: ignore[arg-type]
    scores = generator.normal(0, 2, (7, NUM_ALIGNMENT_PDFS)).astype(np.float32)
    logs = scaled_log_transitions(transitions, AlignmentScales(1.0, 0.4))
    expected = [
        weight
        + sum(
            logs[transition_id] + scores[frame, transitions.pdf_ids[(transition_id - 1) // 2]]
            for frame, transition_id in enumerate(path)
        )
        for states, weight in state_sequences(lang, tree, transitions, [X, Y])
        for path in alignments_of(states, len(scores))
    ]
    k2 = load_k2()
    graph = compiler.compile([X, Y])
    labels = transitions.pdf_ids[graph.transition_states - 1] + 1
    fsas = k2.create_fsa_vec([training_fsa(graph, labels, logs)])
    padded = torch.nn.functional.pad(torch.from_numpy(scores)[None], (1, 0))
    dense = k2.DenseFsaVec(padded, torch.tensor([[0, 0, 7]], dtype=torch.int32))
    found = total_scores(k2.intersect_dense(fsas, dense, 1000.0))
    assert float(found) == pytest.approx(float(np.logaddexp.reduce(expected)), abs=1e-4)


TRAINER = TrainerSettings(learning_rate=0.01, warm_up_updates=1)
BATCHING = BatchingSettings(batch_seconds=10.0, num_buckets=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic speech with senone labels, a network trained a little, and a phone graph."""
    root = tmp_path_factory.mktemp("spoken")
    task = make_spoken_task(root)
    for name in ("ali", "senones", "lfbe", "network", "phones"):
        (root / name).mkdir()
    align_data(task.mfcc, task.lang, task.mono, root / "ali", AlignmentScales(), CPU)
    lang = Lang.load(task.lang)
    topology = Topology.uniform(lang.real_phones, 1)
    tree = monophone_tree([list(root) for root in lang.roots], topology)
    transitions = TransitionModel.from_triples(tree.possible_triples(topology), 0.5)
    for name, part in (("tree", tree), ("topology", topology), ("transitions", transitions)):
        part.save(root / "senones" / f"{name}.json")
    (root / "senones/phones.txt").write_text((task.lang / "phones.txt").read_text())
    for name in ("labeled", "dev"):
        (root / "labels" / name).mkdir(parents=True)
        write_senone_labels(root / "ali", root / "senones", root / "labels" / name)
    let_lhotse_sample()
    settings = SETTINGS_OF_KIND["lfbe"]()
    compute_features(root / "data", root / "lfbe", root / "lfbe", "lfbe", settings)
    train_cross_entropy(
        root / "lfbe",
        root / "lfbe",
        root / "senones",
        root / "labels",
        root / "network",
        CrossEntropySettings(
            LstmSettings(num_layers=1, cells=16, bidirectional=False), TRAINER, BATCHING, epochs=3
        ),
        device="cpu",
    )
    make_phone_graph(
        root / "ali", task.lang, root / "senones", root / "phones", PhoneGraphSettings(order=2)
    )
    return root


def train(root: Path, output: Path, settings: LatticeFreeSettings) -> None:
    output.mkdir()
    train_lattice_free(
        *(root / name for name in ("lfbe", "lfbe", "lang_test", "senones", "labels")),
        root / "network",
        root / "phones",
        output,
        settings,
        "cpu",
    )


def values_logged(lines: Sequence[str]) -> list[float]:
    found = (re.search(r"(?:MMI|expected accuracy) (-?[\d.]+) a frame", line) for line in lines)
    return [float(match[1]) for match in found if match]


@pytest.mark.k2
@pytest.mark.parametrize(
    ("criterion", "numerator"), [("mmi", "alignment"), ("mmi", "transcript"), ("smbr", "alignment")]
)
def test_training_raises_the_criterion(
    folders: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    criterion: str,
    numerator: str,
) -> None:
    caplog.set_level("INFO")
    settings = LatticeFreeSettings(
        criterion=criterion,  # type: ignore[arg-type]
        numerator=numerator,  # type: ignore[arg-type]
        acoustic_scale=1.0,
        epochs=3,
        trainer=TRAINER,
        batching=BATCHING,
    )
    train(folders, tmp_path / "out", settings)
    values = values_logged(caplog.messages)
    assert len(values) == 3 and values[-1] > values[0]
    assert "empty lattice" not in caplog.text
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["skipped_batches"] == 0 and summary["updates"] > 3


@pytest.mark.k2
def test_a_graph_of_other_senones_is_refused(folders: Path, tmp_path: Path) -> None:
    other = tmp_path / "phones"
    other.mkdir()
    for path in (folders / "phones").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    facts = json.loads((other / "graph.json").read_text())
    (other / "graph.json").write_text(json.dumps({**facts, "tree_sha256": "0" * 64}))
    with pytest.raises(InputError, match="made with another tree"):
        train_lattice_free(
            *(folders / name for name in ("lfbe", "lfbe", "lang_test", "senones", "labels")),
            folders / "network",
            other,
            tmp_path,
            LatticeFreeSettings(),
            "cpu",
        )


def test_bad_settings() -> None:
    settings = LatticeFreeSettings()
    for changes, told in (
        ({"cross_entropy_weight": 2.0}, "cross_entropy_weight 2"),
        ({"epochs": 0}, "epochs 0"),
        ({"acoustic_scale": 0.0}, "acoustic_scale 0"),
        ({"criterion": "smbr", "numerator": "transcript"}, "leave it alignment"),
    ):
        with pytest.raises(InputError, match=told):
            replace(settings, **changes)  # type: ignore[arg-type]
