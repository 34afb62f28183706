"""Soft labels beside their features in lhotse's Shar format, for other trainers."""

from __future__ import annotations

import logging
from pathlib import Path

from lhotse.shar import SharWriter

from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.nnet.data import open_labels
from am.progress import track
from am.storage import RaggedStore, check_store

log = logging.getLogger(__name__)

PDF_IDS = "soft_label_pdf_ids"
LOGITS = "soft_label_logits"
FRAME_SHIFT = "soft_label_frame_shift"


def write_shar(data: Path, store: Path, output: Path, cuts_per_shard: int) -> None:
    """Write the cuts that have soft labels, with features and labels, as Shar.

    A cut has the custom fields ``soft_label_pdf_ids`` (T', k) uint16 and ``soft_label_logits``
    (T', k) float32, highest first, and ``soft_label_frame_shift`` in seconds.  They are lhotse's
    ``Array``: its ``TemporalArray`` rounds a cut's duration to frames, and would lose the last of
    the ceil(T / 3).

    Args:
        data: feature data folder, LFBE.
        store: its soft labels.
        output: the folder of tar files to write.
        cuts_per_shard: cuts in one tar file.

    Raises:
        InputError: the store holds something else, is damaged, or has none of the cuts.
    """
    description = RaggedStore(store).description
    labels = open_labels(
        store, "soft labels", description.get("num_pdfs", 0), description["frame_shift"]
    )
    check_store(store)
    fields = {"features": "numpy", PDF_IDS: "numpy", LOGITS: "numpy"}
    written = missing = 0
    output.mkdir(parents=True)
    with SharWriter(output, fields, cuts_per_shard, warn_unused_fields=False) as writer:
        for cut in track(open_feature_data(data), "shar", unit="cut"):
            if cut.id not in labels:
                missing += 1
                continue
            record = labels[cut.id]
            with_labels = cut.attach_tensor(PDF_IDS, record["pdf_ids"])
            with_labels = with_labels.attach_tensor(LOGITS, record["logits"])
            with_labels.custom[FRAME_SHIFT] = labels.frame_shift
            writer.write(with_labels)
            written += 1
    if not written:
        raise InputError(f"{store}: has labels for no cut of {data}; give the labels of this data")
    log.info("%d cuts written; %d without soft labels left out", written, missing)
