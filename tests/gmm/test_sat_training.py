"""Speaker-adaptive training, alignment and decoding of speakers with distortions of their own."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gmm_cases import direct_log_likelihoods
from made_up_speech import MFCC_DIM, make_data, make_lang, read_data, write_data

from am.alignment.align_data import align_data
from am.alignment.align_fmllr import AlignFmllrSettings, align_fmllr
from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.viterbi import AlignmentScales
from am.decoding.decode_data import decode_data
from am.decoding.decoder import Scales, SearchSettings
from am.decoding.estimate_fmllr import EstimateFmllrSettings, estimate_fmllr
from am.decoding.search_scales import search_scales
from am.decoding.settings import KindSettings, ScaleSearchSettings
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.features.gmm_front_end import GmmFrontEnd
from am.features.speaker_transforms import MATRICES_NAME, SpeakerTransforms
from am.gmm import load_gmm, trainer
from am.gmm.adapted_model import SPEAKER_INDEPENDENT, AdaptedModel
from am.gmm.speaker_adaptation import FmllrSettings
from am.gmm.train import DeltasSettings, MonoSettings, train_deltas, train_mono
from am.gmm.train_sat import SatSettings, train_sat
from am.gmm.trainer import EmSettings
from am.graph.compile import make_graph
from am.lang.lang import Lang
from am.lm.grammar import format_lm
from am.processes import LocalProcesses
from am.scoring.transcripts import read_transcripts
from am.scoring.word_errors import WordErrors, count_errors
from am.tree.build import build_tree
from am.tree.grow import TreeSettings

CPU = torch.device("cpu")
SCALES = AlignmentScales()
MONO = MonoSettings(EmSettings(8, (1, 2, 3, 4, 6), 60, 6))
TREE = TreeSettings(num_leaves=30, min_gain=10.0)
TRIPHONE = EmSettings(6, (3,), 60, 3)
FMLLR = FmllrSettings(min_frames=100.0)
SAT = SatSettings(FMLLR, (1, 2, 4), TREE, TRIPHONE)
NUM_SPEAKERS = 5
ARPA = """\\data\\
ngram 1=7

\\1-grams:
-99 <s>
-0.8 </s>
-0.8 go
-0.8 no
-0.8 noon
-0.8 won
-0.8 woo

\\end\\
"""


def make_distorted_data(clean: Path, folder: Path, num_cuts: int, seed: int) -> dict:
    """Data whose speakers each have a matrix of their own between them and the made-up speech."""
    truth = make_data(clean, num_cuts, seed)
    matrices, texts, _ = read_data(clean)
    speakers = {cut_id: f"s{int(cut_id[1:]) % NUM_SPEAKERS}" for cut_id in matrices}
    generator = np.random.default_rng(5)
    identity = np.eye(MFCC_DIM)
    mixing = {
        f"s{number}": identity + generator.normal(0, 0.35, identity.shape)
        for number in range(NUM_SPEAKERS)
    }
    distorted = {cut_id: matrices[cut_id] @ mixing[speakers[cut_id]].T for cut_id in matrices}
    write_data(folder, distorted, texts, speakers)
    return truth


@dataclass(frozen=True)
class Task:
    """Distorted speech, triphones on deltas, and speaker-adapted triphones after them."""

    folder: Path
    lang: Lang
    truth: dict[str, list[str]]

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def sat(self, output: Path, older: str = "deltas", settings: SatSettings = SAT) -> None:
        output.mkdir(exist_ok=True)
        train_sat(
            self / "data",
            self.lang.folder,
            self / older,
            self / f"{older}_ali",
            output,
            settings,
            1,
            CPU,
        )

    def align(self, model: Path, output: Path, transforms: Path | None = None) -> None:
        output.mkdir(exist_ok=True)
        data = self / "data"
        align_data(data, self.lang.folder, model, output, SCALES, CPU, transforms)

    def share_of_right_frames(self, alignment: Path) -> float:
        folder = AlignmentFolder.open(alignment)
        names = {number: name for name, number in self.lang.phones.items()}
        right = []
        for cut_id in folder.store:
            phones = folder.transitions.phones_of(folder.transition_ids(cut_id))
            right += [names[int(p)] == t for p, t in zip(phones, self.truth[cut_id], strict=True)]
        return float(np.mean(right))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("task")
    lang = make_lang(folder / "of_lang")
    truth = make_distorted_data(folder / "clean", folder / "data", 50, seed=0)
    task = Task(folder, lang, truth)
    (task / "mono").mkdir()
    train_mono(task / "data", lang.folder, task / "mono", MONO, 1, CPU)
    task.align(task / "mono", task / "mono_ali")
    (task / "deltas").mkdir()
    settings = DeltasSettings(TREE, TRIPHONE)
    train_deltas(task / "data", lang.folder, task / "mono_ali", task / "deltas", settings, 1, CPU)
    task.align(task / "deltas", task / "deltas_ali")
    task.sat(task / "sat")
    (task / "sat_ali").mkdir()
    align_fmllr(
        task / "data",
        lang.folder,
        task / "sat",
        task / "sat_ali",
        AlignFmllrSettings(SCALES, FMLLR),
        CPU,
    )
    return task


def history(model: Path) -> list[dict]:
    return [json.loads(line) for line in (model / "log.jsonl").read_text().splitlines()]


def last_log_likelihood(model: Path) -> float:
    return float(json.loads((model / "summary.json").read_text())["log_likelihood_per_frame"])


def test_adaptation_raises_the_likelihood(task: Task, tmp_path: Path) -> None:
    """Against the same training without it, the transforms' determinants counted."""
    settings = DeltasSettings(TREE, TRIPHONE)
    train_deltas(task / "data", task.lang.folder, task / "deltas_ali", tmp_path, settings, 1, CPU)
    assert last_log_likelihood(task / "sat") > last_log_likelihood(tmp_path) + 0.5
    gains = [facts.get("fmllr_gain_per_frame") for facts in history(task / "sat")]
    assert [gain is not None for gain in gains] == [True, True, False, True, False, False]
    assert min(gain for gain in gains if gain is not None) >= 0


def test_the_log_likelihood_is_that_of_unadapted_frames(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By scipy: the density of the adapted frames, times the determinant."""
    expected: list[float] = []
    save = trainer.Trainer._save

    def save_and_evaluate(self: trainer.Trainer, state: trainer.TrainingState) -> None:
        save(self, state)
        if state.iteration != 2:
            return
        assert state.transforms is not None
        alignment = self.data.open_alignment(state.alignment_iteration)
        unadapted = self.data.write_input(state.model.features, name="unadapted.f32")
        for utterance, speaker in enumerate(self.data.speakers):
            own = self.data.frames_of(utterance)
            square, shift = np.split(state.transforms[speaker].matrix, [-1], axis=1)
            scores = direct_log_likelihoods(
                state.model.gmms, unadapted[own] @ square.T + shift.ravel()
            )
            pdf_ids = state.model.transitions.pdf_ids_of(np.asarray(alignment[own]))
            aligned = scores[np.arange(len(scores)), pdf_ids]
            expected.extend(aligned + np.log(abs(np.linalg.det(square))))

    monkeypatch.setattr(trainer.Trainer, "_save", save_and_evaluate)
    settings = replace(SAT, em=EmSettings(3, (), 60, 2), fmllr_iterations=(2,))
    task.sat(tmp_path, settings=settings)
    # An iteration's statistics are of the model before it.
    found = history(tmp_path)[2]["log_likelihood_per_frame"]
    assert found == pytest.approx(np.mean(expected), abs=1e-3)


def test_alignment_after_adaptation(task: Task) -> None:
    right = task.share_of_right_frames(task / "sat_ali")
    assert right > task.share_of_right_frames(task / "deltas_ali") - 0.002
    assert right > 0.9
    features = AdaptedModel.load(task / "sat").adapted.features
    transforms = SpeakerTransforms.load(task / "sat_ali", features)
    assert sorted(transforms.of_speaker) == [f"s{number}" for number in range(NUM_SPEAKERS)]
    assert all(transform.gain_per_frame > 0.1 for transform in transforms.of_speaker.values())
    assert not (task / "sat_ali" / "first_pass").exists()


def test_the_speaker_independent_model_is_a_gmm_folder(task: Task, tmp_path: Path) -> None:
    independent = task / "sat" / SPEAKER_INDEPENDENT
    for name in ("tree.json", "transitions.json", "phones.txt", "transform.safetensors"):
        assert (independent / name).read_bytes() == (task / "sat" / name).read_bytes()
    model = AdaptedModel.load(task / "sat")
    sums = np.bincount(model.adapted.gmms.pdf_of_gaussian, model.unadapted.weights)
    np.testing.assert_allclose(sums, 1, rtol=1e-4)
    task.align(independent, tmp_path / "ali")
    assert task.share_of_right_frames(tmp_path / "ali") > 0.9
    front_end = GmmFrontEnd.open(independent, task / "data")
    alignment = AlignmentFolder.open(task / "sat_ali")
    own = {"unadapted": 0.0, "adapted": 0.0}
    for cut in open_feature_data(task / "data").subset(first=10):
        pdf_ids = alignment.transitions.pdf_ids_of(alignment.transition_ids(cut.id))
        frames = torch.from_numpy(front_end.model_input(cut))
        for name, folder in (("unadapted", independent), ("adapted", task / "sat")):
            scores = load_gmm(folder).log_likelihoods_of(
                frames, np.arange(model.adapted.gmms.num_pdfs)
            )
            own[name] += float(
                scores[torch.arange(len(frames)), torch.from_numpy(pdf_ids).long()].sum()
            )
    assert own["unadapted"] > own["adapted"]


def test_transforms_of_the_alignment_are_the_first_ones(task: Task, tmp_path: Path) -> None:
    """A second round starts where the first one ended."""
    task.sat(tmp_path, older="sat", settings=replace(SAT, fmllr_iterations=()))
    assert last_log_likelihood(tmp_path) > last_log_likelihood(task / "sat") - 0.3
    shutil.copytree(task / "sat_ali", tmp_path / "ali")
    (tmp_path / "ali" / MATRICES_NAME).unlink()
    with pytest.raises(InputError, match=MATRICES_NAME):
        train_sat(
            task / "data",
            task.lang.folder,
            task / "sat",
            tmp_path / "ali",
            tmp_path,
            SAT,
            1,
            CPU,
        )


def test_a_killed_training_goes_on_to_the_same_model(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = trainer.Trainer._save

    def killed_save(self: trainer.Trainer, state: trainer.TrainingState) -> None:
        if state.iteration == 3:
            raise KeyboardInterrupt
        save(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_save", killed_save)
        with pytest.raises(KeyboardInterrupt):
            task.sat(tmp_path)
    task.sat(tmp_path)
    names = ["gmm.safetensors", "transitions.json", "transform.safetensors", "tree.json"]
    for name in [*names, f"{SPEAKER_INDEPENDENT}/gmm.safetensors"]:
        assert (tmp_path / name).read_bytes() == (task / "sat" / name).read_bytes(), name
    without_time = [
        [{**facts, "seconds": 0} for facts in history(model)] for model in (tmp_path, task / "sat")
    ]
    assert without_time[0] == without_time[1]


def test_what_does_not_belong_together(task: Task, tmp_path: Path) -> None:
    lang, data = task.lang.folder, task / "data"
    with pytest.raises(InputError, match="speaker-adapted, and no speaker transforms are given"):
        task.align(task / "sat", tmp_path / "ali")
    with pytest.raises(InputError, match="give a speaker-adapted model"):
        align_fmllr(data, lang, task / "deltas", tmp_path, AlignFmllrSettings(), CPU)
    with pytest.raises(InputError, match="give the model that made the alignment"):
        train_sat(data, lang, task / "deltas", task / "mono_ali", tmp_path, SAT, 1, CPU)
    with pytest.raises(InputError, match="deltas: not speaker-adapted"):
        task.align(task / "deltas", tmp_path / "ali", task / "sat_ali")
    broken = tmp_path / "broken"
    shutil.copytree(task / "sat", broken)
    shutil.rmtree(broken / SPEAKER_INDEPENDENT)
    shutil.copytree(task / "mono", broken / SPEAKER_INDEPENDENT)
    with pytest.raises(InputError, match="other Gaussians than"):
        AdaptedModel.load(broken)


def test_senones_are_clustered_on_adapted_features(task: Task, tmp_path: Path) -> None:
    settings = TreeSettings(num_leaves=20, min_gain=0.0, min_count=5.0)
    gains = {}
    for model in ("deltas", "sat"):
        output = tmp_path / model
        output.mkdir()
        build_tree(
            task / "data",
            task.lang.folder,
            task / model,
            task / f"{model}_ali",
            output,
            settings,
            low_frame_rate=True,
        )
        facts = json.loads((output / "senones.json").read_text())
        gains[model] = facts["gain_per_frame"]
    assert gains["sat"] > gains["deltas"]
    with pytest.raises(InputError, match=MATRICES_NAME):
        build_tree(
            task / "data",
            task.lang.folder,
            task / "sat",
            task / "deltas_ali",
            tmp_path,
            settings,
            low_frame_rate=True,
        )


@pytest.fixture(scope="module")
def graph(task: Task) -> Path:
    """The graph of both models, which have one tree."""
    (task / "lm.arpa").write_text(ARPA)
    for name in ("lang_test", "graph"):
        (task / name).mkdir()
    format_lm(task.lang.folder, task / "lm.arpa", task / "lang_test")
    make_graph(task / "lang_test", task / "sat", task / "graph", 0.1)
    return task / "graph"


def test_decoding_with_transforms(task: Task, graph: Path, tmp_path: Path) -> None:
    """Speech that was never seen, of the same speakers, decoded twice."""
    make_distorted_data(tmp_path / "clean", tmp_path / "test", 20, seed=9)
    data = tmp_path / "test"
    settings = EstimateFmllrSettings(Scales(0.1), fmllr=replace(FMLLR, silence_weight=0.01))
    errors = {}
    for passes in (0, 1, 2):
        output = tmp_path / f"decoded{passes}"
        output.mkdir()
        model, transforms = task / "sat" / SPEAKER_INDEPENDENT, None
        if passes:
            model, transforms = task / "sat", tmp_path / f"transforms{passes}"
            transforms.mkdir()
            estimate_fmllr(
                graph,
                data,
                model,
                transforms,
                replace(settings, passes=passes),
                executor=LocalProcesses(passes),
            )
            assert sorted(path.suffix for path in transforms.iterdir()) == [".safetensors", ".tsv"]
        decode_data(
            graph, data, model, output, Scales(0.1), SearchSettings(), transforms_dir=transforms
        )
        hypotheses = read_transcripts(output / "hypotheses.txt")
        _, texts, _ = read_data(data)
        errors[passes] = sum(
            (count_errors((texts[cut_id] or "").split(), hypotheses[cut_id]) for cut_id in texts),
            WordErrors(),
        ).errors
    assert errors[2] <= errors[1] <= errors[0]
    used = json.loads((tmp_path / "decoded1" / "settings.json").read_text())
    assert used["transforms"] == str(tmp_path / "transforms1")

    (tmp_path / "scales").mkdir()
    few = ScaleSearchSettings(100, (0.05, 0.1), (0.0,))
    best = search_scales(
        graph,
        data,
        task / "sat",
        tmp_path / "scales",
        KindSettings(0.06, few),
        transforms_dir=tmp_path / "transforms1",
    )
    assert best.acoustic_scale in few.acoustic_scales


def test_decoding_without_what_it_takes(task: Task, graph: Path, tmp_path: Path) -> None:
    data, scales, search = task / "data", Scales(0.1), SearchSettings()
    with pytest.raises(InputError, match="no speaker transforms are given"):
        decode_data(graph, data, task / "sat", tmp_path, scales, search)
    settings = EstimateFmllrSettings(scales)
    with pytest.raises(InputError, match="give a speaker-adapted model"):
        estimate_fmllr(graph, data, task / "deltas", tmp_path, settings)
    with pytest.raises(ValueError, match="passes"):
        replace(settings, passes=0)
