"""Data-parallel work on a Dask cluster of separate processes, some of which are killed."""

from __future__ import annotations

import logging
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
import pytest
import soundfile
import torch
from distributed import LocalCluster
from lhotse import CutSet, MonoCut, Recording

from am import clusters
from am.decoding.decode_data import decode_data
from am.decoding.decoder import Scales, SearchSettings
from am.errors import InputError
from am.executors import Executor, WorkersLostError, executor_of
from am.features.compute import compute_features
from am.features.extractors import LfbeSettings
from am.processes import ONE_PROCESS, LocalProcesses, map_chunks
from am.sequence.denominator import DenominatorSettings, make_denominator_lattices
from am.soft_labels.dump import DumpSettings, dump_soft_labels
from tests import cluster_cases
from tests.cluster_cases import contents, times
from tests.sequence.small_task import SmallTask, make_small_task

ROOT = Path(clusters.__file__).parents[1]
CPU = torch.device("cpu")
LABELS = DumpSettings(top_k=3, cuts_per_shard=3)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> SmallTask:
    """Features, a graph and a network; twelve cuts are four shards."""
    return make_small_task(tmp_path_factory.mktemp("task"), num_labeled=12, num_dev=3)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of eight recordings of noise, one of which lacks its file."""
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    with CutSet.open_writer(folder / "cuts.jsonl.gz") as writer:
        for index in range(8):
            path = folder / f"{index}.wav"
            soundfile.write(path, generator.normal(scale=0.1, size=4000 + 400 * index), 16000)
            recording = Recording.from_file(path)
            writer.write(MonoCut(f"cut-{index}", 0, recording.duration, 0, recording=recording))
    (folder / "5.wav").unlink()
    return folder


def make_features(audio: Path, output: Path, executor: Executor) -> None:
    """Of ``output`` relative to the folder of the test, for the workers are elsewhere."""
    output = Path(os.path.relpath(output))
    output.mkdir(exist_ok=True)
    settings = LfbeSettings()
    compute_features(audio, output, Path("final"), "lfbe", settings, executor, 0.2)


def make_labels(task: SmallTask, output: Path, executor: Executor) -> None:
    dump_soft_labels(task.labeled, task.model, output, LABELS, executor, "cpu")


def make_lattices(task: SmallTask, output: Path, executor: Executor) -> None:
    output.mkdir()
    settings = DenominatorSettings(cuts_per_shard=3)
    make_denominator_lattices(
        task.graph, task.labeled, task.model, output, settings, executor=executor
    )


def decode(task: SmallTask, output: Path, executor: Executor) -> None:
    output.mkdir()
    inputs = task.graph, task.labeled, task.model
    decode_data(*inputs, output, Scales(0.5), SearchSettings(), executor=executor)


@pytest.mark.parametrize("make", [make_labels, make_lattices, decode])
def test_workers_that_die_change_no_byte(
    task: SmallTask,
    tmp_path: Path,
    workers: Executor,
    faults: Path,
    make: Callable[[SmallTask, Path, Executor], None],
) -> None:
    if make is make_labels:
        for shard in random.Random(1).sample(range(4), 2):
            (faults / f"shard-{shard:05d}.kill").touch()
    for name, executor in (("1", ONE_PROCESS), ("2", LocalProcesses(2)), ("dask", workers)):
        make(task, tmp_path / name, executor)
    one, two, on_cluster = (contents(tmp_path / name) for name in ("1", "2", "dask"))
    assert one == two == on_cluster
    assert len(one) >= 3
    assert not list(faults.glob("*.kill"))


def test_features_of_a_full_disk_and_of_dying_workers(
    audio: Path,
    tmp_path: Path,
    workers: Executor,
    faults: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("am.features.feature_parts.CUTS_A_PART", 2)
    monkeypatch.chdir(tmp_path)
    for name, executor in (("1", ONE_PROCESS), ("2", LocalProcesses(2))):
        make_features(audio, tmp_path / name, executor)
    (faults / "features-00000.kill").touch()
    (faults / "features-00002.full").touch()
    output = tmp_path / "dask"
    with pytest.raises(InputError, match=r"1 of 4 .*features-00002 \(OSError: .*No space left"):
        make_features(audio, output, workers)
    kept = times(output, "features-*")
    assert len(kept) == 3
    (faults / "features-00002.full").unlink()
    make_features(audio, output, workers)
    assert contents(output) == contents(tmp_path / "1") == contents(tmp_path / "2")
    assert len(contents(output)) == 7
    now = times(output, "features-*")
    assert {name: now[name] for name in kept} == kept


def test_a_tool_names_the_shards_that_fail_and_does_those_again(
    task: SmallTask, tmp_path: Path, address: str, faults: Path, workers: Executor
) -> None:
    make_labels(task, tmp_path / "local", ONE_PROCESS)
    for name in ("shard-00000.kill", "shard-00001.poison", "shard-00003.full"):
        (faults / name).touch()
    output, partial_output = tmp_path / "labels", tmp_path / "partial.labels"
    options = ("--top-k", "3", "--cuts-per-shard", "3", "--executor", f"dask:{address}")

    def run() -> subprocess.CompletedProcess[str]:
        tool = (sys.executable, ROOT / "steps/dump_soft_labels.py", *options)
        folders = (task.labeled, task.model, output)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        return subprocess.run(
            [*map(str, tool), *map(str, folders)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )

    failed = run()
    assert failed.returncode == 1, failed.stderr
    (line,) = [x for x in failed.stderr.splitlines() if x.startswith("dump_soft_labels.py: ")]
    assert "2 of 4 shards failed" in line
    assert "shard-00001 (its worker was killed 2 times" in line
    assert "shard-00003 (OSError: [Errno 28] No space left on device)" in line
    logs = partial_output / "logs"
    assert sorted(times(logs, "*")) == ["shard-00001.log", "shard-00003.log"]
    assert "save_file" in (logs / "shard-00003.log").read_text()
    kept = times(partial_output, "shard-*.safetensors")
    assert sorted(kept) == ["shard-00000.safetensors", "shard-00002.safetensors"]
    assert not list(partial_output.glob("unfinished.*"))

    for fault in faults.glob("*.*"):
        fault.unlink()
    again = run()
    assert again.returncode == 0, again.stderr
    now = times(output, "shard-*.safetensors")
    assert {name: now[name] for name in kept} == kept
    made = contents(output)
    assert {name: made[name] for name in contents(tmp_path / "local")} == contents(
        tmp_path / "local"
    )
    assert not (output / "logs").exists()


def test_a_chunk_goes_to_another_worker_until_too_many_were_killed(
    workers: Executor, faults: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (faults / "chunk-4.kill").touch()
    work, make_state = cluster_cases.double_or_die, partial(Path, faults)
    chunks = map_chunks(work, make_state, range(12), workers, chunk_size=2, device=CPU)
    assert list(chain.from_iterable(chunks)) == list(range(0, 24, 2))
    (faults / "chunk-8.poison").touch()
    with pytest.raises(InputError, match="its worker was killed 2 times"):
        list(map_chunks(work, make_state, range(8, 12), workers, chunk_size=4, device=CPU))
    assert "failed with these cuts: 8, 9, 10, 11: its worker was killed" in caplog.text


def test_a_worker_has_one_thread_and_the_folder_of_the_tool(
    workers: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    work = cluster_cases.threads_and_folder
    (found,) = map_chunks(work, int, [1], workers, chunk_size=1, device=CPU)
    assert found == (1, str(tmp_path))


def test_a_scheduler_that_goes_away_is_told() -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "100ms"}),
        LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=logging.CRITICAL) as cluster,
    ):
        executor = executor_of(f"dask:{cluster.scheduler_address}")

        def items() -> Iterator[int]:
            cluster.close()
            yield 1

        with pytest.raises(WorkersLostError, match="connection to the Dask scheduler was lost"):
            list(map_chunks(cluster_cases.double, int, items(), executor, chunk_size=1, device=CPU))
        executor.close()


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def work_with(executor: Executor) -> list[Any]:
        return list(map_chunks(cluster_cases.double, int, [1], executor, chunk_size=1, device=CPU))

    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 0.1)
    with pytest.raises(InputError, match=r"dask:tcp://127.0.0.1:1: no Dask scheduler answers"):
        work_with(executor_of("dask:tcp://127.0.0.1:1"))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"needs distributed, .*make_environment.sh cluster"):
        work_with(executor_of("dask:tcp://127.0.0.1:1"))


def test_workers_that_cannot_work_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = SimpleNamespace(state=SimpleNamespace(nthreads=4), address="tcp://host:1")
    monkeypatch.setattr("distributed.get_worker", lambda: worker)
    work = partial(clusters._work_on_worker, cluster_cases.double, pickle.dumps(int), "key")
    with pytest.raises(InputError, match=r"tcp://host:1 does several .* --nthreads 1"):
        work("/", [1])
    worker.state.nthreads = 1
    with pytest.raises(InputError, match="/nowhere: cannot be opened on "):
        work("/nowhere", [1])
