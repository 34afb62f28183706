"""Whole trainings on made-up speech: what they learn, that they go on after a kill, bad input."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_speech import MFCC_DIM, PHONES, make_data, make_lang

from am.alignment.align_data import align_data
from am.alignment.viterbi import AlignmentScales
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.features.gmm_front_end import GmmFrontEnd
from am.gmm import load_gmm, trainer
from am.gmm.train import (
    DeltasSettings,
    LdaMlltSettings,
    MonoSettings,
    train_deltas,
    train_lda_mllt,
    train_mono,
)
from am.gmm.trainer import EmSettings
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang
from am.storage import RaggedStore
from am.tree.grow import TreeSettings

CPU = torch.device("cpu")
MONO = MonoSettings(EmSettings(10, (1, 2, 3, 4, 6, 8), 60, 7))
TRIPHONE = EmSettings(6, (3,), 80, 4)
TREE = TreeSettings(num_leaves=40, min_gain=10.0)


@dataclass(frozen=True)
class Task:
    """Folders of made-up speech and of a monophone model trained on it."""

    folder: Path
    lang: Lang
    truth: dict[str, list[str]]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def mono(self) -> Path:
        return self.folder / "mono"

    @property
    def alignments(self) -> Path:
        return self.folder / "mono_ali"

    def align(self, model: Path, output: Path) -> RaggedStore:
        output.mkdir()
        align_data(self.data, self.lang.folder, model, output, AlignmentScales(), CPU)
        return RaggedStore(output)

    def share_of_right_frames(self, store: RaggedStore) -> float:
        names = {number: name for name, number in self.lang.phones.items()}
        transitions = TransitionModel.load(store.folder / "transitions.json")
        right = []
        for cut_id in store:
            phones = transitions.phones_of(store[cut_id]["transition_ids"])
            right += [names[int(p)] == t for p, t in zip(phones, self.truth[cut_id], strict=True)]
        return float(np.mean(right))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("task")
    lang = make_lang(folder / "lang_of_task")
    task = Task(folder, lang, make_data(folder / "data", num_cuts=40, odd_cuts=True))
    task.mono.mkdir()
    train_mono(task.data, lang.folder, task.mono, MONO, seed=1, device=CPU)
    task.align(task.mono, task.alignments)
    return task


def history(model: Path) -> list[dict]:
    return [json.loads(line) for line in (model / "log.jsonl").read_text().splitlines()]


def test_monophones_find_the_phones(task: Task) -> None:
    assert task.share_of_right_frames(RaggedStore(task.alignments)) > 0.95
    found = history(task.mono)
    assert [facts["iteration"] for facts in found] == list(range(1, 11))
    likelihoods = [facts["log_likelihood_per_frame"] for facts in found]
    assert likelihoods[-1] > likelihoods[0] + 1
    summary = json.loads((task.mono / "summary.json").read_text())
    assert summary["pdfs"] == 3 * (len(PHONES) + 1)
    assert 50 <= summary["gaussians"] <= 62
    assert not (task.mono / "training").exists()


def test_odd_cuts_are_listed_or_mended(task: Task) -> None:
    for folder in (task.mono, task.alignments):
        rows = [line.split("\t") for line in (folder / "failed.tsv").read_text().splitlines()]
        assert {row[0] for row in rows} == {"u900", "u902"}
        assert all(len(row) == 2 for row in rows)
        assert dict(rows)["u900"] == "no transcript"
        assert "too short" in dict(rows)["u902"]
    store = RaggedStore(task.alignments)
    assert "u901" in store and len(store) == 41
    for cut_id in store:
        assert store.num_frames(cut_id) == len(task.truth[cut_id])
        assert store[cut_id]["transition_ids"].min() >= 1
    assert store.frame_shift == 0.01


@pytest.mark.parametrize("kind", ["deltas", "lda_mllt"])
def test_triphones(task: Task, tmp_path: Path, kind: str) -> None:
    model = tmp_path / "model"
    model.mkdir()
    if kind == "deltas":
        train_deltas(
            task.data,
            task.lang.folder,
            task.alignments,
            model,
            DeltasSettings(TREE, TRIPHONE),
            1,
            CPU,
        )
    else:
        settings = LdaMlltSettings(context=2, dim=8, mllt_iterations=(2, 4), tree=TREE, em=TRIPHONE)
        train_lda_mllt(task.data, task.lang.folder, task.alignments, model, settings, 1, CPU)
        assert [
            facts["iteration"] for facts in history(model) if "mllt_gain_per_frame" in facts
        ] == [2, 4]
    assert json.loads((model / "summary.json").read_text())["pdfs"] == 40
    assert task.share_of_right_frames(task.align(model, tmp_path / "ali")) > 0.95
    gmm = load_gmm(model)
    cuts = open_feature_data(task.data)
    cut = next(iter(cuts))
    scores = gmm.log_likelihoods(cut, GmmFrontEnd.open(model, task.data))
    assert scores.shape == (cut.num_frames, gmm.num_pdfs)
    store = RaggedStore(tmp_path / "ali")
    aligned = gmm.model.transitions.pdf_ids_of(store[cut.id]["transition_ids"])
    own = scores[torch.arange(len(scores)), torch.from_numpy(aligned).long()]
    assert own.mean() > scores.mean() + 5


@pytest.mark.parametrize("kind", ["mono", "lda_mllt"])
def test_a_killed_training_goes_on_to_the_same_model(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def train(output: Path) -> None:
        output.mkdir(exist_ok=True)
        if kind == "mono":
            train_mono(task.data, task.lang.folder, output, MONO, 1, CPU)
        else:
            settings = LdaMlltSettings(2, 8, (2, 5), TREE, TRIPHONE)
            train_lda_mllt(task.data, task.lang.folder, task.alignments, output, settings, 1, CPU)

    train(tmp_path / "whole")
    save = trainer.Trainer._save

    def killed_save(self: trainer.Trainer, state: trainer.TrainingState) -> None:
        if state.iteration == 4:
            raise KeyboardInterrupt
        save(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_save", killed_save)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "killed")
    train(tmp_path / "killed")
    for name in ("gmm.safetensors", "transitions.json", "transform.safetensors", "tree.json"):
        whole, killed = (tmp_path / folder / name for folder in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes(), name
    without_time = [
        [{**facts, "seconds": 0} for facts in history(tmp_path / folder)]
        for folder in ("whole", "killed")
    ]
    assert without_time[0] == without_time[1]


def test_other_phones_are_refused(task: Task, tmp_path: Path) -> None:
    for trained in (task.mono, task.alignments):
        other = tmp_path / trained.name
        shutil.copytree(trained, other)
        phones = (other / "phones.txt").read_text()
        (other / "phones.txt").write_text(phones.replace("OW", "UH"))
    lang = task.lang.folder
    with pytest.raises(InputError, match=r"phones\.txt: differs"):
        align_data(task.data, lang, tmp_path / "mono", tmp_path, AlignmentScales(), CPU)
    with pytest.raises(InputError, match=r"phones\.txt: differs"):
        train_deltas(
            task.data,
            lang,
            tmp_path / "mono_ali",
            tmp_path,
            DeltasSettings(TREE, TRIPHONE),
            1,
            CPU,
        )


def test_other_features_are_refused(task: Task, tmp_path: Path) -> None:
    data = tmp_path / "lfbe"
    shutil.copytree(task.data, data)
    description = json.loads((data / "features.json").read_text())
    (data / "features.json").write_text(json.dumps({**description, "kind": "lfbe"}))
    with pytest.raises(InputError, match="lfbe"):
        train_mono(data, task.lang.folder, tmp_path, MONO, 1, CPU)
    with pytest.raises(InputError, match="lfbe"):
        align_data(data, task.lang.folder, task.mono, tmp_path, AlignmentScales(), CPU)
    narrow = tmp_path / "narrow"
    shutil.copytree(task.mono, narrow)
    stored = json.loads((narrow / "features.json").read_text())
    (narrow / "features.json").write_text(json.dumps({**stored, "mfcc_dim": MFCC_DIM + 1}))
    with pytest.raises(InputError, match=f"MFCC of {MFCC_DIM} coefficients"):
        align_data(task.data, task.lang.folder, narrow, tmp_path, AlignmentScales(), CPU)


def test_what_would_not_fit_into_memory_is_listed(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("am.alignment.viterbi.MAX_UTTERANCE_CELLS", 4500)
    store = task.align(task.mono, tmp_path / "ali")
    failed = (tmp_path / "ali" / "failed.tsv").read_text()
    assert 0 < len(store) < 41
    assert failed.count("too long") == 41 - len(store)


def test_a_half_copied_model_is_refused(task: Task, tmp_path: Path) -> None:
    for name in ("tree.json", "transitions.json", "gmm.safetensors", "features.json"):
        broken = tmp_path / name.split(".")[0]
        shutil.copytree(task.mono, broken)
        (broken / name).unlink()
        with pytest.raises(InputError, match=name):
            load_gmm(broken)


def test_data_without_usable_cuts_stops(task: Task, tmp_path: Path) -> None:
    make_data(tmp_path / "data", num_cuts=0, odd_cuts=True)
    cuts = open_feature_data(tmp_path / "data").filter(lambda cut: cut.id == "u900")
    cuts.to_file(tmp_path / "silent.jsonl.gz")
    shutil.move(tmp_path / "silent.jsonl.gz", tmp_path / "data" / "cuts.jsonl.gz")
    with pytest.raises(InputError, match="no transcript"):
        train_mono(tmp_path / "data", task.lang.folder, tmp_path, MONO, 1, CPU)


def test_settings_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MONO.normalise_variance = True  # type: ignore[misc]
