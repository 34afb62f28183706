"""Forward-backward against the enumeration of all paths, and its gradients against differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lattice_cases import paths, random_lattice
from torch import Tensor

from am.sequence.forward_backward import arc_posteriors, forward_backward
from am.sequence.lattice import DenominatorLattice
from am.sequence.lattice_batch import LatticeBatch, batch_lattices
from am.sequence.objectives import (
    arc_scores,
    expected_accuracy,
    log_likelihood_ratio,
    reference_in_lattice,
    senone_posteriors,
)

NUM_PDFS = 4
SCALE = 0.7


def case(seed: int) -> tuple[list[DenominatorLattice], LatticeBatch, Tensor, Tensor]:
    """Three lattices of different lengths, random log-likelihoods and a reference."""
    rng = np.random.default_rng(seed)
    lattices = [random_lattice(rng, frames, NUM_PDFS) for frames in (4, 1, 3)]
    generator = torch.Generator().manual_seed(seed)
    log_likelihoods = torch.randn(8, NUM_PDFS, dtype=torch.float64, generator=generator)
    pdf_ids = torch.randint(NUM_PDFS, (8,), generator=generator)
    return lattices, batch_lattices(lattices), log_likelihoods, pdf_ids


def enumerated(
    lattices: list[DenominatorLattice], log_likelihoods: Tensor, pdf_ids: Tensor
) -> list[tuple[float, float]]:
    """Total score and expected accuracy of each lattice, from its list of paths."""
    results, first = [], 0
    for lattice in lattices:
        rows = log_likelihoods[first : first + lattice.num_frames].numpy()
        reference = pdf_ids[first : first + lattice.num_frames].numpy()
        first += lattice.num_frames
        scores, accuracies = [], []
        for path, graph_score in paths(lattice):
            acoustic = rows[np.arange(len(path)), list(path)].sum()
            scores.append(graph_score + SCALE * acoustic)
            accuracies.append((np.array(path) == reference).sum())
        total = np.logaddexp.reduce(scores)
        results.append((total, (np.exp(np.array(scores) - total) * accuracies).sum()))
    return results


@pytest.mark.parametrize("seed", range(5))
def test_values_are_those_of_all_paths(seed: int) -> None:
    lattices, batch, log_likelihoods, pdf_ids = case(seed)
    expected = enumerated(lattices, log_likelihoods, pdf_ids)
    scores = arc_scores(log_likelihoods, batch, SCALE)
    total, _ = forward_backward(scores, torch.zeros_like(scores), batch)
    accuracy = expected_accuracy(log_likelihoods, pdf_ids, batch, SCALE)
    np.testing.assert_allclose(total, [row[0] for row in expected], rtol=1e-10)
    np.testing.assert_allclose(accuracy, [row[1] for row in expected], rtol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_phone_accuracy_is_that_of_all_paths(seed: int) -> None:
    lattices, batch, log_likelihoods, pdf_ids = case(seed)
    classes = np.array([0, 1, 0, 2])
    first, expected = 0, []
    for lattice in lattices:
        rows = log_likelihoods[first : first + lattice.num_frames].numpy()
        reference = pdf_ids[first : first + lattice.num_frames].numpy()
        first += lattice.num_frames
        found = list(paths(lattice))
        scores = np.array(
            [score + SCALE * rows[np.arange(len(path)), list(path)].sum() for path, score in found]
        )
        correct = [(classes[list(path)] == classes[reference]).sum() for path, _ in found]
        weights = np.exp(scores - np.logaddexp.reduce(scores))
        expected.append((weights * correct).sum())
    of_pdf = torch.from_numpy(classes)
    accuracy = expected_accuracy(log_likelihoods, pdf_ids, batch, SCALE, of_pdf)
    np.testing.assert_allclose(accuracy, expected, rtol=1e-10)
    assert (accuracy >= expected_accuracy(log_likelihoods, pdf_ids, batch, SCALE)).all()
    assert torch.autograd.gradcheck(
        lambda x: expected_accuracy(x, pdf_ids, batch, SCALE, of_pdf),
        (log_likelihoods.requires_grad_(),),
    )


@pytest.mark.parametrize("seed", range(3))
def test_gradients(seed: int) -> None:
    _, batch, log_likelihoods, pdf_ids = case(seed)
    scores = arc_scores(log_likelihoods, batch, SCALE).requires_grad_()
    gains = torch.rand(len(scores), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, c: forward_backward(s, c, batch), (scores, gains))
    log_likelihoods.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: expected_accuracy(x, pdf_ids, batch, SCALE), (log_likelihoods,)
    )
    assert torch.autograd.gradcheck(
        lambda x: log_likelihood_ratio(x, pdf_ids, batch, SCALE, drop_frames=False),
        (log_likelihoods,),
    )


def test_posteriors_of_a_frame_sum_to_one_and_are_the_total_s_gradient() -> None:
    _, batch, log_likelihoods, _ = case(0)
    scores = arc_scores(log_likelihoods, batch, SCALE).requires_grad_()
    total, _ = forward_backward(scores, torch.zeros_like(scores), batch)
    (gradient,) = torch.autograd.grad(total.sum(), scores)
    torch.testing.assert_close(arc_posteriors(scores, batch), gradient)
    frames = senone_posteriors(log_likelihoods, batch, SCALE)
    torch.testing.assert_close(frames.sum(1), torch.ones(8, dtype=torch.float64))


def test_a_constant_a_frame_changes_nothing() -> None:
    _, batch, log_likelihoods, pdf_ids = case(1)
    shifted = log_likelihoods + torch.randn(8, 1, dtype=torch.float64)
    for objective in (expected_accuracy, log_likelihood_ratio):
        torch.testing.assert_close(
            objective(shifted, pdf_ids, batch, SCALE),
            objective(log_likelihoods, pdf_ids, batch, SCALE),
        )


def test_an_utterance_s_values_do_not_depend_on_its_batch() -> None:
    lattices, batch, log_likelihoods, pdf_ids = case(2)
    together = expected_accuracy(log_likelihoods, pdf_ids, batch, SCALE)
    alone = expected_accuracy(log_likelihoods[5:], pdf_ids[5:], batch_lattices(lattices[2:]), SCALE)
    torch.testing.assert_close(together[2:], alone)


def test_frames_without_the_reference_get_no_gradient_in_mmi() -> None:
    lattices, batch, log_likelihoods, _ = case(3)
    pdf_ids = torch.zeros(8, dtype=torch.int64)
    held = reference_in_lattice(pdf_ids, batch)
    first, expected = 0, []
    for lattice in lattices:
        seen = np.array([path for path, _ in paths(lattice)])
        expected += [(seen[:, frame] == 0).any() for frame in range(lattice.num_frames)]
        first += lattice.num_frames
    assert held.tolist() == expected
    log_likelihoods.requires_grad_()
    log_likelihood_ratio(log_likelihoods, pdf_ids, batch, SCALE).sum().backward()
    assert log_likelihoods.grad is not None
    assert (log_likelihoods.grad[~held] == 0).all()
    assert (log_likelihoods.grad[held] != 0).any()


def test_scores_far_apart_stay_finite() -> None:
    _, batch, log_likelihoods, pdf_ids = case(4)
    sharp = (1000.0 * log_likelihoods).float().requires_grad_()
    accuracy = expected_accuracy(sharp, pdf_ids, batch, 1.0)
    accuracy.sum().backward()
    assert sharp.grad is not None and torch.isfinite(sharp.grad).all()
    assert sharp.grad.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    _, batch, log_likelihoods, pdf_ids = case(0)
    gradients = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        x = log_likelihoods.to(device).requires_grad_()
        expected_accuracy(x, pdf_ids.to(device), batch.to(device), SCALE).sum().backward()
        gradients.append(x.grad.cpu())
    torch.testing.assert_close(*gradients)
