"""The losses against the dense formula and finite differences."""

import torch

from am.nnet.losses import hard_label_loss, soft_label_loss


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
