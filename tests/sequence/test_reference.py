"""The reference's path in denominator lattices, against the enumeration of all paths."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from lattice_cases import paths, random_lattice
from small_task import SmallTask, make_small_task
from torch import Tensor

from am.decoding.lattices import LatticeSettings
from am.errors import InputError
from am.graph.arrays import ArcList, to_fst
from am.processes import LocalProcesses
from am.sequence.denominator import (
    DenominatorSettings,
    DenominatorStore,
    make_denominator_lattices,
)
from am.sequence.lattice import DenominatorLattice
from am.sequence.lattice_batch import batch_lattices
from am.sequence.objectives import expected_accuracy, log_likelihood_ratio
from am.sequence.reference import ReferenceLattices, holds_path, with_paths_of
from am.storage import RaggedStore, write_shard, write_store_description

FRAMES = 4
PDFS = 3
SCALE = 0.6
NARROW = DenominatorSettings(1.0, LatticeSettings(6.0, 0.5), cuts_per_shard=5)


def masses(found: Iterable[tuple[tuple[int, ...], float]]) -> dict[tuple[int, ...], float]:
    """Senones of a path → log of the summed weight of the paths with them."""
    by_path: dict[tuple[int, ...], list[float]] = defaultdict(list)
    for pdf_ids, score in found:
        by_path[pdf_ids].append(score)
    return {path: float(np.logaddexp.reduce(scores)) for path, scores in by_path.items()}


def chain(pdf_ids: tuple[int, ...], score: float) -> DenominatorLattice:
    """A lattice of one path, which ends with an epsilon arc as a decoder's do."""
    states = np.arange(len(pdf_ids) + 2)
    scores = np.full(len(pdf_ids) + 1, score / (len(pdf_ids) + 1), dtype=np.float32)
    return DenominatorLattice(states[:-1], states[1:], np.array([*pdf_ids, -1]), scores)


def missing_path(lattice: DenominatorLattice) -> tuple[int, ...]:
    present = {path for path, _ in paths(lattice)}
    return next(
        path for path in itertools.product(range(PDFS), repeat=FRAMES) if path not in present
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_path_is_found_if_enumeration_finds_it(seed: int) -> None:
    lattice = random_lattice(np.random.default_rng(seed), FRAMES, PDFS, width=2)
    present = {path for path, _ in paths(lattice)}
    for path in itertools.product(range(PDFS), repeat=FRAMES):
        assert holds_path(lattice, np.array(path)) == (path in present)


@pytest.mark.parametrize("seed", range(6))
def test_an_added_path_is_there_and_no_other_path_is_changed(seed: int) -> None:
    lattice = random_lattice(np.random.default_rng(seed), FRAMES, PDFS, width=2)
    added = missing_path(lattice)
    joined = with_paths_of(lattice, chain(added, -2.5))
    assert masses(paths(joined)) == pytest.approx({**masses(paths(lattice)), added: -2.5}, rel=1e-6)
    back = DenominatorLattice.from_record(joined.to_record())
    np.testing.assert_array_equal(back.source, joined.source)
    assert (np.diff(joined.target) >= 0).all() and (joined.source < joined.target).all()
    with pytest.raises(ValueError, match="frames"):
        with_paths_of(lattice, chain(added[1:], 0.0))


def enumerated(
    lattice: DenominatorLattice, log_likelihoods: Tensor, pdf_ids: Tensor
) -> tuple[Tensor, Tensor]:
    """sMBR and MMI from the list of all paths, for autograd to differentiate."""
    rows = torch.arange(FRAMES)
    found = list(paths(lattice))
    of_paths = torch.tensor([path for path, _ in found])
    scores = torch.tensor([score for _, score in found], dtype=torch.float64)
    scores = scores + SCALE * log_likelihoods[rows, of_paths].sum(1)
    accuracies = (of_paths == pdf_ids).sum(1).double()
    reference = SCALE * log_likelihoods[rows, pdf_ids].sum()
    return (scores.softmax(0) * accuracies).sum(), reference - scores.logsumexp(0)


@pytest.mark.parametrize("seed", range(3))
def test_objectives_and_gradients_over_the_longer_list_of_paths(seed: int) -> None:
    lattice = random_lattice(np.random.default_rng(seed), FRAMES, PDFS, width=2)
    added = missing_path(lattice)
    joined = with_paths_of(lattice, chain(added, -1.0))
    batch, pdf_ids = batch_lattices([joined]), torch.tensor(added)
    generator = torch.Generator().manual_seed(seed)
    log_likelihoods = torch.randn(
        FRAMES, PDFS, dtype=torch.float64, generator=generator
    ).requires_grad_()
    for objective, expected in zip(
        (expected_accuracy, log_likelihood_ratio),
        enumerated(joined, log_likelihoods, pdf_ids),
        strict=True,
    ):
        value = objective(log_likelihoods, pdf_ids, batch, SCALE).sum()
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(
            torch.autograd.grad(value, log_likelihoods),
            torch.autograd.grad(expected, log_likelihoods, retain_graph=True),
        )
        assert torch.autograd.gradcheck(
            lambda x, of=objective: of(x, pdf_ids, batch, SCALE), (log_likelihoods,)
        )
    # The ratio leaves the reference's graph score of -1 out; with it, it is a probability's log.
    assert log_likelihood_ratio(log_likelihoods, pdf_ids, batch, SCALE).item() < 1.0


def acceptor() -> ArcList:
    """Two ways for the senones 0 1 1, of weights -1 and -3; 0 2 1 has one."""
    graph = ArcList()
    states = [graph.add_state() for _ in range(5)]
    graph.add_arc(states[0], states[1], 1, 1, 0.5)
    graph.add_arc(states[1], states[2], 2, 2, 0.25)
    graph.add_arc(states[1], states[3], 2, 2, 2.25)
    graph.add_arc(states[1], states[3], 3, 3, 0.0)
    graph.add_arc(states[2], states[4], 2, 2, 0.0)
    graph.add_arc(states[3], states[4], 2, 2, 0.0)
    graph.set_final(states[4], 0.25)
    return graph


def test_reference_gets_the_score_of_all_its_paths_through_the_graph() -> None:
    references = ReferenceLattices(to_fst(acceptor().to_arrays()), num_pdfs=3)
    twice = references.make(np.array([0, 1, 1]))
    once = references.make(np.array([0, 2, 1]))
    assert twice is not None and once is not None
    assert masses(paths(twice)) == pytest.approx({(0, 1, 1): np.logaddexp(-1.0, -3.0)}, rel=1e-6)
    assert masses(paths(once)) == pytest.approx({(0, 2, 1): -0.75}, rel=1e-6)
    assert references.make(np.array([0, 2, 2])) is None
    assert references.make(np.array([0, 1])) is not None  # unfinished, as the search allows it


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> SmallTask:
    return make_small_task(tmp_path_factory.mktemp("task"), num_labeled=12, num_dev=3)


def make(task: SmallTask, output: Path, labels: Path | None, jobs: int = 1) -> dict:
    output.mkdir(exist_ok=True)
    make_denominator_lattices(
        task.graph,
        task.labeled,
        task.model,
        output,
        NARROW,
        labels=labels,
        executor=LocalProcesses(jobs),
    )
    summary: dict = json.loads((output / "summary.json").read_text())
    return summary


def test_lattices_of_a_data_folder_get_their_references(task: SmallTask, tmp_path: Path) -> None:
    labels = task.labels / "labeled"
    plain = make(task, tmp_path / "plain", None)
    summary = make(task, tmp_path / "with", labels)
    store, before = DenominatorStore(tmp_path / "with"), DenominatorStore(tmp_path / "plain")
    lacking = 0
    for cut_id, record in ((cut, RaggedStore(labels)[cut]) for cut in RaggedStore(labels)):
        reference = tuple(record["pdf_ids"].tolist())
        old, new = masses(paths(before[cut_id])), masses(paths(store[cut_id]))
        lacking += reference not in old
        assert new.keys() == old.keys() | {reference}
        assert all(new[path] == pytest.approx(mass, abs=0.02) for path, mass in old.items())
    assert 0 < lacking == summary["without_reference"] == summary["reference_added"]
    assert plain["without_reference"] == 0
    assert summary["arcs"] > plain["arcs"] and summary["frames"] == plain["frames"]


def test_a_killed_run_goes_on_and_processes_do_not_matter(task: SmallTask, tmp_path: Path) -> None:
    labels = task.labels / "labeled"
    summary = make(task, tmp_path / "one", labels)
    assert make(task, tmp_path / "two", labels, jobs=2) == summary
    for name in ("shard-00000.safetensors", "shard-00002.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_labels_that_do_not_fit_are_refused(task: SmallTask, tmp_path: Path) -> None:
    store, longer = RaggedStore(task.labels / "labeled"), tmp_path / "labels"
    write_store_description(longer, store.description)
    records = ((cut, {"pdf_ids": np.append(store[cut]["pdf_ids"], 0)}) for cut in store)
    write_shard(longer, 0, records)
    with pytest.raises(InputError, match=r"cut labeled-00: \d+ labels"):
        make(task, tmp_path / "out", longer)
    make(task, tmp_path / "lattices", None)
    with pytest.raises(InputError, match="where pdf-ids are needed"):
        make(task, tmp_path / "out", tmp_path / "lattices")
