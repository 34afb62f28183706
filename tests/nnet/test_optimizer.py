"""The optimiser's step: fused, in less precision, with a scaled loss; noise on the weights."""

import dataclasses
import json

import pytest
import torch
from torch import nn

from am.errors import InputError
from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from am.nnet.optimizer import OptimizerStep
from am.nnet.trainer_settings import TrainerSettings
from am.nnet.weight_noise import noisy_weights
from tests.nnet.small_data import BATCHING, LSTM, TRAINER, SmallTask

CPU = torch.device("cpu")
INPUTS = torch.linspace(-1, 1, 12).reshape(4, 3)


def step_of(**settings):
    torch.manual_seed(2)
    model = nn.Linear(3, 2)
    return model, OptimizerStep(model, TrainerSettings(gradient_clip=1e6, **settings), CPU)


def train_steps(model, step, count=5):
    for _ in range(count):
        norm = step.backward(model(INPUTS).square().mean())
        assert torch.isfinite(norm)
        step.update()
    return model.weight.detach()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_fused_optimizer_does_the_same(optimizer):
    plain = train_steps(*step_of(optimizer=optimizer))
    fused = train_steps(*step_of(optimizer=optimizer, fused_optimizer=True))
    torch.testing.assert_close(fused, plain)


def test_a_scaled_loss_gives_the_same_step_and_an_overflow_lowers_the_scale():
    plain = train_steps(*step_of())
    model, step = step_of()
    step._scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    torch.testing.assert_close(train_steps(model, step), plain)
    before = model.weight.detach().clone()
    assert not torch.isfinite(step.backward(model(INPUTS).sum() * float("inf")))
    step.skip()
    assert step.state_of_scale()["scale"] == 512.0
    assert torch.equal(model.weight, before)
    other = step_of()[1]
    other._scaler = torch.amp.GradScaler("cpu")
    other.restore_scale(step.state_of_scale())
    assert other.state_of_scale() == step.state_of_scale()


def test_bfloat16_computes_in_it_and_keeps_weights_and_gradients_exact():
    model, step = step_of(precision="bfloat16")
    with step.autocast():
        outputs = model(INPUTS)
    assert outputs.dtype == torch.bfloat16
    step.backward(outputs.float().square().mean())
    assert model.weight.dtype == model.weight.grad.dtype == torch.float32
    plain = step_of()[0]
    torch.testing.assert_close(outputs.float(), plain(INPUTS), atol=0.02, rtol=0.02)


def test_float16_needs_a_gpu():
    with pytest.raises(InputError, match="float16 needs a GPU"):
        step_of(precision="float16")


def test_the_small_task_is_learnt_in_bfloat16(tmp_path):
    torch.set_num_threads(1)
    task = SmallTask(tmp_path)
    accuracies = []
    for precision in ("float32", "bfloat16"):
        output = task.output(precision)
        trainer = dataclasses.replace(TRAINER, precision=precision)
        settings = CrossEntropySettings(LSTM, trainer, BATCHING, epochs=8)
        train_cross_entropy(*task.inputs(), output, settings, "cpu")
        accuracies.append(json.loads((output / "summary.json").read_text())["dev_frame_accuracy"])
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.05)


def test_noisy_weights_are_put_back_even_after_an_error():
    model = nn.Linear(200, 100)
    clean = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(KeyboardInterrupt), noisy_weights(model, 0.1):
        difference = model.weight.detach() - clean[0]
        assert difference.std() == pytest.approx(0.1, rel=0.05)
        assert difference.mean() == pytest.approx(0.0, abs=0.005)
        raise KeyboardInterrupt
    assert all(map(torch.equal, model.parameters(), clean))


def test_the_gradient_is_that_at_the_noisy_weights():
    model = nn.Linear(3, 2, bias=False)
    with noisy_weights(model, 0.5):
        seen = model.weight.detach().clone()
        (model.weight.square().sum() / 2).backward()
    torch.testing.assert_close(model.weight.grad, seen)
    assert not torch.equal(seen, model.weight)


@pytest.mark.parametrize("name", ["weight_noise", "chunk_seconds"])
def test_negative_settings_are_errors(name):
    with pytest.raises(InputError, match=name):
        TrainerSettings(**{name: -1.0})
