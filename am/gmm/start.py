"""The first models: a flat start, and one Gaussian a leaf from an older alignment."""

from __future__ import annotations

import logging

import numpy as np

from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.convert import AlignmentConverter
from am.alignment.equal import equal_alignment
from am.features.gmm_features import GmmFeatures
from am.features.speaker_transforms import SpeakerTransforms
from am.gmm.model import DiagonalGmms
from am.gmm.model_folder import GmmHmm
from am.gmm.trainer import Trainer, TrainingState
from am.gmm.training_data import CHUNK_FRAMES
from am.gmm.update import MIN_VARIANCE
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang
from am.tree.context_tree import ContextTree, monophone_tree
from am.tree.grow import TreeSettings, grow_tree
from am.tree.statistics import TriphoneStatistics
from am.tree.unseen import named

log = logging.getLogger(__name__)

# Fewest frames of a Gaussian in the first update, when alignments are rough (train_mono.sh).
FIRST_MIN_OCCUPANCY = 3.0


def flat_start(trainer: Trainer, features: GmmFeatures) -> TrainingState:
    """Monophones, every pdf the data's mean and variance, updated once on equal alignments."""
    lang = trainer.lang
    tree = monophone_tree([list(group) for group in lang.roots], lang.topology)
    inputs = trainer.data.write_input(features)
    model = _untrained(tree, lang.topology, features, inputs)
    trainer.passes.compile_graphs(model, lang)
    data = trainer.data
    in_graphs = np.zeros(tree.num_pdfs, dtype=bool)
    with data.new_alignment(0) as alignment:
        for utterance, graph in enumerate(data.graphs()):
            generator = np.random.default_rng((trainer.seed, utterance))
            num_frames = int(data.num_frames[utterance])
            in_graphs[model.transitions.pdf_ids[graph.transition_states - 1]] = True
            transition_ids = equal_alignment(graph, num_frames, generator)
            if transition_ids is not None:
                alignment[data.frames_of(utterance)] = transition_ids
    _warn_of_absent_phones(model.transitions, in_graphs, lang)
    model, statistics, _ = trainer.passes.update(model, "em-000", 0, FIRST_MIN_OCCUPANCY)
    log.info(
        "flat start: %d pdfs, log-likelihood %.3f a frame",
        tree.num_pdfs,
        statistics.log_likelihood_per_frame,
    )
    return TrainingState.first(model)


def _warn_of_absent_phones(transitions: TransitionModel, in_graphs: np.ndarray, lang: Lang) -> None:
    """Name the phones none of whose pdfs stands in a training graph; ``in_graphs`` is (pdfs,)."""
    absent = np.unique(transitions.phones[~in_graphs[transitions.pdf_ids]])
    if len(absent):
        log.warning(
            "in no transcript: %s; the Gaussians stay the mean and variance of all frames",
            named(absent.tolist(), lang.phones),
        )


def start_from_alignments(
    trainer: Trainer,
    features: GmmFeatures,
    old: AlignmentFolder,
    tree_settings: TreeSettings,
    transforms: SpeakerTransforms | None = None,
) -> TrainingState:
    """Grow a tree on ``features`` and give each leaf the Gaussian of its frames.

    Args:
        trainer: its data were prepared with ``old``.
        features: of the new model.
        old: alignments of the same cuts.
        tree_settings: when the tree is large enough.
        transforms: of the speakers, where the new model is speaker-adapted.
    """
    lang, data = trainer.lang, trainer.data
    inputs = data.write_input(features, transforms)
    statistics = TriphoneStatistics(features.dim)
    for utterance, cut_id in enumerate(data.cut_ids):
        frames = inputs[data.frames_of(utterance)]
        transition_ids = old.transition_ids(cut_id, len(frames))
        statistics.accumulate(frames, transition_ids, old.transitions, old.topology)
    tree, report = grow_tree(
        statistics,
        lang.topology,
        lang.roots,
        lang.silence_phones,
        lang.extra_questions,
        tree_settings,
    )
    log.info("tree: %s", report.summary())
    report.unseen.log(lang.phones)
    model = _untrained(tree, lang.topology, features, inputs)
    convert = AlignmentConverter(old.transitions, old.topology, tree, model.transitions)
    with data.new_alignment(0) as alignment:
        for utterance, cut_id in enumerate(data.cut_ids):
            alignment[data.frames_of(utterance)] = convert(old.transition_ids(cut_id))
    model, _, _ = trainer.passes.update(model, "em-000", 0, FIRST_MIN_OCCUPANCY)
    return TrainingState.first(model, transforms)


def _untrained(
    tree: ContextTree, topology: Topology, features: GmmFeatures, inputs: np.ndarray
) -> GmmHmm:
    mean, variance = _mean_and_variance(inputs)
    gmms = DiagonalGmms.single(
        np.tile(mean, (tree.num_pdfs, 1)), np.tile(variance, (tree.num_pdfs, 1))
    )
    transitions = TransitionModel.from_triples(
        tree.possible_triples(topology), topology.initial_self_loop_probability
    )
    return GmmHmm(tree, topology, transitions, gmms, features)


def _mean_and_variance(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = np.zeros((2, inputs.shape[1]))
    for first in range(0, len(inputs), CHUNK_FRAMES):
        frames = inputs[first : first + CHUNK_FRAMES].astype(np.float64)
        total += [frames.sum(axis=0), (frames**2).sum(axis=0)]
    mean, square = total / len(inputs)
    return mean, np.maximum(square - mean**2, MIN_VARIANCE)
