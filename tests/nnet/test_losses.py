"""The losses against the dense formula and finite differences."""

import math

import pytest
import torch

from am.nnet.batch import Batch
from am.nnet.losses import hard_label_loss, soft_label_loss, soft_label_weights
from am.nnet.trainer import frame_loss


def example(frames=5, senones=9, k=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(frames, senones, generator=generator, dtype=dtype, requires_grad=True)
    pdf_ids = torch.stack([torch.randperm(senones, generator=generator)[:k] for _ in range(frames)])
    stored = torch.randn(frames, k, generator=generator, dtype=dtype) * 3
    return logits, pdf_ids, stored


def dense_loss(logits, pdf_ids, stored):
    """-Σ q log p over all senones, q zero but for the stored ones."""
    targets = torch.zeros_like(logits).scatter(1, pdf_ids, stored.softmax(-1))
    return -(targets * logits.log_softmax(-1)).sum()


def test_soft_loss_and_gradient_equal_the_dense_formula():
    logits, pdf_ids, stored = example()
    (expected,) = torch.autograd.grad(dense_loss(logits, pdf_ids, stored), logits)
    (gradient,) = torch.autograd.grad(soft_label_loss(logits, pdf_ids, stored), logits)
    torch.testing.assert_close(
        soft_label_loss(logits, pdf_ids, stored), dense_loss(logits, pdf_ids, stored)
    )
    torch.testing.assert_close(gradient, expected)


def test_soft_gradient_equals_finite_differences():
    logits, pdf_ids, stored = example()
    assert torch.autograd.gradcheck(lambda z: soft_label_loss(z, pdf_ids, stored), logits)


def test_a_certain_teacher_is_a_hard_label():
    logits, pdf_ids, stored = example()
    stored[:, 0] = 1000.0
    torch.testing.assert_close(
        soft_label_loss(logits, pdf_ids, stored), hard_label_loss(logits, pdf_ids[:, 0])
    )


def test_a_constant_added_to_the_stored_logits_changes_nothing():
    logits, pdf_ids, stored = example()
    torch.testing.assert_close(
        soft_label_loss(logits, pdf_ids, stored), soft_label_loss(logits, pdf_ids, stored - 7.0)
    )


def test_half_precision_logits_and_large_ones_stay_finite():
    logits, pdf_ids, stored = example(dtype=torch.float32)
    large = (logits.detach() * 1e4).requires_grad_()
    loss = soft_label_loss(large, pdf_ids, stored.half())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(large.grad).all()


def test_hard_loss_is_the_sum_over_frames():
    logits, pdf_ids, _ = example()
    labels = pdf_ids[:, 0]
    expected = -sum(logits.log_softmax(-1)[t, labels[t]] for t in range(len(labels)))
    torch.testing.assert_close(hard_label_loss(logits, labels), expected)


def test_frames_of_weight_one_make_the_plain_loss():
    logits, pdf_ids, stored = example()
    plain, ones = (
        soft_label_loss(logits, pdf_ids, stored, weights)
        for weights in (None, torch.ones(len(stored)))
    )
    torch.testing.assert_close(ones, plain)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits) for loss in (ones, plain)))


def test_weighted_frames_are_the_weighted_sum_of_single_frames():
    logits, pdf_ids, stored = example()
    weights = torch.rand(len(stored), dtype=torch.float64)
    single = [
        weight * dense_loss(logits[n : n + 1], pdf_ids[n : n + 1], stored[n : n + 1])
        for n, weight in enumerate(weights)
    ]
    torch.testing.assert_close(soft_label_loss(logits, pdf_ids, stored, weights), sum(single))
    assert torch.autograd.gradcheck(lambda z: soft_label_loss(z, pdf_ids, stored, weights), logits)


def test_weights_by_hand():
    halves = [math.log(0.5), math.log(0.5)]
    uneven = [math.log(0.6), math.log(0.2)]
    sure = [0.0, -50.0]
    stored = torch.tensor([halves, uneven, sure])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert soft_label_weights(stored, "none") is None
    assert soft_label_weights(stored, "confidence").tolist() == pytest.approx([0.5, 0.6, 1.0])
    assert soft_label_weights(stored, "entropy").tolist() == pytest.approx(
        [0.0, 1 - entropy, 1.0], abs=1e-6
    )
    assert soft_label_weights(stored[:, :1], "entropy").tolist() == [1.0, 1.0, 1.0]


def test_a_batch_is_weighted_as_the_setting_says():
    logits, pdf_ids, stored = example()
    stored = stored.log_softmax(-1)
    batch = Batch(("a",), torch.zeros(1, 15, 2), torch.tensor([15]), pdf_ids, stored)
    torch.testing.assert_close(frame_loss(logits, batch), soft_label_loss(logits, pdf_ids, stored))
    weights = stored.amax(-1).exp()
    torch.testing.assert_close(
        frame_loss(logits, batch, "confidence"), soft_label_loss(logits, pdf_ids, stored, weights)
    )
