"""Denominator lattices and sequence training on a small task, from folder to folder."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_task import NUM_PDFS, SmallTask, make_small_task

from am.decoding.decoder import Decoder, Scales, SearchSettings
from am.decoding.graph import load_graph
from am.decoding.lattices import LatticeSettings
from am.decoding.scorers import load_scorer
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.features.noise_mixing import NoiseMixingSettings
from am.nnet.data import BatchingSettings
from am.nnet.losses import hard_label_loss
from am.nnet.network import load_network
from am.nnet.trainer import TrainerSettings
from am.processes import LocalProcesses
from am.sequence.denominator import (
    DenominatorSettings,
    DenominatorStore,
    make_denominator_lattices,
)
from am.sequence.lattice_batch import batch_lattices
from am.sequence.objectives import expected_accuracy, log_likelihood_ratio
from am.sequence.training import SequenceSettings, train_sequence
from am.storage import RaggedStore

REPOSITORY = Path(__file__).resolve().parents[2]
LATTICES = DenominatorSettings(1.0, LatticeSettings(12.0, 10.0), cuts_per_shard=5)
TRAINING = SequenceSettings(
    cross_entropy_weight=0.05,
    epochs=3,
    trainer=TrainerSettings(learning_rate=5e-3, warm_up_updates=1),
    batching=BatchingSettings(batch_seconds=4.0, num_buckets=2),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> SmallTask:
    return make_small_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def lattices(task: SmallTask) -> Path:
    output = task.root / "lattices"
    output.mkdir()
    make_denominator_lattices(task.graph, task.labeled, task.model, output, LATTICES)
    return output


def objectives(task: SmallTask, lattices: Path, model: Path) -> tuple[float, float, float]:
    """Expected accuracy, log-likelihood ratio and cross-entropy a frame on the labelled data."""
    store, network = DenominatorStore(lattices), load_network(model)
    labels = RaggedStore(task.labels / "labeled")
    totals, frames = np.zeros(3), 0
    for cut in open_feature_data(task.labeled):
        log_posteriors = network.log_posteriors(cut.load_features())
        pdf_ids = torch.from_numpy(labels[cut.id]["pdf_ids"].astype(np.int64))
        batch = batch_lattices([store[cut.id]])
        arguments = log_posteriors - network.log_priors, pdf_ids, batch, store.acoustic_scale
        totals += [
            expected_accuracy(*arguments).item(),
            log_likelihood_ratio(*arguments).item(),
            hard_label_loss(log_posteriors, pdf_ids).item(),
        ]
        frames += len(pdf_ids)
    accuracy, ratio, cross_entropy = totals / frames
    return accuracy, ratio, cross_entropy


def test_every_cut_has_a_lattice_as_long_as_its_labels(task: SmallTask, lattices: Path) -> None:
    store, labels = DenominatorStore(lattices), RaggedStore(task.labels / "labeled")
    assert (store.num_pdfs, store.frame_shift, store.acoustic_scale) == (NUM_PDFS, 0.03, 1.0)
    for cut_id in labels:
        assert store[cut_id].num_frames == labels.num_frames(cut_id)
    summary = json.loads((lattices / "summary.json").read_text())
    assert (summary["cuts"], summary["failed"]) == (24, 0)
    assert (lattices / "failed.tsv").read_text() == ""


def test_best_path_of_a_lattice_is_that_of_the_decoder(task: SmallTask, lattices: Path) -> None:
    """The stored graph scores, with the network's own, order the paths as the search did."""
    scorer = load_scorer(task.model, task.labeled, torch.device("cpu"))
    decoder = Decoder(load_graph(task.graph), Scales(1.0), SearchSettings(beam=20.0))
    store = DenominatorStore(lattices)
    for cut in open_feature_data(task.labeled).subset(first=5):
        scores = scorer.scores(cut)
        best = decoder.decode(scores)
        lattice = store[cut.id]
        highest = np.full(lattice.num_states, -np.inf)
        highest[0] = 0.0
        rows = lattice.state_frames[lattice.source]
        for arc in range(lattice.num_arcs):
            pdf_id = lattice.pdf_id[arc]
            score = float(lattice.graph_score[arc])
            score += float(scores[rows[arc], pdf_id]) if pdf_id >= 0 else 0.0
            source, target = lattice.source[arc], lattice.target[arc]
            highest[target] = max(highest[target], highest[source] + score)
        assert best is not None
        assert highest[-1] == pytest.approx(-best.cost, abs=0.05)


def test_several_processes_write_the_same_store(
    task: SmallTask, lattices: Path, tmp_path: Path
) -> None:
    two = LocalProcesses(2)
    make_denominator_lattices(
        task.graph, task.labeled, task.model, tmp_path, LATTICES, executor=two
    )
    for index in range(5):
        name = f"shard-{index:05d}.safetensors"
        assert (tmp_path / name).read_bytes() == (lattices / name).read_bytes()


def test_a_killed_run_goes_on(task: SmallTask, lattices: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for index in (0, 2):
        for suffix in ("safetensors", "json"):
            shutil.copy(lattices / f"shard-{index:05d}.{suffix}", tmp_path)
        facts = {"cuts": 5, "frames": 1, "arcs": 2, "failed": [["x", "lost"]]}
        (tmp_path / "parts" / f"{index:05d}.json").write_text(json.dumps(facts))
    damaged = tmp_path / "shard-00002.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-8])
    kept = (tmp_path / "shard-00000.safetensors").stat().st_mtime_ns
    make_denominator_lattices(task.graph, task.labeled, task.model, tmp_path, LATTICES)
    assert (tmp_path / "shard-00000.safetensors").stat().st_mtime_ns == kept
    assert damaged.read_bytes() == (lattices / damaged.name).read_bytes()
    assert (tmp_path / "failed.tsv").read_text() == "x\tlost\n"


@pytest.mark.parametrize("criterion", ["smbr", "mpfe", "mmi"])
def test_training_raises_the_criterion(
    task: SmallTask, lattices: Path, tmp_path: Path, criterion: str
) -> None:
    settings = dataclasses.replace(TRAINING, criterion=criterion)
    train_sequence(
        task.labeled,
        task.dev,
        task.senones,
        task.labels,
        task.model,
        lattices,
        tmp_path,
        settings,
        "cpu",
    )
    before, after = objectives(task, lattices, task.model), objectives(task, lattices, tmp_path)
    raised = 1 if criterion == "mmi" else 0
    assert after[raised] > before[raised] + 0.02
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["skipped_batches"] == 0
    assert load_network(tmp_path).tree_sha256 == load_network(task.model).tree_sha256


def test_the_same_seed_gives_the_same_network(
    task: SmallTask, lattices: Path, tmp_path: Path
) -> None:
    """Noise and frequency warping are random; what ran before must not matter."""
    weights = {}
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        torch.rand(len(name))
        output = tmp_path / name
        output.mkdir()
        random = dataclasses.replace(
            TRAINING.trainer,
            seed=seed,
            max_frequency_warp=0.1,
            noise_mixing=NoiseMixingSettings(probability=1.0),
        )
        train_sequence(
            task.labeled,
            task.dev,
            task.senones,
            task.labels,
            task.model,
            lattices,
            output,
            dataclasses.replace(TRAINING, epochs=1, trainer=random),
            "cpu",
        )
        state = load_network(output).model.state_dict()
        weights[name] = torch.cat([values.flatten() for values in state.values()])
    assert torch.equal(weights["one"], weights["again"])
    assert not torch.equal(weights["one"], weights["other"])


def test_cuts_without_a_lattice_are_listed_and_left_out(
    task: SmallTask, lattices: Path, tmp_path: Path
) -> None:
    fewer, output = tmp_path / "lattices", tmp_path / "output"
    shutil.copytree(lattices, fewer)
    output.mkdir()
    description = json.loads((fewer / "store.json").read_text())
    description["num_shards"] = 4
    (fewer / "store.json").write_text(json.dumps(description))
    for path in fewer.glob("shard-00004.*"):
        path.unlink()
    settings = dataclasses.replace(TRAINING, epochs=1, keep="best")
    train_sequence(
        task.labeled,
        task.dev,
        task.senones,
        task.labels,
        task.model,
        fewer,
        output,
        settings,
        "cpu",
    )
    missing = (output / "labeled_without_lattices.txt").read_text().split()
    assert missing == [f"labeled-{i:02d}" for i in range(20, 24)]


def test_what_does_not_fit_together_is_refused(
    task: SmallTask, lattices: Path, tmp_path: Path
) -> None:
    other = tmp_path / "senones"
    shutil.copytree(task.senones, other)
    with (other / "tree.json").open("a") as stream:
        stream.write("\n")

    def train(**folders: Path) -> None:
        arguments = {
            "labeled": task.labeled,
            "dev": task.dev,
            "senones": task.senones,
            "labels": task.labels,
            "model": task.model,
            "denominators": lattices,
            **folders,
        }
        train_sequence(**arguments, output=tmp_path, settings=TRAINING, device="cpu")

    with pytest.raises(InputError, match="not the tree of"):
        train(senones=other)
    with pytest.raises(InputError, match="where denominator lattices are needed"):
        train(denominators=task.labels / "labeled")
    with pytest.raises(InputError, match="lattices for none"):
        train(labeled=task.dev, labels=_swapped(task, tmp_path))
    broken = tmp_path / "broken"
    shutil.copytree(lattices, broken)
    shard = broken / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match="shard-00001"):
        train(denominators=broken)


def _swapped(task: SmallTask, folder: Path) -> Path:
    labels = folder / "labels"
    for name in ("labeled", "dev"):
        shutil.copytree(task.labels / "dev", labels / name)
    return labels


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="cross_entropy_weight"):
        SequenceSettings(cross_entropy_weight=1.5)
    with pytest.raises(ValueError, match="acoustic_scale"):
        DenominatorSettings(acoustic_scale=0.0)


def test_tools(task: SmallTask, tmp_path: Path) -> None:
    def call(*arguments: object) -> None:
        command = [sys.executable, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr

    made = tmp_path / "lattices"
    call(
        "steps/make_denominator_lattices.py",
        *("--jobs", 1, "--device", "cpu", "--set", "acoustic_scale=1.0"),
        *("--labels", task.labels / "labeled"),
        *(task.graph, task.labeled, task.model, made),
    )
    call(
        "steps/train_smbr.py",
        *("--config", "conf/tiny/smbr.yaml", "--device", "cpu", "--seed", 2),
        *(task.labeled, task.dev, task.senones, task.labels, task.model, made),
        tmp_path / "smbr",
    )
    settings = json.loads((tmp_path / "smbr" / "done.json").read_text())["settings"]
    assert settings["trainer"]["seed"] == 2
    load_network(tmp_path / "smbr")
