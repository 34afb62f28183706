"""Phones, cuts and corpora that a training, an alignment or a decoding must survive or refuse."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_speech import MFCC_DIM, make_data, make_lang, read_data, write_data

from am.alignment.align_data import align_data
from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.viterbi import AlignmentScales
from am.decoding.decode_data import decode_data
from am.decoding.settings import DecodingSettings
from am.errors import InputError
from am.features.extractors import MfccSettings, make_extractor
from am.gmm.model_folder import GmmHmm
from am.gmm.train import (
    DeltasSettings,
    LdaMlltSettings,
    MonoSettings,
    train_deltas,
    train_lda_mllt,
    train_mono,
)
from am.gmm.trainer import EmSettings
from am.graph.compile import make_graph
from am.lang.lang import Lang
from am.lm.grammar import format_lm
from am.storage import RaggedStore
from am.tree.grow import TreeSettings

CPU = torch.device("cpu")
SCALES = AlignmentScales()
MONO = MonoSettings(EmSettings(6, (1, 2, 3, 4), 50, 4))
TREE = TreeSettings(num_leaves=30, min_gain=10.0)
DELTAS = DeltasSettings(TREE, EmSettings(3, (2,), 60, 2))
LDA = LdaMlltSettings(2, 8, (2,), TREE, EmSettings(3, (2,), 60, 2))
# 60 phones of 3 states: 180 frames at least.
LONG_WORD = "longest " + "G OW N UW " * 15 + "\n"
WITHOUT_UW = ("go", "no", "gone", "won")
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


@dataclass(frozen=True)
class Trained:
    """A lang folder, data, and the three models of a recipe trained on them."""

    folder: Path
    lang: Lang
    data: Path

    def train(self) -> None:
        for name in ("mono", "deltas", "lda"):
            self.train_one(name)
            (self.folder / f"{name}_ali").mkdir()
            self.align(self.data, name, self.folder / f"{name}_ali")

    def train_one(self, name: str) -> None:
        output = self.folder / name
        output.mkdir()
        lang = self.lang.folder
        if name == "mono":
            train_mono(self.data, lang, output, MONO, 1, CPU)
        elif name == "deltas":
            train_deltas(self.data, lang, self.folder / "mono_ali", output, DELTAS, 1, CPU)
        else:
            train_lda_mllt(self.data, lang, self.folder / "deltas_ali", output, LDA, 1, CPU)

    def align(self, data: Path, model: str, output: Path) -> None:
        align_data(data, self.lang.folder, self.folder / model, output, SCALES, CPU)

    def check_models(self) -> None:
        """No parameter is NaN or infinite, no variance or weight is 0."""
        for name in ("mono", "deltas", "lda"):
            model = GmmHmm.load(self.folder / name)
            for values in (model.gmms.means, model.features.transform):
                assert np.isfinite(values).all()
            for values in (model.gmms.weights, model.gmms.variances, model.transitions.self_loop):
                assert np.isfinite(values).all() and values.min() > 0
            facts = json.loads((self.folder / name / "summary.json").read_text())
            assert np.isfinite(facts["log_likelihood_per_frame"])

    def failed(self, name: str) -> dict[str, str]:
        lines = (self.folder / name / "failed.tsv").read_text().splitlines()
        return dict(line.split("\t") for line in lines)


@pytest.fixture(scope="module")
def absent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, str]:
    """Models of a language in whose training data UW never occurs; and what was logged."""
    folder = tmp_path_factory.mktemp("absent")
    lang = make_lang(folder / "of_lang", LONG_WORD)
    make_data(folder / "data", 30, vocabulary=WITHOUT_UW)
    trained = Trained(folder, lang, folder / "data")
    log = logging.getLogger("am")
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    level, _ = log.level, log.setLevel(logging.INFO)
    trained.train()
    log.removeHandler(handler)
    log.setLevel(level)
    return trained, "\n".join(lines)


def test_phones_that_never_occur(absent: tuple[Trained, str]) -> None:
    trained, logged = absent
    trained.check_models()
    assert "in no transcript: " in logged
    line = next(line for line in logged.splitlines() if line.startswith("in no transcript"))
    assert {"UW", "SPN"} <= set(line.split(":")[1].split(";")[0].split())
    assert "no frame is aligned to UW: shares the leaves of " in logged
    for name in ("deltas", "lda"):
        model = GmmHmm.load(trained.folder / name)
        pdfs = {
            phone: {pdf for centre, _, pdf in model.tree.possible_triples(model.topology)
                    if centre == trained.lang.phones[phone]}
            for phone in ("UW", "OW", "W", "G", "N", "AO")
        }  # fmt: skip
        own = pdfs.pop("UW")
        assert any(own <= others for others in pdfs.values())


@pytest.mark.parametrize("model", ["mono", "deltas", "lda"])
def test_a_phone_first_met_after_training(
    absent: tuple[Trained, str], tmp_path: Path, model: str
) -> None:
    trained, _ = absent
    make_data(tmp_path / "test", 6, seed=5, vocabulary=("noon", "woo", "go"))
    (tmp_path / "ali").mkdir()
    trained.align(tmp_path / "test", model, tmp_path / "ali")
    assert (tmp_path / "ali" / "failed.tsv").read_text() == ""
    alignment = AlignmentFolder.open(tmp_path / "ali")
    phones = {
        phone
        for cut_id in alignment.store
        for phone in alignment.transitions.phones_of(alignment.transition_ids(cut_id)).tolist()
    }
    assert trained.lang.phones["UW"] in phones

    (tmp_path / "lm.arpa").write_text(ARPA)
    for name in ("lang_test", "graph", "decoded"):
        (tmp_path / name).mkdir()
    format_lm(trained.lang.folder, tmp_path / "lm.arpa", tmp_path / "lang_test")
    make_graph(tmp_path / "lang_test", trained.folder / model, tmp_path / "graph", 0.1)
    settings = DecodingSettings().gmm
    decode_data(
        tmp_path / "graph",
        tmp_path / "test",
        trained.folder / model,
        tmp_path / "decoded",
        settings.scales(None, None),
        settings.search,
    )
    hypotheses = (tmp_path / "decoded" / "hypotheses.txt").read_text().splitlines()
    assert len(hypotheses) == 6 and all(len(line.split()) > 2 for line in hypotheses)
    assert (tmp_path / "decoded" / "failed.tsv").read_text() == ""


def test_one_utterance_a_speaker(tmp_path: Path) -> None:
    make_data(tmp_path / "some", 24)
    matrices, texts, _ = read_data(tmp_path / "some")
    write_data(tmp_path / "data", matrices, texts, {cut_id: cut_id for cut_id in matrices})
    trained = Trained(tmp_path, make_lang(tmp_path / "of_lang"), tmp_path / "data")
    trained.train()
    trained.check_models()
    assert trained.failed("lda") == trained.failed("lda_ali") == {}
    assert len(RaggedStore(tmp_path / "lda_ali")) == 24


def frames_of(samples: np.ndarray) -> np.ndarray:
    """The first coefficients of real MFCC of samples at 16 kHz."""
    return make_extractor(MfccSettings()).extract(samples, 16000)[:, :MFCC_DIM]


def silent_cuts() -> dict[str, np.ndarray]:
    """Digital zero, and noise of one bit in 16."""
    noise = np.random.default_rng(0).normal(0, 1 / 32768, 24000).astype(np.float32)
    return {
        "zero": frames_of(np.zeros(24000, dtype=np.float32)),
        "noise": frames_of(noise),
    }


def test_cuts_of_silence_alone(tmp_path: Path) -> None:
    make_data(tmp_path / "some", 24)
    matrices, texts, speakers = read_data(tmp_path / "some")
    for cut_id, matrix in silent_cuts().items():
        matrices[cut_id], texts[cut_id], speakers[cut_id] = matrix, "go no", f"speaker {cut_id}"
    write_data(tmp_path / "data", matrices, texts, speakers)
    trained = Trained(tmp_path, make_lang(tmp_path / "of_lang"), tmp_path / "data")
    trained.train()
    trained.check_models()
    store = RaggedStore(tmp_path / "lda_ali")
    assert {"zero", "noise"} <= set(store)


def test_a_corpus_of_digital_silence(tmp_path: Path) -> None:
    zero = silent_cuts()["zero"]
    ids = [f"z{number}" for number in range(4)]
    write_data(
        tmp_path / "data",
        dict.fromkeys(ids, zero),
        dict.fromkeys(ids, "go no noon gone won"),
        {cut_id: cut_id for cut_id in ids},
    )
    trained = Trained(tmp_path, make_lang(tmp_path / "of_lang"), tmp_path / "data")
    for name in ("mono", "deltas"):
        trained.train_one(name)
        (tmp_path / f"{name}_ali").mkdir()
        trained.align(trained.data, name, tmp_path / f"{name}_ali")
        facts = json.loads((tmp_path / name / "summary.json").read_text())
        assert np.isfinite(facts["log_likelihood_per_frame"])
    with pytest.raises(InputError, match="do not vary in all of 25 values; check that the audio"):
        trained.train_one("lda")


@pytest.fixture
def damaged(tmp_path: Path, absent: tuple[Trained, str]) -> Trained:
    """The language of ``absent`` with cuts that cannot be used: too short, not finite."""
    trained, _ = absent
    matrices, texts, speakers = read_data(trained.data)
    texts["u001"] = "longest"
    matrices["u001"] = matrices["u001"][:30]
    for cut_id, value in (("u002", np.nan), ("u003", np.inf)):
        matrices[cut_id][7, 2] = value
    write_data(tmp_path / "data", matrices, texts, speakers)
    return Trained(tmp_path, trained.lang, tmp_path / "data")


def test_cuts_that_cannot_be_used_are_listed(
    damaged: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    damaged.train()
    damaged.check_models()
    not_finite = "features hold NaN or infinity"
    too_short = "too short: 30 frames, and its transcript takes at least 180"
    expected = {"u001": too_short, "u002": not_finite, "u003": not_finite}
    assert damaged.failed("mono") == expected
    for name in ("mono_ali", "deltas_ali", "lda_ali"):
        assert damaged.failed(name) == expected
        assert len(RaggedStore(damaged.folder / name)) == 27
    for name in ("deltas", "lda"):
        assert damaged.failed(name) == {**expected, "u001": "no alignment"}
    for name in ("mono", "deltas", "lda"):
        facts = json.loads((damaged.folder / name / "summary.json").read_text())
        assert facts["failed"] == 3
    assert "3 cuts left out, listed in failed.tsv" in caplog.text


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("no text", "no transcript"),
        ("nan", "features hold NaN or infinity"),
        ("short", "too short: 5 frames, and its transcript takes at least 3"),
    ],
)
def test_a_corpus_of_which_nothing_can_be_used(
    absent: tuple[Trained, str], tmp_path: Path, fault: str, reason: str
) -> None:
    trained, _ = absent
    matrices, texts, speakers = read_data(trained.data)
    for cut_id in matrices:
        if fault == "no text":
            texts[cut_id] = None
        elif fault == "nan":
            matrices[cut_id][0, 0] = np.nan
        else:
            matrices[cut_id] = matrices[cut_id][:5]
    write_data(tmp_path / "data", matrices, texts, speakers)
    (tmp_path / "model").mkdir()
    lang = trained.lang.folder
    with pytest.raises(InputError, match=reason) as refused:
        train_mono(tmp_path / "data", lang, tmp_path / "model", MONO, 1, CPU)
    assert "\n" not in str(refused.value)
    assert "u000" in str(refused.value)
    with pytest.raises(InputError, match=reason) as refused:
        trained.align(tmp_path / "data", "mono", tmp_path / "ali")
    assert "u000" in str(refused.value)
    ali = trained.folder / "mono_ali"
    if fault != "short":
        with pytest.raises(InputError, match=reason):
            train_deltas(tmp_path / "data", lang, ali, tmp_path / "model2", DELTAS, 1, CPU)
    else:
        with pytest.raises(InputError, match=r"alignment of \d+ frames, features of 5"):
            train_deltas(tmp_path / "data", lang, ali, tmp_path / "model2", DELTAS, 1, CPU)
