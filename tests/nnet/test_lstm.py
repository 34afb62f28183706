"""The acoustic model: sizes, padding, directions, output delay."""

from pathlib import Path

import pytest
import torch

from am import config
from am.errors import InputError
from am.nnet.cross_entropy import CrossEntropySettings, StudentSettings
from am.nnet.lstm import AcousticModel, LstmSettings

CONF = Path(__file__).parents[2] / "conf"


def small(bidirectional=False, num_layers=2, **settings):
    torch.manual_seed(5)
    lstm = LstmSettings(num_layers, 7, bidirectional, **settings)
    return AcousticModel(lstm, input_dim=6, num_pdfs=4).eval()


@pytest.mark.parametrize(
    ("name", "settings_class", "millions"),
    [
        ("teacher", CrossEntropySettings, 78),
        ("student", CrossEntropySettings, 24.3),
        ("student_scheduled", StudentSettings, 24.3),
    ],
)
def test_the_paper_s_networks_have_the_paper_s_size(name, settings_class, millions):
    lstm = config.load_settings(settings_class, CONF / "paper" / f"{name}.yaml").lstm
    assert lstm.num_layers == 5
    assert lstm.bidirectional == (name == "teacher")
    with torch.device("meta"):
        model = AcousticModel(lstm, input_dim=192, num_pdfs=3183)
    assert model.num_parameters() == pytest.approx(millions * 1e6, rel=0.003)


@pytest.mark.parametrize("size", ["", "tiny", "paper"])
@pytest.mark.parametrize(
    ("name", "settings_class"),
    [
        ("teacher", CrossEntropySettings),
        ("student", CrossEntropySettings),
        ("student_scheduled", StudentSettings),
    ],
)
def test_every_configuration_can_be_read(size, name, settings_class):
    config.load_settings(settings_class, CONF / size / f"{name}.yaml")


@pytest.mark.parametrize("num_layers", [1, 2])
def test_bidirectional_layers_equal_torch_s_own(num_layers):
    model = small(bidirectional=True, num_layers=num_layers)
    reference = torch.nn.LSTM(6, 7, num_layers, batch_first=True, bidirectional=True)
    weights = {}
    for layer in range(num_layers):
        for suffix, direction in (("", model.lstm.ahead), ("_reverse", model.lstm.back)):
            for name, tensor in direction[layer].state_dict().items():
                weights[name.replace("_l0", f"_l{layer}{suffix}")] = tensor
    reference.load_state_dict(weights)
    lengths = [9, 4, 1]
    vectors = torch.randn(3, 9, 6)
    packed = torch.nn.utils.rnn.pack_padded_sequence(vectors, lengths, batch_first=True)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
    hidden = model.hidden(vectors, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        torch.testing.assert_close(hidden[row, :length], expected[row, :length])


@pytest.mark.parametrize(
    "model", [small(), small(output_delay=2), small(bidirectional=True)], ids=str
)
def test_an_utterance_s_logits_do_not_depend_on_its_batch(model):
    lengths = [8, 1, 5]
    vectors = torch.randn(3, 8, 6)
    together = model(vectors, torch.tensor(lengths))
    alone = [
        model(vectors[row : row + 1, :length], torch.tensor([length]))[0]
        for row, length in enumerate(lengths)
    ]
    for row, length in enumerate(lengths):
        torch.testing.assert_close(together[row, :length], alone[row])
    torch.testing.assert_close(model.frame_logits(vectors, torch.tensor(lengths)), torch.cat(alone))


@pytest.mark.parametrize("delay", [0, 2])
def test_the_output_delay_is_how_far_a_streaming_network_hears_ahead(delay):
    model = small(output_delay=delay)
    vectors = torch.randn(1, 10, 6, requires_grad=True)
    model(vectors, torch.tensor([10]))[0, 4].sum().backward()
    heard = vectors.grad[0].abs().sum(-1) > 0
    assert heard.tolist() == [t <= 4 + delay for t in range(10)]


def test_the_last_vector_is_repeated_for_the_delay():
    model = small(output_delay=2)
    vectors = torch.randn(1, 5, 6)
    extended = torch.cat([vectors, vectors[:, -1:], vectors[:, -1:]], dim=1)
    expected = model.output(model.lstm(extended)[0][:, 2:])
    torch.testing.assert_close(model(vectors, torch.tensor([5])), expected)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_layers": 0}, "at least 1"),
        ({"dropout": 1.0}, "dropout"),
        ({"bidirectional": True, "output_delay": 2}, "output_delay"),
        ({"output_delay": -1}, "output_delay"),
    ],
)
def test_impossible_shapes_are_errors(changes, reason):
    with pytest.raises(InputError, match=reason):
        LstmSettings(**{"num_layers": 1, "cells": 2, "bidirectional": False, **changes})
