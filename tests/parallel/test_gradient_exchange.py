"""What processes send each other, with different data on each: gradients, messages, models."""

import pytest
import torch
from torch import nn

from am.nnet.checkpoint import TrainingState
from am.nnet.losses import hard_label_loss
from am.nnet.lstm import AcousticModel, LstmSettings
from am.nnet.optimizer import OptimizerStep
from am.nnet.trainer_settings import TrainerSettings
from am.parallel.block_worker import BlockWorker
from am.parallel.settings import BmufSettings, GtcSettings, ParallelSettings
from am.parallel.worker import SynchronousWorker
from tests.parallel.processes import run_processes

CPU = torch.device("cpu")
LENGTHS = ([7, 4], [9], [3, 3, 2])  # of each process's utterances
INPUT_DIM, NUM_PDFS = 5, 4
SGD = TrainerSettings(optimizer="sgd", momentum=0.9, learning_rate=0.1, gradient_clip=1e6)


def make_model():
    torch.manual_seed(0)
    return AcousticModel(LstmSettings(1, 6, False), INPUT_DIM, NUM_PDFS)


def data_of(rank, step=0):
    """(B, T', D) vectors, (B,) lengths, (N,) labels."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    lengths = torch.tensor(LENGTHS[rank])
    vectors = torch.randn(len(lengths), int(lengths.max()), INPUT_DIM, generator=generator)
    return vectors, lengths, torch.randint(NUM_PDFS, (int(lengths.sum()),), generator=generator)


def mean_loss(model, vectors, lengths, pdf_ids):
    return hard_label_loss(model.frame_logits(vectors, lengths), pdf_ids) / len(pdf_ids)


def gradient_of(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def weights_of(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def joint_gradient(num_ranks):
    """Of one batch made of all processes' utterances."""
    model = make_model()
    total = sum(len(data_of(rank)[2]) for rank in range(num_ranks))
    for rank in range(num_ranks):
        vectors, lengths, pdf_ids = data_of(rank)
        (mean_loss(model, vectors, lengths, pdf_ids) * len(pdf_ids) / total).backward()
    return gradient_of(model)


def exchanged_gradient(group, settings, idle_rank):
    model = make_model()
    step = OptimizerStep(model, SGD, CPU)
    worker = SynchronousWorker(group, model, step, settings)
    if group.rank == idle_rank:
        joint = worker.backward(None, 0)
    else:
        vectors, lengths, pdf_ids = data_of(group.rank)
        joint = worker.backward(mean_loss(model, vectors, lengths, pdf_ids), len(pdf_ids))
    return gradient_of(model), joint.numbers()


DENSE = [
    ParallelSettings("ddp"),
    ParallelSettings("ddp", bucket_megabytes=0.0002),
    ParallelSettings("gtc", gtc=GtcSettings(dense_updates=1)),
    ParallelSettings("gtc", gtc=GtcSettings(threshold=0.0, dense_updates=0)),
]


def all_dense_gradients(group, idle_rank):
    return [exchanged_gradient(group, one, idle_rank) for one in DENSE]


@pytest.mark.parametrize("idle_rank", [None, 2])
def test_dense_gradients_are_those_of_one_joint_batch(tmp_path, idle_rank):
    num_ranks = 3 if idle_rank is None else 2

    expected = joint_gradient(num_ranks)
    results = run_processes(tmp_path, 3, all_dense_gradients, idle_rank)
    for of_process in results:
        for (gradient, (frames, loss, norm)), of_main in zip(of_process, results[0], strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)
            assert torch.equal(gradient, of_main[0])
            assert frames == sum(sum(lengths) for lengths in LENGTHS[:num_ranks])
            assert norm == pytest.approx(expected.norm().item(), rel=1e-4)
            assert loss == of_main[1][1]


def compressed_updates(group):
    """Sum of received gradients, residual, sum of this process's shares of the mean gradient."""
    model = make_model()
    step = OptimizerStep(model, SGD, CPU)
    gtc = GtcSettings(density=0.1, dense_updates=0, residual_clip=0.0)
    # Buckets of very different length give messages of different length.
    settings = ParallelSettings("gtc", bucket_megabytes=0.0002, gtc=gtc)
    worker = SynchronousWorker(group, model, step, settings)
    frames = sum(sum(lengths) for lengths in LENGTHS)
    received, own = 0.0, 0.0
    for index in range(4):
        vectors, lengths, pdf_ids = data_of(group.rank, index)
        loss = mean_loss(model, vectors, lengths, pdf_ids)
        share = torch.autograd.grad(loss, model.parameters(), retain_graph=True)
        own += torch.cat([one.flatten() for one in share]) * len(pdf_ids) / frames
        worker.backward(loss, len(pdf_ids))
        received += gradient_of(model)
        step.update()
    residual = torch.cat(worker.own_part()["residuals"])
    return received, residual, own, weights_of(model)


def test_what_all_received_and_what_all_keep_is_the_sum_of_gradients(tmp_path):
    results = run_processes(tmp_path, 3, compressed_updates)
    received = results[0][0]
    kept = sum(residual for _, residual, _, _ in results)
    total = sum(own for _, _, own, _ in results)
    torch.testing.assert_close(received + kept, total, rtol=1e-4, atol=1e-5)
    assert received.abs().sum() > 0
    assert all(torch.equal(weights, results[0][3]) for *_, weights in results)


def a_bad_gradient_on_one(group, method):
    model = make_model()
    step = OptimizerStep(model, SGD, CPU)
    settings = ParallelSettings(method, gtc=GtcSettings(density=0.1, dense_updates=0))
    worker = SynchronousWorker(group, model, step, settings)
    norms = []
    for factor in (1.0, float("inf") if group.rank == 1 else 1.0):
        vectors, lengths, pdf_ids = data_of(group.rank)
        before = worker.own_part()
        kept = [residual.clone() for residual in before.get("residuals", [])]
        joint = worker.backward(mean_loss(model, vectors, lengths, pdf_ids) * factor, len(pdf_ids))
        norms.append([*joint.numbers()[1:]])
    after = worker.own_part().get("residuals", [])
    return norms, all(map(torch.equal, kept, after))


@pytest.mark.parametrize("method", ["ddp", "gtc"])
def test_a_batch_that_is_not_finite_is_so_for_all_and_enters_no_residual(tmp_path, method):
    for norms, is_residual_untouched in run_processes(tmp_path, 2, a_bad_gradient_on_one, method):
        finite = [all(torch.isfinite(torch.tensor(one))) for one in norms]
        assert finite == [True, False]
        assert is_residual_untouched


def messages(group):
    own = torch.arange(group.rank * 3, dtype=torch.int32)
    return group.exchange(own), group.bytes_sent


def test_messages_of_any_length_reach_all(tmp_path):
    expected = [torch.arange(rank * 3, dtype=torch.int32) for rank in range(3)]
    for rank, (received, num_bytes) in enumerate(run_processes(tmp_path, 3, messages)):
        assert all(map(torch.equal, received, expected))
        assert num_bytes == 8 + 4 * len(expected[rank])  # its length and itself


STEPS = 5


def local_step(model, step, rank, index):
    step.learning_rate = 0.1
    step.backward(mean_loss(model, *data_of(rank, index)))
    step.update()


def trained_with_bmuf(group, settings):
    model = make_model()
    step = OptimizerStep(model, SGD, CPU)
    worker = BlockWorker(group, model, step, settings)
    worker.start([], seed=1)
    state = TrainingState()
    worker._before = [0.0] * 5
    for index in range(STEPS):
        local_step(model, step, group.rank, index)
        state.num_updates += 1
        state.frames_done += sum(LENGTHS[group.rank])
        worker.after_batch(state)
    worker.end_pass(state)
    momentum = [entry["momentum_buffer"] for entry in step.optimizer.state.values()]
    return weights_of(model), momentum, state.num_updates, state.frames_done


@pytest.mark.parametrize("optimizer_state", ["kept", "averaged", "reset"])
def test_without_momentum_and_blocks_of_one_batch_models_are_averaged(tmp_path, optimizer_state):
    models = [make_model() for _ in range(2)]
    steps = [OptimizerStep(model, SGD, CPU) for model in models]
    for index in range(STEPS):
        for rank in range(2):
            local_step(models[rank], steps[rank], rank, index)
        mean = (weights_of(models[0]) + weights_of(models[1])) / 2
        states = [step.optimizer.state for step in steps]
        for rank in range(2):
            nn.utils.vector_to_parameters(mean.clone(), models[rank].parameters())
        if optimizer_state == "reset":
            for state in states:
                state.clear()
        elif optimizer_state == "averaged":
            pairs = zip(*(list(state.values()) for state in states), strict=True)
            for one, other in pairs:
                buffer = (one["momentum_buffer"] + other["momentum_buffer"]) / 2
                one["momentum_buffer"], other["momentum_buffer"] = buffer, buffer.clone()
    settings = BmufSettings(1, 0.0, 1.0, optimizer_state=optimizer_state)
    results = run_processes(tmp_path, 2, trained_with_bmuf, settings)
    for rank, (weights, momentum, num_updates, frames_done) in enumerate(results):
        torch.testing.assert_close(weights, weights_of(models[0]), rtol=1e-5, atol=1e-7)
        assert torch.equal(weights, results[0][0])
        assert (num_updates, frames_done) == (STEPS, STEPS * (11 + 9))
        expected = [one["momentum_buffer"] for one in steps[rank].optimizer.state.values()]
        torch.testing.assert_close(momentum, expected, rtol=1e-5, atol=1e-7)
