"""The torch code of lattices against k2's forward-backward: values and gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from am.k2.engine import Fsa, load_k2
from am.k2.objectives import expected_accuracies, total_scores
from am.sequence.forward_backward import arc_posteriors, forward_backward
from am.sequence.lattice import DenominatorLattice
from am.sequence.lattice_batch import LatticeBatch, batch_lattices
from am.sequence.objectives import arc_scores, expected_accuracy, log_likelihood_ratio
from tests.sequence.lattice_cases import random_lattice

pytestmark = pytest.mark.k2
NUM_PDFS = 5
LENGTHS = (12, 7, 1)
SCALE = 0.5


def to_k2(lattices: Sequence[DenominatorLattice], batch: LatticeBatch) -> tuple[Fsa, Tensor]:
    """The lattices as k2 takes them, and the place in the batch of each of its arcs.

    An arc from each lattice's last state to k2's final state is added; it has no place, −1.
    """
    k2 = load_k2()
    fsas, places = [], []
    for utterance, lattice in enumerate(lattices):
        own = np.flatnonzero(batch.utterance.numpy() == utterance)
        states = np.unique(np.concatenate([batch.source.numpy()[own], batch.target.numpy()[own]]))
        source = np.searchsorted(states, batch.source.numpy()[own])
        target = np.searchsorted(states, batch.target.numpy()[own])
        order = np.argsort(source, kind="stable")
        last = len(states) - 1
        rows = np.stack(
            [
                np.append(source[order], last),
                np.append(target[order], last + 1),
                np.append(batch.pdf_id.numpy()[own][order] + 1, -1),
                np.zeros(len(own) + 1, dtype=np.int64),
            ],
            axis=1,
        )
        assert lattice.num_states == len(states)
        fsas.append(k2.Fsa(torch.from_numpy(rows.astype(np.int32))))
        places.append(np.append(own[order], -1))
    return k2.create_fsa_vec(fsas), torch.from_numpy(np.concatenate(places))


def with_scores(fsas: Fsa, scores: Tensor) -> Fsa:
    fsas.scores = scores.float()
    return fsas


class Case:
    """Random lattices; scores that float32 holds exactly, so that both codes see the same."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        self.lattices = [random_lattice(rng, frames, NUM_PDFS) for frames in LENGTHS]
        self.batch = batch_lattices(self.lattices)
        self.fsas, places = to_k2(self.lattices, self.batch)
        self.places = places[places >= 0]
        self.is_arc = places >= 0
        generator = torch.Generator().manual_seed(seed)
        frames = sum(LENGTHS)
        self.log_likelihoods = torch.randn(frames, NUM_PDFS, generator=generator).double()
        self.pdf_ids = torch.randint(NUM_PDFS, (frames,), generator=generator)

    def in_k2(self, of_arcs: Tensor) -> Tensor:
        """Values of the batch's arcs in k2's order, 0 on the final arcs."""
        values = of_arcs.new_zeros(len(self.is_arc))
        return values.index_put((torch.nonzero(self.is_arc)[:, 0],), of_arcs[self.places])

    def scores(self) -> Tensor:
        """(A,) float64 values of float32."""
        return arc_scores(self.log_likelihoods, self.batch, SCALE).float().double()

    def correct(self) -> Tensor:
        """(A,) whether an arc has the reference's senone."""
        return self.batch.emits & (self.pdf_ids[self.batch.row] == self.batch.pdf_id)


@pytest.mark.parametrize("seed", range(6))
def test_values_and_posteriors(seed: int) -> None:
    case = Case(seed)
    scores, correct = case.scores(), case.correct().double()
    total, expected = forward_backward(scores, correct, case.batch)
    fsas = with_scores(case.fsas, case.in_k2(scores))
    torch.testing.assert_close(total_scores(fsas), total, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        expected_accuracies(fsas, case.in_k2(correct)), expected, rtol=0, atol=1e-10
    )
    posteriors = fsas.get_arc_post(use_double_scores=True, log_semiring=True).exp()
    torch.testing.assert_close(
        posteriors[case.is_arc],
        arc_posteriors(scores, case.batch)[case.places],
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("seed", range(6))
def test_gradients_in_the_arcs_scores(seed: int) -> None:
    """k2 gives gradients in float32, the precision of its scores."""
    case = Case(seed)
    weights = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    ours, theirs = (case.scores().requires_grad_() for _ in range(2))
    total, expected = forward_backward(ours, case.correct().double(), case.batch)
    fsas = with_scores(case.fsas, case.in_k2(theirs))
    k2_total = total_scores(fsas)
    k2_expected = expected_accuracies(fsas, case.in_k2(case.correct().double()))
    for value, k2_value in ((total, k2_total), (expected, k2_expected)):
        ours.grad = theirs.grad = None
        (value @ weights).backward(retain_graph=True)
        (k2_value @ weights).backward(retain_graph=True)
        torch.testing.assert_close(theirs.grad, ours.grad, rtol=0, atol=3e-6)


@pytest.mark.parametrize("seed", range(3))
def test_objectives_down_to_the_network(seed: int) -> None:
    """sMBR and MMI with their gradients in the log-likelihoods."""
    case = Case(seed)
    ours, theirs = (case.log_likelihoods.clone().requires_grad_() for _ in range(2))

    smbr = expected_accuracy(ours, case.pdf_ids, case.batch, SCALE).sum()
    mmi = log_likelihood_ratio(ours, case.pdf_ids, case.batch, SCALE, drop_frames=False).sum()

    fsas = with_scores(case.fsas, case.in_k2(arc_scores(theirs, case.batch, SCALE)))
    k2_smbr = expected_accuracies(fsas, case.in_k2(case.correct().double())).sum()
    reference = theirs.gather(1, case.pdf_ids[:, None]).sum() * SCALE
    k2_mmi = reference - total_scores(fsas).sum()
    for value, k2_value in ((smbr, k2_smbr), (mmi, k2_mmi)):
        assert float(k2_value) == pytest.approx(float(value), abs=1e-5)
        ours.grad = theirs.grad = None
        value.backward(retain_graph=True)
        k2_value.backward(retain_graph=True)
        torch.testing.assert_close(theirs.grad, ours.grad, rtol=0, atol=1e-5)
