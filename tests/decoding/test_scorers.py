"""Scores of real model folders against the formulas."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet, MonoCut, NumpyFilesWriter, Recording, SupervisionSegment
from scipy.special import logsumexp
from scipy.stats import norm

from am.decoding.scorers import load_scorer, model_kind
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.features.gmm_features import delta_features
from am.features.low_frame_rate import LowFrameRateFrontEnd
from am.gmm.model import DiagonalGmms
from am.gmm.model_folder import GmmHmm
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.nnet.lstm import AcousticModel, LstmSettings
from am.nnet.network import load_network, save_network
from am.tree.context_tree import monophone_tree
from tests.stored_features import store_features

CPU = torch.device("cpu")


def feature_data(folder: Path, kind: str, matrices: Mapping[str, np.ndarray]) -> Path:
    """Feature data of one speaker."""
    folder.mkdir()
    dim = next(iter(matrices.values())).shape[1]
    with (
        NumpyFilesWriter(folder / "storage") as storage,
        CutSet.open_writer(folder / "cuts.jsonl.gz") as cuts,
    ):
        for cut_id, matrix in matrices.items():
            duration = len(matrix) * 0.01
            features = store_features(storage, cut_id, matrix, kind)
            recording = Recording(cut_id, [], 16000, round(duration * 16000), duration)
            supervision = SupervisionSegment(cut_id, cut_id, 0.0, duration, speaker="speaker")
            cuts.write(MonoCut(cut_id, 0.0, duration, 0, [supervision], features, recording))
    facts = {"kind": kind, "dimension": dim, "frame_shift": 0.01}
    (folder / "features.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A random network of 5 senones over 4 LFBE."""
    folder = tmp_path / "network"
    folder.mkdir()
    torch.manual_seed(0)
    front_end = LowFrameRateFrontEnd(torch.zeros(4), torch.zeros(4), torch.ones(4), 10.0)
    model = AcousticModel(LstmSettings(1, 6, False), front_end.output_dim, 5)
    log_priors = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25]).log()
    save_network(folder, model, front_end, log_priors, "tree")
    return folder


@pytest.fixture
def gmm(tmp_path: Path) -> Path:
    """Two phones of one state, one Gaussian each over 3 MFCC and their deltas."""
    folder = tmp_path / "gmm"
    folder.mkdir()
    topology = Topology.uniform([1, 2], 1)
    tree = monophone_tree([[1], [2]], topology)
    generator = np.random.default_rng(1)
    gmms = DiagonalGmms.single(generator.normal(size=(2, 9)), generator.uniform(0.5, 2, (2, 9)))
    transitions = TransitionModel.from_triples(tree.possible_triples(topology), 0.5)
    GmmHmm(tree, topology, transitions, gmms, delta_features(3)).save(folder)
    return folder


def test_network_gives_log_posterior_minus_log_prior(tmp_path: Path, network: Path) -> None:
    features = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    data = feature_data(tmp_path / "data", "lfbe", {"cut": features})
    scorer = load_scorer(network, data, CPU)
    facts = scorer.facts
    assert (facts.kind, facts.num_pdfs, facts.tree_sha256) == ("network", 5, "tree")
    assert facts.frame_shift == pytest.approx(0.03)
    scores = scorer.scores(next(iter(open_feature_data(data))))
    assert scores.shape == (4, 5) and scores.dtype == np.float32
    joint = scores + np.log([0.1, 0.2, 0.3, 0.15, 0.25])
    np.testing.assert_allclose(joint, load_network(network).log_posteriors(features), atol=1e-5)
    np.testing.assert_allclose(logsumexp(joint, axis=1), 0.0, atol=1e-5)


def test_gmm_gives_log_likelihoods_of_normalised_speech(tmp_path: Path, gmm: Path) -> None:
    generator = np.random.default_rng(0)
    matrices = {
        f"cut{i}": generator.normal(3, 1, (n, 3)).astype(np.float32) for i, n in ((1, 6), (2, 9))
    }
    data = feature_data(tmp_path / "data", "mfcc", matrices)
    scorer = load_scorer(gmm, data, CPU)
    assert (scorer.facts.kind, scorer.facts.num_pdfs, scorer.facts.frame_shift) == ("gmm", 2, 0.01)
    mean = np.concatenate(list(matrices.values())).mean(axis=0)
    model = GmmHmm.load(gmm)
    for cut in open_feature_data(data):
        frames = model.features.model_input((matrices[cut.id] - mean).astype(np.float32))
        expected = np.stack(
            [
                norm.logpdf(frames, centre, np.sqrt(variance)).sum(axis=1)
                for centre, variance in zip(model.gmms.means, model.gmms.variances, strict=True)
            ],
            axis=1,
        )
        np.testing.assert_allclose(scorer.scores(cut), expected, rtol=1e-4, atol=1e-3)


def test_features_that_the_model_does_not_take(tmp_path: Path, network: Path, gmm: Path) -> None:
    mfcc = feature_data(tmp_path / "mfcc", "mfcc", {"cut": np.zeros((5, 4), np.float32)})
    with pytest.raises(InputError, match=r"mfcc of 4 values every .* takes lfbe of 4"):
        load_scorer(network, mfcc, CPU)
    with pytest.raises(InputError, match=r"mfcc of 4 values every .* takes mfcc of 3"):
        load_scorer(gmm, mfcc, CPU)
    slow = feature_data(tmp_path / "slow", "lfbe", {"cut": np.zeros((5, 4), np.float32)})
    facts = {"kind": "lfbe", "dimension": 4, "frame_shift": 0.02}
    (slow / "features.json").write_text(json.dumps(facts))
    with pytest.raises(
        InputError, match=r"lfbe of 4 values every 0\.02 s, .* takes lfbe of 4 values every 0\.01 s"
    ):
        load_scorer(network, slow, CPU)


def test_folder_without_a_model(tmp_path: Path, network: Path, gmm: Path) -> None:
    assert (model_kind(network), model_kind(gmm)) == ("network", "gmm")
    with pytest.raises(InputError, match="neither"):
        model_kind(tmp_path)
