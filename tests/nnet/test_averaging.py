"""Averages of weights: the mean of tensors, of the right passes, and only where they help."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from am.errors import InputError
from am.nnet import load_network
from am.nnet.averaging import AveragingSettings, WeightAverage, mean_of_weights, save_weights
from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from tests.nnet.small_data import BATCHING, LSTM, TRAINER, SmallTask


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_the_average_is_the_mean_of_the_tensors(tmp_path):
    models = [nn.Linear(3, 2) for _ in range(3)]
    paths = [tmp_path / f"{index}.safetensors" for index in range(3)]
    for path, model in zip(paths, models, strict=True):
        save_weights(path, model)
    mean = mean_of_weights(paths)
    assert mean.keys() == {"weight", "bias"}
    for name, tensor in mean.items():
        expected = torch.stack([model.state_dict()[name] for model in models]).mean(0)
        torch.testing.assert_close(tensor, expected)


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        (AveragingSettings(2, "last"), [3, 4]),
        (AveragingSettings(3, "best"), [1, 2, 4]),
        (AveragingSettings(9, "best"), [0, 1, 2, 3, 4]),
        (AveragingSettings(1, "last"), []),
        (AveragingSettings(), []),
    ],
)
def test_the_right_passes_are_kept(tmp_path, settings, passes):
    average = WeightAverage(tmp_path, settings)
    candidates = []
    for index, dev_loss in enumerate([5.0, 1.0, 2.0, 4.0, 3.0, float("inf")]):
        model = nn.Linear(1, 1, bias=False)
        nn.init.constant_(model.weight, float(index))
        candidates = average.add(model, index, dev_loss, candidates)
        average.tidy(candidates)
    assert sorted(index for index, _ in candidates) == passes
    assert len(list(tmp_path.iterdir())) == len(passes)
    if passes:
        mean = average.mean(candidates)["weight"].item()
        assert mean == pytest.approx(sum(passes) / len(passes))


def train(task, name, averaging, epochs=5):
    output = task.output(name)
    trainer = dataclasses.replace(TRAINER, averaging=averaging)
    settings = CrossEntropySettings(LSTM, trainer, BATCHING, epochs=epochs)
    train_cross_entropy(*task.inputs(), output, settings, "cpu")
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    summary = json.loads((output / "summary.json").read_text())
    return output, min(line["dev_loss"] for line in lines), summary["dev_loss"]


def test_a_training_ends_with_the_average_where_it_is_no_worse(tmp_path):
    task = SmallTask(tmp_path)
    output, best, final = train(task, "averaged", AveragingSettings(3))
    checkpoints = sorted((output / "checkpoints").glob("average-*"))
    assert [path.stem for path in checkpoints] == [f"average-0000{i}" for i in (2, 3, 4)]
    averaged = mean_of_weights(checkpoints)
    weights = load_network(output).model.state_dict()
    is_average = all(torch.equal(weights[name], averaged[name]) for name in averaged)
    best_weights = load_file(str(output / "checkpoints" / "best.safetensors"))
    is_best = all(torch.equal(weights[name], best_weights[name]) for name in averaged)
    assert is_average != is_best
    assert is_average == (final < best)
    assert final <= best * (1 + 1e-6)


@pytest.mark.parametrize("is_worse", [True, False])
def test_a_worse_average_is_not_kept(tmp_path, monkeypatch, is_worse):
    task = SmallTask(tmp_path)

    def of_the_best(self, candidates):
        weights = load_file(str(self._folder / "best.safetensors"))
        return {name: tensor * (0.0 if is_worse else 1.0) for name, tensor in weights.items()}

    monkeypatch.setattr(WeightAverage, "mean", of_the_best)
    output, best, final = train(task, "averaged", AveragingSettings(2), epochs=3)
    assert final == pytest.approx(best)
    assert any(tensor.any() for tensor in load_network(output).model.state_dict().values())


def test_a_negative_number_of_passes_is_an_error():
    with pytest.raises(InputError, match="averaging: passes"):
        AveragingSettings(-1)
