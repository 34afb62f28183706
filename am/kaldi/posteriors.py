"""Soft labels, senone labels and a network's posteriors as Kaldi archives."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.special
import torch

from am.alignment import senone_labels
from am.decoding.scorers import NETWORK_FILE
from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.kaldi.archives import MatrixArchiveWriter, compress, open_posteriors
from am.nnet.data import load_features
from am.nnet.network import load_network
from am.progress import track
from am.storage import RaggedStore, Record, check_store

log = logging.getLogger(__name__)

SOFT_LABELS_KIND = "soft labels"
FramePosteriors = list[list[tuple[int, float]]]


def export_posteriors(store_folder: Path, output: Path) -> None:
    """Write labels as Kaldi posteriors, ``post.1.gz``: of each frame (pdf-id, weight) pairs.

    The weights of soft labels are the softmax of the stored logits (natural log), as the students'
    loss has it; a senone label has weight 1.

    Args:
        store_folder: soft labels (``steps/dump_soft_labels.py``) or senone labels
            (``steps/make_senone_labels.py``).
        output: an existing folder.

    Raises:
        InputError: it holds something else, or a shard is damaged.
    """
    store = RaggedStore(store_folder)
    to_posteriors = _converter(store, store_folder)
    check_store(store_folder)
    archive = output / "post.1"
    with open_posteriors(archive) as writer:
        for cut_id in track(sorted(store, key=str.encode), "posteriors", unit="cut"):
            writer.write(cut_id, to_posteriors(store[cut_id]))
    compress(archive)
    (output / "num_jobs").write_text("1\n")
    (output / "frame_shift").write_text(f"{store.frame_shift:g}\n")
    log.info("posteriors of %d cuts, a frame every %g s", len(store), store.frame_shift)


def _converter(store: RaggedStore, folder: Path) -> Callable[[Record], FramePosteriors]:
    if store.kind == SOFT_LABELS_KIND:
        return _of_soft_labels
    if store.kind == senone_labels.KIND:
        return _of_senone_labels
    raise InputError(
        f"{folder}: holds {store.kind}; give soft labels (steps/dump_soft_labels.py) or senone "
        "labels (steps/make_senone_labels.py)"
    )


def _of_soft_labels(record: Record) -> FramePosteriors:
    weights = scipy.special.softmax(record["logits"].astype(np.float32), axis=1).tolist()
    pdf_ids = record["pdf_ids"].tolist()
    return [
        list(zip(pdfs_of_frame, weights_of_frame, strict=True))
        for pdfs_of_frame, weights_of_frame in zip(pdf_ids, weights, strict=True)
    ]


def _of_senone_labels(record: Record) -> FramePosteriors:
    return [[(pdf_id, 1.0)] for pdf_id in record[senone_labels.FIELD].tolist()]


def export_log_posteriors(
    data: Path,
    model: Path,
    output: Path,
    final_output: Path,
    device: torch.device,
    *,
    subtract_priors: bool = False,
) -> None:
    """Write a network's log posteriors as matrices, ``log_posteriors.{ark,scp}``.

    Each is (T', senones) float32, natural log, as Kaldi's ``nnet3-compute`` writes them; with the
    log priors subtracted they are what ``latgen-faster-mapped`` takes.

    Args:
        data: a feature data folder with the network's features.
        model: a network folder.
        output: an existing folder.
        final_output: where it will lie in the end.
        device: where the network runs.
        subtract_priors: whether to write pseudo log-likelihoods.

    Raises:
        InputError: no network, or features that do not fit it.
    """
    if not (model / NETWORK_FILE).is_file():
        raise InputError(f"{model}: holds no {NETWORK_FILE}; give a network folder")
    network = load_network(model, device)
    network.check_features(data, model)
    cuts = open_feature_data(data)
    priors = network.log_priors.numpy() if subtract_priors else np.zeros(network.num_pdfs)
    archive, index = output / "log_posteriors.ark", output / "log_posteriors.scp"
    with MatrixArchiveWriter(archive, index, final_output / archive.name) as writer:
        for cut in track(cuts, "log posteriors", unit="cut"):
            writer.write(cut.id, network.log_posteriors(load_features(cut)).cpu().numpy() - priors)
    (output / "frame_shift").write_text(f"{network.frame_shift:g}\n")
