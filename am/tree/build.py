"""From an alignment to a tree, its topology and its transition model, in one folder."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.low_frame_rate import low_rate_topology
from am.executors import Executor
from am.features.low_frame_rate import STACKED_FRAMES
from am.lang.lang import Lang, check_phones
from am.outputs import sha256_of_file
from am.processes import ONE_PROCESS
from am.tree.accumulate import gather_statistics, gather_transitions
from am.tree.grow import TreeReport, TreeSettings, grow_tree

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
    executor: Executor = ONE_PROCESS,
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
        executor: what reads the data; the result does not depend on it.

    Raises:
        InputError: lang, model, data and alignment do not belong together, or features are not
            finite.
    """
    lang = Lang.load(lang_folder)
    for folder in (model, alignment_folder):
        check_phones(lang, folder)
    alignment = AlignmentFolder.open(alignment_folder)
    topology = low_rate_topology(alignment.topology) if low_frame_rate else alignment.topology
    statistics = gather_statistics(
        data, model, alignment, low_frame_rate=low_frame_rate, executor=executor
    )
    tree, report = grow_tree(
        statistics, topology, lang.roots, lang.silence_phones, lang.extra_questions, settings
    )
    transitions = gather_transitions(
        alignment, tree, topology, low_frame_rate=low_frame_rate, executor=executor
    )
    tree.save(output / "tree.json")
    topology.save(output / "topology.json")
    transitions.save(output / "transitions.json")
    shutil.copyfile(lang_folder / "phones.txt", output / "phones.txt")
    frame_shift = alignment.store.frame_shift * (STACKED_FRAMES if low_frame_rate else 1)
    _write_description(output, report, frame_shift)
    log.info("tree: %s", report.summary())
    report.unseen.log(lang.phones)
    if report.why_fewer:
        log.warning(
            "%d senones came out of the %d asked for (num_leaves): %s",
            report.leaves,
            report.leaves_wanted,
            report.why_fewer,
        )


def _write_description(output: Path, report: TreeReport, frame_shift: float) -> None:
    facts = {
        "num_pdfs": report.leaves,
        "leaves_wanted": report.leaves_wanted,
        "why_fewer": report.why_fewer,
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
