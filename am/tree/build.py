"""From an alignment to a tree, its topology and its transition model, in one folder."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.convert import AlignmentConverter
from am.alignment.low_frame_rate import labelled_frames, low_rate_topology, low_rate_windows
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.features.gmm_features import GmmFeatures, SpeakerNormalisation, check_mfcc_dim, speaker_of
from am.features.low_frame_rate import STACKED_FRAMES
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang, check_phones
from am.outputs import sha256_of_file
from am.progress import track
from am.tree.context_tree import ContextTree
from am.tree.grow import TreeReport, TreeSettings, grow_tree
from am.tree.statistics import TriphoneStatistics, triphone_windows

log = logging.getLogger(__name__)

DESCRIPTION_NAME = "senones.json"


def build_tree(
    data: Path,
    lang_folder: Path,
    model: Path,
    alignment_folder: Path,
    output: Path,
    settings: TreeSettings,
    *,
    low_frame_rate: bool,
) -> None:
    """Grow a tree on an alignment and fit the transition model that goes with it.

    Args:
        data: feature data folder (MFCC); cuts that were not aligned are counted and left out.
        lang_folder: gives roots, silence phones and questions.
        model: GMM folder whose features the tree is grown on.
        alignment_folder: transition-ids of ``data`` at 10 ms.
        output: folder for ``tree.json``, ``topology.json``, ``transitions.json``,
            ``phones.txt`` and ``senones.json``, the facts.
        settings: when the tree is large enough.
        low_frame_rate: one state a phone, a frame every 30 ms, with the features and the
            triphone of each third 10 ms frame; otherwise states and rate of the alignment.

    Raises:
        InputError: lang, model, data and alignment do not belong together.
    """
    lang = Lang.load(lang_folder)
    for folder in (model, alignment_folder):
        check_phones(lang, folder)
    alignment = AlignmentFolder.open(alignment_folder)
    topology = low_rate_topology(alignment.topology) if low_frame_rate else alignment.topology
    read_features = gmm_feature_reader(data, model)
    statistics = accumulate_statistics(
        track(open_feature_data(data), "statistics"),
        alignment,
        read_features,
        low_frame_rate=low_frame_rate,
    )
    tree, report = grow_tree(
        statistics, topology, lang.roots, lang.silence_phones, lang.extra_questions, settings
    )
    transitions = fit_transitions(alignment, tree, topology, low_frame_rate=low_frame_rate)
    tree.save(output / "tree.json")
    topology.save(output / "topology.json")
    transitions.save(output / "transitions.json")
    shutil.copyfile(lang_folder / "phones.txt", output / "phones.txt")
    frame_shift = alignment.store.frame_shift * (STACKED_FRAMES if low_frame_rate else 1)
    _write_description(output, report, frame_shift)
    log.info("tree: %s", report.summary())


def accumulate_statistics(
    cuts: Iterable[Any],
    alignment: AlignmentFolder,
    read_features: Callable[[Any], np.ndarray],
    *,
    low_frame_rate: bool,
) -> TriphoneStatistics:
    """Statistics of the aligned cuts, one cut in memory at a time.

    Args:
        cuts: lhotse cuts.
        alignment: their alignment at 10 ms.
        read_features: a cut → (T, D) at 10 ms.
        low_frame_rate: count only the frames that give a 30 ms vector its label, in one state.

    Raises:
        InputError: no cut is aligned, or a cut's frames are not those that were aligned.
    """
    statistics: TriphoneStatistics | None = None
    aligned, unaligned = 0, 0
    for cut in cuts:
        if cut.id not in alignment:
            unaligned += 1
            continue
        aligned += 1
        frames = read_features(cut)
        windows = triphone_windows(
            alignment.transition_ids(cut.id, len(frames)), alignment.transitions, alignment.topology
        )
        if low_frame_rate:
            frames, windows = frames[labelled_frames(len(frames))], low_rate_windows(windows)
        statistics = statistics or TriphoneStatistics(frames.shape[1])
        statistics.add(frames, windows)
    if statistics is None:
        raise InputError(
            f"{alignment.folder}: none of the {unaligned} cuts of the data is aligned here; "
            "give the alignment of the same data"
        )
    log.info("statistics of %d cuts; %d cuts have no alignment", aligned, unaligned)
    return statistics


def gmm_feature_reader(data: Path, model: Path) -> Callable[[Any], np.ndarray]:
    """A function from a cut of ``data`` (MFCC) to (T, D) model input of the GMM in ``model``.

    Normalisation statistics of the speakers are computed here, in a pass over the data.
    """
    features = GmmFeatures.load(model)
    normalisation = SpeakerNormalisation.from_cuts(track(open_feature_data(data), "speakers"))

    def read(cut: Any) -> np.ndarray:
        mfcc = cut.load_features()
        check_mfcc_dim(features, mfcc, cut.id)
        normalised = normalisation.apply(speaker_of(cut), mfcc, features.normalise_variance)
        return features.model_input(normalised)

    return read


def fit_transitions(
    alignment: AlignmentFolder, tree: ContextTree, topology: Topology, *, low_frame_rate: bool
) -> TransitionModel:
    """Self-loop probabilities of a new tree's states, from how long the alignment stays in them."""
    transitions = TransitionModel.from_triples(
        tree.possible_triples(topology), topology.initial_self_loop_probability
    )
    convert = AlignmentConverter(
        alignment.transitions,
        alignment.topology,
        tree,
        transitions,
        low_frame_rate=low_frame_rate,
    )
    counts = np.zeros(2 * transitions.num_transition_states + 1)
    for cut_id in track(alignment.store, "transitions"):
        converted = convert(alignment.transition_ids(cut_id))
        counts += np.bincount(converted, minlength=len(counts))
    transitions.update(counts)
    return transitions


def _write_description(output: Path, report: TreeReport, frame_shift: float) -> None:
    facts = {
        "num_pdfs": report.leaves,
        "frame_shift": round(frame_shift, 6),
        "tree_sha256": sha256_of_file(output / "tree.json"),
        "seen_triphone_states": report.triphone_states,
        "frames": report.frames,
        "leaves_before_merging": report.leaves_before_merging,
        "log_likelihood_per_frame_at_roots": report.log_likelihood_at_roots,
        "log_likelihood_per_frame": report.log_likelihood,
        "gain_per_frame": report.log_likelihood - report.log_likelihood_at_roots,
        "smallest_split_gain": min(report.split_gains, default=None),
        "summary": report.summary(),
    }
    (output / DESCRIPTION_NAME).write_text(json.dumps(facts, indent=1))
