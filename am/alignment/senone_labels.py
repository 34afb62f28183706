"""Senone labels at the low frame rate, the targets of networks."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.convert import pdf_ids_of_windows
from am.alignment.low_frame_rate import low_rate_windows
from am.errors import InputError
from am.features.low_frame_rate import STACKED_FRAMES
from am.hmm.topology import Topology
from am.lang.lang import read_symbols
from am.outputs import sha256_of_file
from am.progress import track
from am.storage import Record, write_shard, write_store_description
from am.tree.context_tree import ContextTree
from am.tree.statistics import triphone_windows

log = logging.getLogger(__name__)

KIND = "pdf-ids"
FIELD = "pdf_ids"
CUTS_PER_SHARD = 5000


def write_senone_labels(alignment_folder: Path, senones: Path, output: Path) -> None:
    """Label every aligned cut with the senones of ``senones``, a frame every 30 ms.

    Args:
        alignment_folder: transition-ids at 10 ms.
        senones: folder of ``steps/cluster_senones.py``.
        output: store of kind ``pdf-ids``: per cut (ceil(T / 3),) int32.

    Raises:
        InputError: the two have other phones, or the senones are not of the low frame rate.
    """
    alignment = AlignmentFolder.open(alignment_folder)
    tree = ContextTree.load(senones / "tree.json")
    topology = Topology.load(senones / "topology.json")
    if read_symbols(senones / "phones.txt") != read_symbols(alignment_folder / "phones.txt"):
        raise InputError(
            f"{senones / 'phones.txt'}: differs from {alignment_folder / 'phones.txt'}; both must "
            "come from the same lang"
        )
    if set(topology.states_of_phone.values()) != {1}:
        raise InputError(
            f"{senones / 'topology.json'}: more than one state a phone; give the folder of "
            "steps/cluster_senones.py"
        )

    def labels() -> Iterator[tuple[str, Record]]:
        for cut_id in track(alignment.store, "labels", total=len(alignment.store)):
            windows = triphone_windows(
                alignment.transition_ids(cut_id), alignment.transitions, alignment.topology
            )
            yield cut_id, {FIELD: pdf_ids_of_windows(tree, low_rate_windows(windows))}

    num_cuts = write_label_store(
        output,
        labels(),
        frame_shift=round(STACKED_FRAMES * alignment.store.frame_shift, 6),
        num_pdfs=tree.num_pdfs,
        tree_sha256=sha256_of_file(senones / "tree.json"),
    )
    log.info("labels of %d cuts, %d senones", num_cuts, tree.num_pdfs)


def write_label_store(
    output: Path,
    labels: Iterator[tuple[str, Record]],
    *,
    frame_shift: float,
    num_pdfs: int,
    tree_sha256: str,
) -> int:
    """Write a store of kind ``pdf-ids`` and return its number of cuts.

    Args:
        output: the store.
        labels: cut id and record, its only field ``pdf_ids``.
        frame_shift: from one label to the next, in seconds.
        num_pdfs, tree_sha256: of the tree.
    """
    num_cuts = 0
    for num_shards in itertools.count():
        records = list(itertools.islice(labels, CUTS_PER_SHARD))
        if not records:
            break
        write_shard(output, num_shards, records)
        num_cuts += len(records)
    write_store_description(
        output,
        {
            "kind": KIND,
            "frame_shift": frame_shift,
            "fields": [FIELD],
            "num_shards": num_shards,
            "num_pdfs": num_pdfs,
            "tree_sha256": tree_sha256,
        },
    )
    return num_cuts
