"""BMUF's filter against the paper's formulas, element by element in float64."""

import itertools

import pytest
import torch

from am.parallel.block_momentum import BlockMomentum
from am.parallel.settings import BmufSettings

WORKERS, SIZE, BLOCKS = 4, 5, 6


def of_the_paper(start, local_changes, momentum, gain, nesterov):
    """Models that the workers restart from, block by block (Chen and Huo, section 2)."""
    model, change = list(start), [0.0] * len(start)
    restart = list(start)
    restarts = []
    for changes in local_changes:
        for i in range(len(start)):
            mean = sum(restart[i] + worker[i] for worker in changes) / len(changes)
            change[i] = momentum * change[i] + gain * (mean - restart[i])
            model[i] += change[i]
            restart[i] = model[i] + (momentum * change[i] if nesterov else 0.0)
        restarts.append(list(restart))
    return restarts


@pytest.mark.parametrize(
    ("gain", "nesterov"),
    list(itertools.product(["paper", "damped_mean", "damped_sum"], [False, True])),
)
def test_the_filter_is_that_of_the_paper(gain, nesterov):
    generator = torch.Generator().manual_seed(3)
    settings = BmufSettings(
        block_momentum=0.6, block_learning_rate=0.9, gain=gain, nesterov=nesterov
    )
    start = torch.randn(SIZE, generator=generator, dtype=torch.float64)
    changes = torch.randn(BLOCKS, WORKERS, SIZE, generator=generator, dtype=torch.float64)
    factor = {"paper": 0.9, "damped_mean": 0.4 * 0.9, "damped_sum": 0.4 * 0.9 * WORKERS}[gain]
    expected = of_the_paper(start.tolist(), changes.tolist(), 0.6, factor, nesterov)
    momentum = settings.momentum_of(WORKERS)
    block = BlockMomentum(start, momentum, settings.gain_of(WORKERS), nesterov)
    restart = start
    for of_workers, model in zip(changes, expected, strict=True):
        restart = block.filter((restart + of_workers).mean(0))
        torch.testing.assert_close(restart, torch.tensor(model, dtype=torch.float64))


def test_without_momentum_it_is_the_mean_to_the_bit():
    generator = torch.Generator().manual_seed(4)
    block = BlockMomentum(torch.randn(SIZE, generator=generator), 0.0, 1.0, False)
    for _ in range(BLOCKS):
        mean = torch.randn(SIZE, generator=generator) * 1e-3
        assert torch.equal(block.filter(mean), mean)


def test_by_default_the_sum_s_gain_is_the_paper_s():
    """With η = 1 − 1/N the factor (1 − η) ζ N of the mean is ζ."""
    assert BmufSettings().momentum_of(8) == 0.875
    assert BmufSettings(gain="damped_sum").gain_of(8) == BmufSettings().gain_of(8) == 1.0
    assert BmufSettings().momentum_of(1) == 0.0


def test_it_goes_on_after_a_checkpoint():
    block = BlockMomentum(torch.zeros(SIZE), 0.5, 1.0, True)
    block.filter(torch.ones(SIZE))
    other = BlockMomentum(torch.full((SIZE,), 9.0), 0.5, 1.0, True)
    other.restore(block.state())
    assert torch.equal(other.restart(), block.restart())
    assert torch.equal(
        other.filter(torch.full((SIZE,), 2.0)), block.filter(torch.full((SIZE,), 2.0))
    )
