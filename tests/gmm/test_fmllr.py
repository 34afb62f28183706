"""fMLLR against direct formulas on the frames, and of speakers whose distortion is known."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from gmm_cases import direct_posteriors, random_gmms

from am.executors import Executor
from am.features.gmm_features import GmmFeatures
from am.features.speaker_transforms import SpeakerTransforms
from am.gmm import fmllr, speaker_adaptation
from am.gmm.fmllr import FmllrStatistics, estimate_fmllr, fmllr_objective
from am.gmm.model import DiagonalGmms, GmmTables
from am.gmm.model_folder import GmmHmm
from am.gmm.speaker_adaptation import AlignedUtterance, FmllrSettings, UtterancesOf
from am.gmm.statistics import frame_precisions
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.processes import ONE_PROCESS, LocalProcesses
from am.tree.context_tree import monophone_tree

CPU = torch.device("cpu")
DIM = 4
IDENTITY = np.eye(DIM, DIM + 1)


def gathered(
    gmms: DiagonalGmms, frames: np.ndarray, pdf_ids: np.ndarray, weights: np.ndarray
) -> FmllrStatistics:
    """In two parts, merged."""
    total = FmllrStatistics(gmms.dim, CPU)
    for part in np.array_split(np.arange(len(frames)), 2):
        values = torch.from_numpy(frames[part])
        precisions, weighted_means = frame_precisions(GmmTables(gmms, CPU), values, pdf_ids[part])
        statistics = FmllrStatistics(gmms.dim, CPU)
        weight = torch.from_numpy(weights[part].astype(np.float32))
        statistics.accumulate(values, precisions, weighted_means, weight)
        total.add_arrays(statistics.to_arrays())
    return total


def direct_objective(
    matrix: np.ndarray,
    gmms: DiagonalGmms,
    frames: np.ndarray,
    posteriors: np.ndarray,
    weights: np.ndarray,
) -> float:
    """Σ_t weight (log |det A| + Σ_g γ_tg log N(A x + b; µ_g, σ²_g)), frame by frame."""
    moved = frames @ matrix[:, :DIM].T + matrix[:, DIM]
    distance = ((moved[:, None, :] - gmms.means) ** 2 / gmms.variances).sum(axis=2)
    normalisation = np.log(2 * np.pi * gmms.variances.astype(np.float64)).sum(axis=1)
    densities = -0.5 * (normalisation + distance)
    each = np.linalg.slogdet(matrix[:, :DIM])[1] + (posteriors * densities).sum(axis=1)
    return float(weights @ each)


class Case:
    """Frames of a mixture, with posteriors and weights, and their statistics."""

    def __init__(self, seed: int, num_frames: int = 500):
        generator = np.random.default_rng(seed)
        self.gmms = random_gmms(generator, [3, 1, 2], DIM)
        self.pdf_ids = generator.integers(0, 3, num_frames)
        mixing = np.eye(DIM) + generator.normal(0, 0.4, (DIM, DIM))
        frames = self.gmms.means[self.gmms.offsets[self.pdf_ids]]
        frames = (frames + generator.normal(0, 1, frames.shape)) @ mixing.T + 0.5
        self.frames = frames.astype(np.float32)
        self.weights = np.where(generator.random(num_frames) < 0.3, 0.01, 1.0)
        self.posteriors = direct_posteriors(self.gmms, self.frames, self.pdf_ids)
        self.statistics = gathered(self.gmms, self.frames, self.pdf_ids, self.weights)

    def direct(self, matrix: np.ndarray) -> float:
        return direct_objective(matrix, self.gmms, self.frames, self.posteriors, self.weights)


def estimated(statistics: FmllrStatistics) -> tuple[np.ndarray, float]:
    estimate = estimate_fmllr(statistics)
    assert estimate is not None
    return estimate


def test_statistics_are_the_direct_sums() -> None:
    case = Case(0)
    vectors = np.concatenate([case.frames, np.ones((len(case.frames), 1))], axis=1)
    posteriors = case.posteriors * case.weights[:, None]
    precisions = 1 / case.gmms.variances
    linear = np.einsum("tg,gi,tj->ij", posteriors, case.gmms.means * precisions, vectors)
    quadratic = np.einsum("tg,gi,tj,tk->ijk", posteriors, precisions, vectors, vectors)
    found = case.statistics
    assert found.num_frames == pytest.approx(case.weights.sum())
    np.testing.assert_allclose(found.linear, linear, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(found.quadratic, quadratic, rtol=1e-4, atol=1e-2)


def test_objective_is_that_of_the_frames() -> None:
    case = Case(1)
    generator = np.random.default_rng(0)
    for _ in range(5):
        matrix = IDENTITY + generator.normal(0, 0.3, IDENTITY.shape)
        found = fmllr_objective(matrix, case.statistics) - fmllr_objective(
            IDENTITY, case.statistics
        )
        assert found == pytest.approx(case.direct(matrix) - case.direct(IDENTITY), rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_the_estimate_is_a_maximum_on_the_frames(seed: int) -> None:
    """Finite differences of the direct formula vanish, and the gain is what it says."""
    case = Case(seed)
    matrix, gain = estimated(case.statistics)
    best = case.direct(matrix)
    frames = case.weights.sum()
    assert gain == pytest.approx((best - case.direct(IDENTITY)) / frames, rel=1e-3)
    step = 1e-3
    for place in np.ndindex(matrix.shape):
        change = np.zeros_like(matrix)
        change[place] = step
        up, down = case.direct(matrix + change), case.direct(matrix - change)
        assert up < best and down < best
        gradient, curvature = (up - down) / (2 * step), (up + down - 2 * best) / step**2
        assert abs(gradient) < 1e-2 * abs(curvature)


def test_no_sweep_lowers_the_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(5)
    monkeypatch.setattr(fmllr, "TOLERANCE", 0.0)
    gains = []
    for sweeps in range(1, 80, 3):
        monkeypatch.setattr(fmllr, "MAX_SWEEPS", sweeps)
        gains.append(estimated(case.statistics)[1])
    assert gains[0] > 0.1
    assert (np.diff(gains) >= 0).all()
    assert gains[-1] - gains[-2] < 1e-5


def test_the_row_update_takes_the_better_root() -> None:
    """A reflected speaker: the determinant's sign must be free to change."""
    case = Case(6)
    reflected = np.diag([-1.0, 1, 1, 1]).astype(np.float32)
    statistics = gathered(case.gmms, case.frames @ reflected, case.pdf_ids, case.weights)
    matrix, _ = estimated(statistics)
    for row in range(DIM):
        generator = np.random.default_rng(row)
        for _ in range(50):
            other = matrix.copy()
            other[row] += generator.normal(0, 1, DIM + 1) * generator.choice([0.01, 1.0, 10.0])
            assert fmllr_objective(other, statistics) <= fmllr_objective(matrix, statistics) + 1e-6


def test_posteriors_of_other_gaussians() -> None:
    """γ from one set of parameters, means and variances from another."""
    generator = np.random.default_rng(7)
    weighing, target = (random_gmms(generator, [3, 1, 2], DIM) for _ in range(2))
    frames = generator.normal(0, 2, (100, DIM)).astype(np.float32)
    pdf_ids = generator.integers(0, 3, 100)
    precisions, weighted_means = frame_precisions(
        GmmTables(weighing, CPU), torch.from_numpy(frames), pdf_ids, GmmTables(target, CPU)
    )
    posteriors = direct_posteriors(weighing, frames, pdf_ids)
    np.testing.assert_allclose(precisions, posteriors @ (1 / target.variances), rtol=1e-3)
    expected = posteriors @ (target.means / target.variances)
    np.testing.assert_allclose(weighted_means, expected, rtol=1e-3, atol=1e-3)


def small_model(seed: int = 0, num_phones: int = 12) -> GmmHmm:
    """Phones of one state with one Gaussian each; the features are the frames."""
    generator = np.random.default_rng(seed)
    topology = Topology.uniform(list(range(1, num_phones + 1)), 1)
    tree = monophone_tree([[phone] for phone in range(1, num_phones + 1)], topology)
    gmms = DiagonalGmms.single(
        generator.normal(0, 3, (num_phones, DIM)), generator.uniform(0.5, 2, (num_phones, DIM))
    )
    transitions = TransitionModel.from_triples(tree.possible_triples(topology), 0.5)
    features = GmmFeatures("splice", DIM, 0, False, np.eye(DIM, dtype=np.float32))
    return GmmHmm(tree, topology, transitions, gmms, features)


def distorted(
    model: GmmHmm, distortions: dict[str, np.ndarray], lengths: list[int], seed: int = 0
) -> list[AlignedUtterance]:
    """Utterances of each speaker, drawn from the model and moved by ``x → A x + b``."""
    generator = np.random.default_rng(seed)
    utterances = []
    for length in lengths:
        for speaker, matrix in distortions.items():
            pdf_ids = generator.integers(0, model.gmms.num_pdfs, length)
            noise = generator.normal(0, 1, (length, DIM))
            frames = model.gmms.means[pdf_ids] + noise * np.sqrt(model.gmms.variances[pdf_ids])
            frames = frames @ matrix[:, :DIM].T + matrix[:, DIM]
            utterances.append(AlignedUtterance(speaker, frames.astype(np.float32), pdf_ids))
    return utterances


def those_of(utterances: list[AlignedUtterance]) -> UtterancesOf:
    def utterances_of(group: Collection[str]) -> list[AlignedUtterance]:
        return [utterance for utterance in utterances if utterance.speaker in group]

    return utterances_of


def transforms_of(
    model: GmmHmm,
    speakers: Iterable[str],
    utterances_of: UtterancesOf,
    silence_phones: list[int],
    settings: FmllrSettings,
    executor: Executor = ONE_PROCESS,
) -> SpeakerTransforms:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return speaker_adaptation.estimate_transforms(
            Path(folder), speakers, utterances_of, silence_phones, settings, executor, CPU
        )


def random_distortion(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    square = np.eye(DIM) + generator.normal(0, 0.3, (DIM, DIM))
    return np.concatenate([square, generator.normal(0, 1, (DIM, 1))], axis=1)


def test_a_known_distortion_is_undone() -> None:
    model = small_model()
    distortions = {name: random_distortion(place) for place, name in enumerate("abc")}
    utterances = distorted(model, distortions, [3000, 5000])
    found = transforms_of(model, "abc", those_of(utterances), [], FmllrSettings())
    for name, distortion in distortions.items():
        transform = found[name]
        assert transform.frames == 8000 and transform.gain_per_frame > 0.5
        undone = transform.matrix[:, :DIM] @ distortion[:, :DIM]
        np.testing.assert_allclose(undone, np.eye(DIM), atol=0.03)
        shift = transform.matrix[:, :DIM] @ distortion[:, DIM] + transform.matrix[:, DIM]
        np.testing.assert_allclose(shift, 0, atol=0.1)
        square = transform.matrix[:, :DIM]
        assert transform.log_determinant == pytest.approx(np.linalg.slogdet(square)[1], rel=1e-5)


def test_a_matched_speaker_stays() -> None:
    model = small_model()
    utterances = distorted(model, {"matched": IDENTITY}, [8000])
    found = transforms_of(model, ["matched"], those_of(utterances), [], FmllrSettings())
    np.testing.assert_allclose(found["matched"].matrix, IDENTITY, atol=0.05)
    assert 0 < found["matched"].gain_per_frame < 0.01


def test_batches_and_groups_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    speakers = [f"s{number}" for number in range(7)]
    distortions = {name: random_distortion(place) for place, name in enumerate(speakers)}
    utterances = distorted(model, distortions, [90, 400, 60, 300])
    asked: list[int] = []

    def utterances_of(group: Collection[str]) -> list[AlignedUtterance]:
        asked.append(len(group))
        return those_of(utterances)(group)

    once = transforms_of(model, speakers, utterances_of, [], FmllrSettings())
    monkeypatch.setattr(speaker_adaptation, "BATCH_FRAMES", 100)
    monkeypatch.setattr(speaker_adaptation, "SPEAKERS_A_GROUP", 3)
    often = transforms_of(model, speakers, utterances_of, [], FmllrSettings())
    assert asked == [7, 3, 3, 1]
    for name in speakers:
        np.testing.assert_allclose(often[name].matrix, once[name].matrix, atol=1e-4)
        alone = [utterance for utterance in utterances if utterance.speaker == name]
        found = transforms_of(model, [name], those_of(alone), [], FmllrSettings())
        np.testing.assert_allclose(found[name].matrix, once[name].matrix, atol=1e-4)


def test_processes_do_not_matter() -> None:
    model = small_model()
    distortions = {f"s{number}": random_distortion(number) for number in range(30)}
    utterances = those_of(distorted(model, distortions, [600, 500]))
    found = [
        transforms_of(model, distortions, utterances, [], FmllrSettings(), LocalProcesses(count))
        for count in (1, 2)
    ]
    for name in distortions:
        np.testing.assert_array_equal(found[0][name].matrix, found[1][name].matrix)


def test_silence_counts_as_little_as_is_said() -> None:
    """Silence that is not distorted would hide the distortion of the speech."""
    model = small_model()
    distortion = random_distortion(3)
    speech = distorted(model, {"a": distortion}, [6000])[0]
    speech.pdf_ids[3000:] = 0
    silent = speech.pdf_ids == 0
    noise = np.random.default_rng(0).normal(0, 1, (silent.sum(), DIM))
    speech.frames[silent] = model.gmms.means[0] + noise
    error = {}
    for weight in (0.0, 0.01, 1.0):
        settings = FmllrSettings(silence_weight=weight)
        found = transforms_of(model, ["a"], those_of([speech]), [1], settings)["a"]
        assert found.frames == pytest.approx((~silent).sum() + weight * silent.sum())
        undone = found.matrix[:, :DIM] @ distortion[:, :DIM]
        error[weight] = np.abs(undone - np.eye(DIM)).max()
    assert error[0.0] < 0.05 and error[0.01] < 0.05 < error[1.0]


def test_too_little_speech_keeps_the_identity(caplog: pytest.LogCaptureFixture) -> None:
    model = small_model()
    long, short, only_silence, all_alike = (
        AlignedUtterance(name, utterance.frames, utterance.pdf_ids)
        for name, utterance in zip(
            ("long", "short", "only_silence", "all_alike"),
            (
                *distorted(model, {"": random_distortion(0)}, [501]),
                *distorted(model, {"": random_distortion(0)}, [499]),
                *distorted(model, {"": random_distortion(0)}, [900]),
                *distorted(model, {"": random_distortion(0)}, [900]),
            ),
            strict=True,
        )
    )
    only_silence.pdf_ids[:] = 0
    long.pdf_ids[long.pdf_ids == 0] = 1
    short.pdf_ids[short.pdf_ids == 0] = 1
    all_alike.pdf_ids[all_alike.pdf_ids == 0] = 1
    all_alike.frames[:] = 1.0
    utterances = [long, short, only_silence, all_alike]
    speakers = [*(utterance.speaker for utterance in utterances), "unheard"]
    with caplog.at_level(logging.WARNING):
        found = transforms_of(model, speakers, those_of(utterances), [1], FmllrSettings())
    assert "4 of 5 speakers keep the identity" in caplog.text
    assert found["long"].gain_per_frame > 0.1
    for name in speakers[1:]:
        np.testing.assert_array_equal(found[name].matrix, IDENTITY)
        assert found[name].gain_per_frame == 0
    assert [found[name].frames for name in speakers] == [501, 499, 0, 900, 0]
    fewer = FmllrSettings(min_frames=400)
    found = transforms_of(model, speakers, those_of(utterances), [1], fewer)
    assert found["short"].gain_per_frame > 0.1


@pytest.mark.parametrize(
    "wrong", [{"min_frames": -1}, {"silence_weight": 1.5}, {"silence_weight": -0.1}]
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FmllrSettings(**wrong)
