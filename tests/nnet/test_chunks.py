"""Chunks with carried-over state: the same outputs as whole utterances, gradients cut off."""

import dataclasses
import json

import pytest
import torch

from am.errors import InputError
from am.features.low_frame_rate import LowFrameRateFrontEnd
from am.nnet.batch import Batch
from am.nnet.chunks import chunk_logits, chunks_of, vectors_of_chunk
from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from am.nnet.lstm import AcousticModel, LstmSettings
from am.nnet.trainer import Trainer
from tests.nnet.small_data import BATCHING, LSTM, TRAINER, SmallTask

LENGTHS = torch.tensor([11, 4, 1, 9])
# A frame's label is its number in the batch, so that it tells which frame it belongs to.
FRAME_NUMBERS = torch.arange(int(LENGTHS.sum()))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def task(tmp_path):
    return SmallTask(tmp_path)


def network(output_delay):
    torch.manual_seed(8)
    return AcousticModel(LstmSettings(2, 7, False, output_delay=output_delay), 6, 5).eval()


def batch_of(vectors, stored=False):
    logits = FRAME_NUMBERS[:, None].float() if stored else None
    pdf_ids = FRAME_NUMBERS[:, None] if stored else FRAME_NUMBERS
    return Batch(("a", "b", "c", "d"), vectors, 3 * LENGTHS, pdf_ids, logits)


@pytest.mark.parametrize("output_delay", [0, 2])
@pytest.mark.parametrize("size", [3, 4, 11, 13, 50])
def test_chunks_give_the_logits_of_whole_utterances(output_delay, size):
    model = network(output_delay)
    vectors = torch.randn(4, 11, 6)
    expected = model.frame_logits(vectors, LENGTHS)
    found = torch.full_like(expected, torch.nan)
    state = None
    for chunk in chunks_of(model, vectors, LENGTHS, batch_of(vectors), size):
        logits, state = chunk_logits(model, chunk, state)
        assert torch.isnan(found[chunk.batch.pdf_ids]).all()
        found[chunk.batch.pdf_ids] = logits
        assert chunk.vectors.shape[1] <= size
        assert chunk.batch.num_frames > 0
    torch.testing.assert_close(found, expected)


def test_soft_labels_stay_together():
    vectors = torch.randn(4, 11, 6)
    for chunk in chunks_of(network(2), vectors, LENGTHS, batch_of(vectors, stored=True), 4):
        assert torch.equal(chunk.batch.pdf_ids.float(), chunk.batch.stored_logits)


def test_gradients_end_at_the_chunk_s_start():
    model = network(0)
    vectors = torch.randn(4, 11, 6, requires_grad=True)
    state = None
    for chunk in chunks_of(model, vectors, LENGTHS, batch_of(vectors), 5):
        logits, state = chunk_logits(model, chunk, state)
    logits.sum().backward()
    heard = vectors.grad.abs().sum(-1) > 0
    assert heard[0].tolist() == [time >= 10 for time in range(11)]


def test_a_chunk_must_suit_the_network():
    assert vectors_of_chunk(0.0, 0.03, network(2)) == 0
    assert vectors_of_chunk(0.3, 0.03, network(2)) == 10
    with pytest.raises(InputError, match=r"chunk_seconds: 0.06 s are 2 vectors, no more than"):
        vectors_of_chunk(0.06, 0.03, network(2))
    bidirectional = AcousticModel(LstmSettings(1, 2, True), 6, 5)
    with pytest.raises(InputError, match="bidirectional network needs whole utterances"):
        vectors_of_chunk(1.0, 0.03, bidirectional)


def test_a_criterion_of_whole_utterances_refuses_chunks(task):
    class WholeUtterances(Trainer):
        def loss(self, logits, batch):
            return logits.sum()

    settings = dataclasses.replace(TRAINER, chunk_seconds=0.3)
    front_end = LowFrameRateFrontEnd(*torch.ones(3, 12), prior_frames=1.0)
    model, cpu = AcousticModel(LSTM, 36, 6), torch.device("cpu")
    with pytest.raises(InputError, match="a sequence criterion needs whole utterances"):
        WholeUtterances(model, front_end, [], {}, None, settings, task.folder, cpu)


def losses_of(task, name, **changes):
    output = task.output(name)
    trainer = dataclasses.replace(TRAINER, **changes)
    settings = CrossEntropySettings(LSTM, trainer, BATCHING, epochs=4)
    train_cross_entropy(*task.inputs(), output, settings, "cpu")
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [(line["updates"], line["train_loss"], line["dev_loss"]) for line in lines]


def test_one_chunk_a_batch_trains_as_whole_utterances_do(task):
    assert losses_of(task, "chunks", chunk_seconds=30.0) == losses_of(task, "whole")


def test_short_chunks_train_with_an_update_each(task):
    whole, chunks = losses_of(task, "whole"), losses_of(task, "chunks", chunk_seconds=0.3)
    assert chunks[-1][0] > 2 * whole[-1][0]
    assert chunks[-1][2] < whole[0][2]


def test_after_a_bad_chunk_the_rest_of_its_batch_is_left_out(task, monkeypatch):
    original = Trainer.loss
    calls = 0

    def poison_the_second(self, logits, batch):
        nonlocal calls
        calls += 1
        return original(self, logits, batch) * (float("nan") if calls == 2 else 1.0)

    frames = {}
    for name in ("sound", "poisoned"):
        output = task.output(name)
        settings = CrossEntropySettings(
            LSTM, dataclasses.replace(TRAINER, chunk_seconds=0.3), BATCHING, epochs=1
        )
        if name == "poisoned":
            monkeypatch.setattr(Trainer, "loss", poison_the_second)
        train_cross_entropy(*task.inputs(), output, settings, "cpu")
        summary = json.loads((output / "summary.json").read_text())
        frames[name] = summary["frames"]
        assert summary["skipped_batches"] == (name == "poisoned")
    assert frames["sound"] == frames["poisoned"]
