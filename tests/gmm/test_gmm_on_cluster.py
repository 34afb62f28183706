"""GMM training and alignment by processes of this machine and of a cluster, some of them killed."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from am.alignment.align_data import align_data
from am.alignment.align_fmllr import AlignFmllrSettings, align_fmllr
from am.alignment.viterbi import AlignmentScales, batches_by_size
from am.errors import InputError
from am.executors import Executor
from am.gmm.speaker_adaptation import FmllrSettings
from am.gmm.train import LdaMlltSettings, MonoSettings, train_lda_mllt, train_mono
from am.gmm.train_sat import SatSettings, train_sat
from am.gmm.trainer import EmSettings
from am.processes import ONE_PROCESS, LocalProcesses
from am.tree.grow import TreeSettings
from tests.cluster_cases import contents, times
from tests.gmm.made_up_speech import make_data, make_lang

CPU = torch.device("cpu")
MONO = MonoSettings(EmSettings(3, (1, 2), 50, 2))
TREE = TreeSettings(num_leaves=30, min_gain=10.0)
TRIPHONE = EmSettings(2, (2,), 50, 1)
LDA = LdaMlltSettings(2, 8, (1,), TREE, TRIPHONE)
FMLLR = FmllrSettings(min_frames=100.0)
SAT = SatSettings(FMLLR, (1,), TREE, TRIPHONE)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lang folder and data of two speakers."""
    folder = tmp_path_factory.mktemp("speech")
    make_lang(folder / "of_lang")
    make_data(folder / "data", num_cuts=40, odd_cuts=True)
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several parts of a small corpus."""
    monkeypatch.setattr("am.gmm.passes.CHUNK_FRAMES", 500)
    monkeypatch.setattr("am.gmm.passes.GRAPHS_A_PART", 16)
    monkeypatch.setattr("am.gmm.passes.batches_by_size", partial(batches_by_size, max_cells=50_000))
    monkeypatch.setattr("am.gmm.parts.MAX_PARTS", 4)
    monkeypatch.setattr("am.gmm.speaker_adaptation.BATCH_FRAMES", 700)
    monkeypatch.setattr("am.alignment.align_shards.CUTS_A_SHARD", 12)


class Task:
    """Trainings and alignments of the speech in a folder of results."""

    def __init__(self, speech: Path, output: Path, executor: Executor):
        self.inputs = (speech / "data", speech / "of_lang" / "lang")
        self.output = output
        self.executor = executor

    def folder(self, name: str) -> Path:
        (self.output / name).mkdir(parents=True, exist_ok=True)
        return self.output / name

    def mono(self) -> None:
        train_mono(*self.inputs, self.folder("mono"), MONO, 1, CPU, self.executor)

    def align(self, model: str) -> None:
        output = self.folder(f"{model}_ali")
        scales = AlignmentScales()
        align_data(*self.inputs, self.output / model, output, scales, CPU, executor=self.executor)

    def all(self) -> None:
        self.mono()
        self.align("mono")
        ali, older, older_ali = (self.output / name for name in ("mono_ali", "lda", "lda_ali"))
        train_lda_mllt(*self.inputs, ali, self.folder("lda"), LDA, 1, CPU, self.executor)
        self.align("lda")
        sat = self.folder("sat")
        train_sat(*self.inputs, older, older_ali, sat, SAT, 1, CPU, self.executor)
        output = self.folder("sat_ali")
        settings = AlignFmllrSettings(fmllr=FMLLR)
        align_fmllr(*self.inputs, sat, output, settings, CPU, self.executor)

    def results(self) -> dict[str, bytes]:
        """All files but the times in the logs."""
        found = contents(self.output)
        for name in [name for name in found if name.endswith("log.jsonl")]:
            lines = [json.loads(line) for line in found[name].splitlines()]
            found[name] = json.dumps([{**line, "seconds": 0} for line in lines]).encode()
        return found


def test_no_byte_depends_on_who_works(
    speech: Path, tmp_path: Path, workers: Executor, faults: Path
) -> None:
    for name in ("align-002-00001", "shard-00002"):
        (faults / f"{name}.kill").touch()
    results = []
    for name, executor in (("1", ONE_PROCESS), ("2", LocalProcesses(2)), ("dask", workers)):
        task = Task(speech, tmp_path / name, executor)
        task.all()
        results.append(task.results())
    assert results[0] == results[1] == results[2]
    assert len(results[0]) > 40
    assert not list(faults.glob("*.kill"))


def test_parts_that_fail_are_named_and_alone_done_again(
    speech: Path, tmp_path: Path, workers: Executor, faults: Path
) -> None:
    local = Task(speech, tmp_path / "local", ONE_PROCESS)
    local.mono()
    task = Task(speech, tmp_path / "dask", workers)
    (faults / "em-002-00001.poison").touch()
    (faults / "em-002-00003.full").touch()
    with pytest.raises(InputError, match=r"2 of 4 shards failed, logs in .*/em-002/logs") as failed:
        task.mono()
    assert "em-002-00001 (its worker was killed 2 times" in str(failed.value)
    assert "em-002-00003 (OSError: [Errno 28] No space left on device)" in str(failed.value)
    (logs,) = task.output.rglob("em-002/logs")
    assert sorted(times(logs, "*")) == ["em-002-00001.log", "em-002-00003.log"]
    for fault in faults.glob("*.*"):
        fault.unlink()
    # What was done before kills whoever does it again.
    for done in ("align-001-00000", "align-002-00000", "em-001-00000"):
        (faults / f"{done}.poison").touch()
    for part in (0, 2):
        (faults / f"em-002-{part:05d}.poison").touch()
    task.mono()
    assert task.results() == local.results()


def test_shards_of_an_alignment_that_fail_are_named_and_alone_made_again(
    speech: Path, tmp_path: Path, workers: Executor, faults: Path
) -> None:
    task = Task(speech, tmp_path, workers)
    task.mono()
    (faults / "shard-00001.full").touch()
    with pytest.raises(InputError, match=r"1 of 4 .*shard-00001 \(OSError: .*No space left"):
        task.align("mono")
    kept = times(tmp_path / "mono_ali", "shard-*.safetensors")
    assert len(kept) == 3
    (faults / "shard-00001.full").unlink()
    task.align("mono")
    now = times(tmp_path / "mono_ali", "shard-*.safetensors")
    assert {name: now[name] for name in kept} == kept and len(now) == 4
    made = contents(tmp_path / "mono_ali")
    local = Task(speech, tmp_path, ONE_PROCESS)
    (tmp_path / "mono_ali").rename(tmp_path / "by_the_cluster")
    local.align("mono")
    assert contents(tmp_path / "mono_ali") == made
