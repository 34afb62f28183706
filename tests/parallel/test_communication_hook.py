"""GTC as a hook of DistributedDataParallel, with different data on each process."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from am.parallel.communication_hook import ThresholdState, threshold_hook
from am.parallel.settings import GtcSettings
from tests.parallel.processes import run_processes

NUM_UPDATES = 5
DENSE_UPDATES = 2
SMALL_BUCKETS_MEGABYTES = 0.0005


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 9), nn.Tanh(), nn.Linear(9, 3))


def loss_of(network, rank, update):
    generator = torch.Generator().manual_seed(100 * update + rank)
    inputs = torch.randn(7, 6, generator=generator)
    return nn.functional.cross_entropy(network(inputs), torch.arange(7) % 3)


def gradient_of(network):
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def own_gradient(network, rank, update):
    found = torch.autograd.grad(loss_of(network, rank, update), list(network.parameters()))
    return torch.cat([one.flatten() for one in found])


def hooked(network, group, settings):
    state = ThresholdState(group, settings)
    model = DistributedDataParallel(network, bucket_cap_mb=SMALL_BUCKETS_MEGABYTES)
    model.register_comm_hook(state, threshold_hook)
    return model, state


def gradients_of_updates(group, settings):
    """Of each update: what arrived, and this process's share of the mean gradient."""
    network = make_network()
    model, _ = hooked(network, group, settings)
    arrived, shares = [], []
    for update in range(NUM_UPDATES):
        shares.append(own_gradient(network, group.rank, update) / group.size)
        network.zero_grad()
        loss_of(model, group.rank, update).backward()
        arrived.append(gradient_of(network).clone())
    return torch.stack(arrived), torch.stack(shares)


def test_a_threshold_of_zero_is_the_all_reduce(tmp_path):
    results = run_processes(tmp_path, 3, gradients_of_updates, GtcSettings(threshold=0.0))
    mean = sum(shares for _, shares in results)
    for arrived, _ in results:
        torch.testing.assert_close(arrived, mean)


def sent_by_definition(shares, threshold):
    """(updates, n) what a process sends: ±τ of each element whose residual exceeds τ."""
    residual, sent = torch.zeros_like(shares[0]), []
    for share in shares:
        residual = residual + share
        change = torch.where(residual.abs() > threshold, threshold * residual.sign(), 0.0)
        residual = residual - change
        sent.append(change)
    return torch.stack(sent)


def test_dense_updates_come_first_then_messages_element_by_element(tmp_path):
    threshold = 0.03
    settings = GtcSettings(threshold=threshold, dense_updates=DENSE_UPDATES, residual_clip=0.0)
    results = run_processes(tmp_path, 3, gradients_of_updates, settings)
    dense = sum(shares[:DENSE_UPDATES] for _, shares in results)
    sent = sum(sent_by_definition(shares[DENSE_UPDATES:], threshold) for _, shares in results)
    assert 0 < (sent != 0).float().mean() < 0.9
    for arrived, _ in results:
        assert torch.equal(arrived, results[0][0])
        torch.testing.assert_close(arrived, torch.cat([dense, sent]), rtol=1e-5, atol=1e-6)


def updates_with_a_restart(group, restart_after):
    """What arrived in each compressed update, starting again from a checkpoint on the way."""
    settings = GtcSettings(threshold=0.01, dense_updates=1)
    network = make_network()
    model, state = hooked(network, group, settings)
    arrived = []
    for update in range(NUM_UPDATES):
        if update == restart_after:
            kept = state.state()
            model, state = hooked(network, group, settings)
            state.restore(kept)
            # After a restart the first update is dense, and residuals wait.
            network.zero_grad()
            loss_of(model, group.rank, 0).backward()
        network.zero_grad()
        loss_of(model, group.rank, update).backward()
        arrived.append(gradient_of(network).clone())
    return torch.stack(arrived)


def test_residuals_go_through_a_checkpoint(tmp_path):
    (expected, _) = run_processes(tmp_path, 2, updates_with_a_restart, None)
    (resumed, _) = run_processes(tmp_path, 2, updates_with_a_restart, 3)
    assert torch.equal(resumed, expected)
