"""Checkpoints: the last ones are kept, a damaged one is noticed and the one before it taken."""

import dataclasses
import json
import os

import pytest
import torch

from am.errors import InputError
from am.nnet import load_network
from am.nnet.averaging import AveragingSettings
from am.nnet.checkpoint import CheckpointFolder, SavedTraining, TrainingState
from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from am.nnet.training_log import TrainingLog
from am.parallel.process_group import ProcessGroup
from tests.nnet.small_data import BATCHING, LSTM, TRAINER, SmallTask, checkpoints_of


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def folder_of(path, keep=2, size=1):
    return CheckpointFolder(path / "checkpoints", ProcessGroup(size=size), keep)


def save(folder, pass_index, batches_done):
    state = TrainingState(pass_index, batches_done, candidates=[[pass_index, 1.0]])
    number = torch.tensor([100.0 * pass_index + batches_done])
    folder.save(state, SavedTraining({"number": number}, {"own": number + 0.5}))


def number_of(saved):
    assert saved.own["own"].item() == saved.shared["number"].item() + 0.5
    return saved.shared["number"].item()


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    path.write_bytes(b"")


def delete(path):
    path.unlink()


def of_another_update(path):
    path.write_bytes((checkpoints_of(path.parents[2])[0] / path.name).read_bytes())


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_ones_are_kept(tmp_path, keep):
    folder = folder_of(tmp_path, keep)
    assert folder.load() is None
    places = [(0, 7), (0, 12), (1, 0), (1, 7)]
    for place in places:
        save(folder, *place)
        assert number_of(folder.load()) == 100 * place[0] + place[1]
    names = [f"pass-{index:05d}-batch-{batches:08d}" for index, batches in places]
    assert [path.name for path in checkpoints_of(tmp_path)] == names[-keep:]
    assert folder.candidates() == [[index, 1.0] for index, _ in places[-keep:]]


def test_one_that_was_not_finished_is_none(tmp_path):
    save(folder_of(tmp_path), 0, 1)
    (only,) = checkpoints_of(tmp_path)
    only.rename(only.with_name(f"partial.{only.name}"))
    assert folder_of(tmp_path).load() is None
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("training.pt", flip_a_bit),
        ("training.pt", cut_short),
        ("process-0000.pt", of_another_update),
        ("process-0000.pt", delete),
        ("checkpoint.json", cut_short),
        ("checkpoint.json", empty),
    ],
)
def test_a_damaged_one_is_named_and_the_one_before_taken(tmp_path, caplog, name, damage):
    folder = folder_of(tmp_path)
    save(folder, 0, 1)
    save(folder, 0, 2)
    before, last = checkpoints_of(tmp_path)
    damage(last / name)
    assert number_of(folder.load()) == 1
    warned, concluded = caplog.messages
    assert warned.startswith(f"{last / name}: ")
    assert concluded.startswith(f"{last}: not whole for process 0; the checkpoint before it is")
    save(folder, 0, 2)  # the training that goes on comes there again
    assert number_of(folder.load()) == 2
    delete(before / "training.pt")
    delete(last / name)
    with pytest.raises(InputError, match=f"no checkpoint is whole, of {before.name} {last.name};"):
        folder.load()


def test_later_damaged_ones_do_not_push_out_whole_ones(tmp_path):
    folder = folder_of(tmp_path)
    for batches_done in (1, 4):
        save(folder, 0, batches_done)
    empty(checkpoints_of(tmp_path)[-1] / "training.pt")
    assert number_of(folder.load()) == 1
    save(folder, 0, 3)
    assert [path.name[-1] for path in checkpoints_of(tmp_path)] == ["1", "3"]


def test_another_number_of_processes_is_an_error(tmp_path):
    save(folder_of(tmp_path), 0, 1)
    description = json.loads((checkpoints_of(tmp_path)[0] / "checkpoint.json").read_text())
    assert description["num_processes"] == 1
    with pytest.raises(InputError, match="a training of 1 processes, now there are 3"):
        folder_of(tmp_path, size=3)._read(checkpoints_of(tmp_path)[0])


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(values, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"cannot be written: .*No space left on device; make"):
        save(folder_of(tmp_path), 0, 1)


def test_a_training_goes_on_exactly_from_the_one_before(tmp_path, caplog):
    task = SmallTask(tmp_path)
    straight, damaged = task.output("straight"), task.output("damaged")
    trainer = dataclasses.replace(TRAINER, checkpoint_updates=2)
    settings = CrossEntropySettings(LSTM, trainer, BATCHING, epochs=2)
    for output in (straight, damaged):
        train_cross_entropy(*task.inputs(), output, settings, "cpu")
    (damaged / "model.safetensors").unlink()
    flip_a_bit(checkpoints_of(damaged)[-1] / "training.pt")
    train_cross_entropy(*task.inputs(), damaged, settings, "cpu")
    assert "the checkpoint before it is taken" in caplog.text
    weights = [load_network(output).model.state_dict() for output in (straight, damaged)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, empty, delete])
def test_where_weights_are_damaged_the_last_are_taken(tmp_path, caplog, damage):
    task, output = SmallTask(tmp_path), tmp_path / "network"
    trainer = dataclasses.replace(TRAINER, averaging=AveragingSettings(2))
    settings = CrossEntropySettings(LSTM, trainer, BATCHING, epochs=2)
    output.mkdir()
    train_cross_entropy(*task.inputs(), output, settings, "cpu")
    (output / "model.safetensors").unlink()
    names = ["best.safetensors", "average-00000.safetensors"]
    for name in names:
        damage(output / "checkpoints" / name)
    train_cross_entropy(*task.inputs(), output, settings, "cpu")
    for name in names:
        assert f"{output / 'checkpoints' / name}: " in caplog.text
    last = torch.load(checkpoints_of(output)[-1] / "training.pt")["model"]
    weights = load_network(output).model.state_dict()
    assert all(torch.equal(weights[name], last[name]) for name in last)


def test_a_line_of_the_log_that_was_cut_short_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"updates": 3}\n{"updates": 6}\n{"updates": 4, "train_l')
    TrainingLog(tmp_path, 2, 100, 50, 5).close()
    assert path.read_text() == '{"updates": 3}\n'
