"""GTC's residual: nothing is lost, little is sent."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from am.parallel.settings import GtcSettings
from am.parallel.threshold_compression import ThresholdCompressor
from am.parallel.threshold_message import HEADER_WORDS, add_messages

CPU = torch.device("cpu")


def gradients(size, count, seed=0):
    """Values of very different sizes, as in a network."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.randn(size, generator=generator).mul(2.0).exp()
    return [torch.randn(size, generator=generator) * scales for _ in range(count)]


def decoded(message, size):
    vector = torch.zeros(size)
    add_messages(message, [vector])
    return vector


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(1, 400),
    count=st.integers(1, 8),
    seed=st.integers(0, 2**31),
    threshold=st.one_of(st.none(), st.floats(0.01, 5.0)),
    density=st.sampled_from([0.001, 0.05, 0.5]),
)
def test_sent_and_kept_are_the_sum_of_gradients(size, count, seed, threshold, density):
    compressor = ThresholdCompressor(size, CPU, GtcSettings(threshold, density, residual_clip=0.0))
    sent, total = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for gradient in gradients(size, count, seed):
        total += gradient
        sent += decoded(compressor.compress(gradient.clone()), size)
    scale = total.abs().max().item() + 1.0
    torch.testing.assert_close(sent + compressor.residual, total, rtol=0, atol=1e-5 * scale)


def test_by_hand():
    compressor = ThresholdCompressor(4, CPU, GtcSettings(threshold=1.0, residual_clip=0.0))
    first = compressor.compress(torch.tensor([0.5, -1.5, 3.0, 1.0]))
    assert decoded(first, 4).tolist() == [0.0, -1.0, 1.0, 0.0]
    assert compressor.residual.tolist() == [0.5, -0.5, 2.0, 1.0]
    second = compressor.compress(torch.tensor([0.75, -0.25, 0.0, 0.0]))
    assert decoded(second, 4).tolist() == [1.0, 0.0, 1.0, 0.0]
    assert compressor.residual.tolist() == [0.25, -0.75, 1.0, 1.0]


def test_the_residual_is_clipped():
    compressor = ThresholdCompressor(2, CPU, GtcSettings(threshold=1.0, residual_clip=2.0))
    compressor.compress(torch.tensor([10.0, -10.0]))
    assert compressor.residual.tolist() == [2.0, -2.0]


@pytest.mark.parametrize("density", [0.01, 0.001])
def test_the_automatic_threshold_sends_the_wanted_share(density):
    size, settings_ = 200_000, GtcSettings(density=density)
    compressor = ThresholdCompressor(size, CPU, settings_)
    lengths = [len(compressor.compress(one)) - HEADER_WORDS for one in gradients(size, 10)]
    assert sum(lengths) / len(lengths) / size == pytest.approx(density, rel=0.3)


def test_zeros_send_nothing_and_a_lonely_element_is_sent():
    compressor = ThresholdCompressor(1000, CPU, GtcSettings(density=0.001, residual_clip=0.0))
    assert len(compressor.compress(torch.zeros(1000))) == HEADER_WORDS
    gradient = torch.zeros(1000)
    gradient[7] = -3.0
    assert decoded(compressor.compress(gradient.clone()), 1000)[7] == -1.5


def test_a_constant_gradient_arrives_at_its_own_speed():
    """After many updates every element has received what it was sent, up to one threshold."""
    compressor = ThresholdCompressor(50, CPU, GtcSettings(threshold=0.1, residual_clip=0.0))
    gradient = torch.linspace(-0.09, 0.09, 50)
    received = sum(decoded(compressor.compress(gradient.clone()), 50) for _ in range(200))
    assert (received - 200 * gradient).abs().max() <= 0.1 + 1e-4
    assert math.isclose(received[-1].item(), 18.0, abs_tol=0.11)
