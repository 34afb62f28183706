"""The passes that all GMM trainings share: align, estimate, split, save, again.

An iteration is as in Kaldi's ``steps/train_mono.sh`` and ``train_deltas.sh``: now and then align
the data anew, gather statistics, update transitions and Gaussians, and add Gaussians until
their number is reached.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from am.alignment.viterbi import AlignmentScales, why_unalignable
from am.errors import InputError
from am.executors import Executor
from am.features.speaker_transforms import SpeakerTransforms
from am.gmm.mllt import estimate_mllt
from am.gmm.model_folder import GmmHmm
from am.gmm.passes import Passes
from am.gmm.speaker_adaptation import FmllrSettings, estimate_transforms, training_utterances
from am.gmm.training_data import TrainingData
from am.gmm.update import split, split_targets
from am.lang.lang import Lang

log = logging.getLogger(__name__)

STATE_NAME = "state.json"


@dataclass(frozen=True)
class EmSettings:
    """How a model is trained once its tree and its first alignment stand.

    Attributes:
        num_iterations: EM updates.
        realign_iterations: at whose beginning the data are aligned anew.
        num_gaussians: of all pdfs together.
        num_growing_iterations: Gaussians are added linearly until this iteration.
        power: a pdf's share of the Gaussians grows with its frames to this power.
        min_occupancy: frames (posterior mass) below which a Gaussian is removed.
        acoustic_scale, self_loop_scale: of alignment.
    """

    num_iterations: int
    realign_iterations: tuple[int, ...]
    num_gaussians: int
    num_growing_iterations: int
    power: float = 0.25
    min_occupancy: float = 10.0
    acoustic_scale: float = 0.1
    self_loop_scale: float = 0.1

    def __post_init__(self) -> None:
        if self.num_iterations < 1:
            raise ValueError(f"num_iterations must be at least 1, not {self.num_iterations}")
        if min(self.acoustic_scale, self.self_loop_scale) < 0:
            raise ValueError("acoustic_scale and self_loop_scale must not be below 0")

    def gaussians_at(self, iteration: int, at_first: int) -> int:
        """How many Gaussians there should be after ``iteration`` (from 1)."""
        done = min(max(iteration - 1, 0), self.num_growing_iterations)
        share = done / max(self.num_growing_iterations, 1)
        return at_first + int(share * max(self.num_gaussians - at_first, 0))


@dataclass
class TrainingState:
    """Where a training stands; saved after every iteration.

    ``transforms`` are the speakers' present ones, None where the model is not speaker-adapted.
    """

    model: GmmHmm
    transforms: SpeakerTransforms | None
    iteration: int
    alignment_iteration: int
    first_gaussians: int
    history: list[dict[str, Any]]

    @staticmethod
    def first(model: GmmHmm, transforms: SpeakerTransforms | None = None) -> TrainingState:
        """Before the first iteration."""
        return TrainingState(model, transforms, 0, 0, model.gmms.num_gaussians, [])


class Trainer:
    """Trains one model in a folder from which a killed training goes on.

    Args:
        data: prepared utterances.
        lang: for the training graphs.
        settings: of the iterations.
        folder: for checkpoints.
        seed: of the directions in which Gaussians are split.
        device: where tensors live.
        executor: what aligns and gathers statistics.
        mllt_iterations: at whose beginning an MLLT is estimated.
        fmllr_iterations: at whose beginning the speakers' transforms are estimated anew.
        fmllr: how they are.
    """

    def __init__(
        self,
        data: TrainingData,
        lang: Lang,
        settings: EmSettings,
        folder: Path,
        seed: int,
        device: torch.device,
        executor: Executor,
        mllt_iterations: tuple[int, ...] = (),
        fmllr_iterations: tuple[int, ...] = (),
        fmllr: FmllrSettings | None = None,
    ):
        self.data = data
        self.lang = lang
        self.settings = settings
        self.folder = folder
        self.seed = seed
        self.device = device
        self.executor = executor
        self.passes = Passes(data, executor, device)
        self.mllt_iterations = mllt_iterations
        self.fmllr_iterations = fmllr_iterations
        self.fmllr = fmllr or FmllrSettings()

    def run(self, start: Callable[[Trainer], TrainingState]) -> TrainingState:
        """Train to the end.

        Args:
            start: makes the first model and the alignment of iteration 0; not called where a
                checkpoint is found.
        """
        state = self._load()
        if state is None:
            state = start(self)
            self._save(state)
        else:
            log.info("going on after iteration %d", state.iteration)
        self._check_alignable(state)
        self.data.write_input(state.model.features, state.transforms)
        for iteration in range(state.iteration + 1, self.settings.num_iterations + 1):
            self._iterate(state, iteration)
            self._save(state)
        return state

    def _iterate(self, state: TrainingState, iteration: int) -> None:
        started = time.monotonic()
        facts: dict[str, Any] = {"iteration": iteration}
        if iteration in self.settings.realign_iterations:
            facts["unaligned"] = self._realign(state, iteration)
        alignment = self.data.open_alignment(state.alignment_iteration)
        if iteration in self.mllt_iterations:
            facts["mllt_gain_per_frame"] = self._change_features(state, iteration)
        if iteration in self.fmllr_iterations:
            facts["fmllr_gain_per_frame"] = self._adapt_speakers(state, alignment)
        model, statistics, pdf_frames = self.passes.update(
            state.model,
            f"em-{iteration:03d}",
            state.alignment_iteration,
            self.settings.min_occupancy,
        )
        wanted = self.settings.gaussians_at(iteration, state.first_gaussians)
        targets = split_targets(pdf_frames, wanted, self.settings.power)
        generator = np.random.default_rng((self.seed, iteration))
        state.model = model.replace(gmms=split(model.gmms, targets, generator))
        state.iteration = iteration
        log_likelihood = statistics.log_likelihood_per_frame
        log_likelihood += self._log_determinant_per_frame(state, alignment)
        facts |= {
            "log_likelihood_per_frame": round(log_likelihood, 4),
            "gaussians": state.model.gmms.num_gaussians,
            "frames": statistics.num_frames,
            "seconds": round(time.monotonic() - started, 2),
        }
        state.history.append(facts)
        log.info(
            "iteration %d%s: log-likelihood %.3f a frame, %d Gaussians, %.1f s",
            iteration,
            " (aligned anew)" if "unaligned" in facts else "",
            log_likelihood,
            facts["gaussians"],
            facts["seconds"],
        )

    def _realign(self, state: TrainingState, iteration: int) -> int:
        """Align all utterances; return how many have no path."""
        data = self.data
        # It is there where the iteration failed after it.
        if not data.alignment_path(iteration).is_file():
            if not data.num_states.any():
                self.passes.compile_graphs(state.model, self.lang)
            scales = AlignmentScales(self.settings.acoustic_scale, self.settings.self_loop_scale)
            self.passes.realign(state.model, f"align-{iteration:03d}", iteration, scales)
        state.alignment_iteration = iteration
        return int((data.open_alignment(iteration)[data.offsets[:-1]] == 0).sum())

    def _change_features(self, state: TrainingState, iteration: int) -> float:
        """Estimate an MLLT on speech, apply it to features and means; return its gain."""
        model = state.model
        statistics = self.passes.gather_mllt(
            model, f"mllt-{iteration:03d}", state.alignment_iteration, self.lang.silence_phones
        )
        matrix, gain = estimate_mllt(statistics.moments(model.gmms), statistics.em.num_frames)
        log.info("MLLT: objective up by %.3f a frame", gain)
        features = model.features.compose(matrix)
        gmms = model.gmms.with_means(model.gmms.means.astype(np.float64) @ matrix.T)
        state.model = model.replace(features=features, gmms=gmms)
        self.data.write_input(features)
        return round(gain, 4)

    def _adapt_speakers(self, state: TrainingState, alignment: np.ndarray) -> float:
        """Estimate the speakers' transforms anew, from the present ones on; return the gain."""
        model, data = state.model, self.data

        def pdf_ids_of(utterance: int) -> np.ndarray | None:
            transition_ids = np.asarray(alignment[data.frames_of(utterance)])
            return model.transitions.pdf_ids_of(transition_ids) if transition_ids[0] else None

        changes = estimate_transforms(
            self.passes.write_model("fmllr", model),
            data.speakers,
            training_utterances(data, data.open_input(model.features.dim), pdf_ids_of),
            self.lang.silence_phones,
            self.fmllr,
            self.executor,
            self.device,
        )
        state.transforms = changes if state.transforms is None else changes.after(state.transforms)
        data.write_input(model.features, state.transforms)
        return round(changes.gain_per_frame, 4)

    def _log_determinant_per_frame(self, state: TrainingState, alignment: np.ndarray) -> float:
        """What the transforms add to the log-likelihood of an aligned frame before them."""
        if state.transforms is None:
            return 0.0
        transforms, data = state.transforms, self.data
        frames = data.num_frames * (alignment[data.offsets[:-1]] > 0)
        each = np.array([transforms[speaker].log_determinant for speaker in data.speakers])
        return float(frames @ each / max(frames.sum(), 1))

    def unaligned(self, state: TrainingState) -> list[tuple[str, str]]:
        """Cuts without a path in the last alignment, with the reason."""
        data = self.data
        alignment = data.open_alignment(state.alignment_iteration)
        left_out = np.flatnonzero(alignment[data.offsets[:-1]] == 0)
        if len(left_out) and not data.num_states.any():
            self.passes.compile_graphs(state.model, self.lang)
        return [
            (data.cut_ids[utterance], self._why_unaligned(utterance))
            for utterance in left_out.tolist()
        ]

    def _why_unaligned(self, utterance: int) -> str:
        sizes = (self.data.num_frames, self.data.min_frames, self.data.num_states)
        reason = why_unalignable(*(int(size[utterance]) for size in sizes))
        # Only before the first search: a flat start tries some paths at random.
        return reason or "none of the paths tried fits its frames"

    def _check_alignable(self, state: TrainingState) -> None:
        unaligned = self.unaligned(state)
        if len(unaligned) == len(self.data.cut_ids):
            raise InputError(
                f"no utterance could be aligned; the first, {': '.join(unaligned[0])}; "
                "check transcripts, lexicon and durations"
            )

    def _save(self, state: TrainingState) -> None:
        target = self.folder / f"checkpoint-{state.iteration:03d}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        state.model.save(target)
        if state.transforms is not None:
            state.transforms.save(target)
        facts = {
            "iteration": state.iteration,
            "alignment_iteration": state.alignment_iteration,
            "first_gaussians": state.first_gaussians,
            "history": state.history,
        }
        aside = target / f"{STATE_NAME}.tmp"
        aside.write_text(json.dumps(facts))
        aside.rename(target / STATE_NAME)
        for older in self._checkpoints()[:-1]:
            shutil.rmtree(older)
        for path in self.data.folder.glob("alignment-*.i32"):
            if path != self.data.alignment_path(state.alignment_iteration):
                path.unlink()

    def _load(self) -> TrainingState | None:
        checkpoints = self._checkpoints()
        if not checkpoints:
            return None
        latest = checkpoints[-1]
        model = GmmHmm.load(latest)
        adapted = SpeakerTransforms.are_in(latest)
        transforms = SpeakerTransforms.load(latest, model.features) if adapted else None
        facts = json.loads((latest / STATE_NAME).read_text())
        return TrainingState(model=model, transforms=transforms, **facts)

    def _checkpoints(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob(f"checkpoint-*/{STATE_NAME}"))
