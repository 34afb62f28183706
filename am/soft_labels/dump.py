"""Soft labels: a teacher's k highest logits, or all, for every frame of unlabelled data, in shards.

The cuts are dealt into shards in the manifest's order; a shard of sharded data (:mod:`am.shar`)
makes one.  A shard is written aside, renamed, and
only then described with its checksum, so that a killed dump goes on at the first unfinished shard
and a damaged shard is made again alone.

A stored logit is a log posterior (natural log): a logit less the logsumexp of all, by which the
left-out senones' share is known.  How they are stored: :mod:`am.soft_labels.codec`, and where all
are, :mod:`am.soft_labels.dense_codec`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lhotse import CutSet, MonoCut
from torch import Tensor

from am import outputs
from am.coded_shards import Codec
from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import CUTS_NAME, open_feature_data
from am.nnet.data import load_features
from am.nnet.network import WEIGHTS_NAME, LoadedNetwork
from am.processes import ONE_PROCESS
from am.shar.index import CUTS_FIELD, SHARDS_NAME, is_shar
from am.shar.read import SharData
from am.shards import make_shards
from am.soft_labels.codec import MAX_TOP_K, SoftLabelCodec
from am.soft_labels.dense_codec import DenseSoftLabelCodec
from am.soft_labels.ensemble import Ensemble
from am.soft_labels.quantisation import DEFAULT_LOGIT_STEP, MAX_PDFS
from am.storage import STORE_NAME, shard_fault, shard_paths, write_shard, write_store_description

log = logging.getLogger(__name__)

Record = tuple[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class DumpSettings:
    """What is stored, and how it is computed.

    Attributes:
        top_k: logits a frame, or ``all``.
        temperature: what the teacher's logits are divided by; above 1 makes flatter labels.
        logit_step: of the stored logits, which are off by half of it at most.
        cuts_per_shard: cuts in one shard; sharded data have shards of their own.
        batch_seconds: speech in one forward pass.
    """

    top_k: int | Literal["all"] = 20
    temperature: float = 1.0
    logit_step: float = DEFAULT_LOGIT_STEP
    cuts_per_shard: int = 500
    batch_seconds: float = 200.0

    def codec(self, num_pdfs: int) -> Codec:
        """What encodes the shards of a teacher of ``num_pdfs`` senones."""
        if self.top_k == "all":
            return DenseSoftLabelCodec(num_pdfs, self.logit_step)
        return SoftLabelCodec(self.top_k, self.logit_step)


def dump_soft_labels(
    unlabeled: Path,
    model: Path,
    output: Path,
    settings: DumpSettings,
    executor: Executor = ONE_PROCESS,
    device: str = "auto",
    other_models: Sequence[Path] = (),
) -> None:
    """Write the soft labels of a feature data folder; shards that are whole are kept.

    Args:
        unlabeled: feature data folder with the teacher's features, or the same as shards, each of
            which makes a shard of the store.
        model: network folder of the teacher.
        output: the store to write (:class:`am.storage.RaggedStore`, kind ``soft labels``), with
            ``pdf_ids`` (T', k) uint16 and ``logits`` (T', k) float32, highest first; where all are
            stored, in the order of the pdf-ids.
        settings: what is stored.
        executor: what makes the shards.
        device: auto, cpu, cuda or cuda:N.
        other_models: more teachers of the same senones, whose logits are averaged with the first
            one's (:mod:`am.soft_labels.ensemble`).

    Raises:
        InputError: features, settings or other teachers that do not fit the network, or shards
            that failed.
    """
    models = (model, *other_models)
    network = Ensemble.load(models, "cpu").networks[0]
    _check_inputs(network, unlabeled, model, settings)
    manifests = _split(unlabeled, output, settings.cuts_per_shard)
    missing = _missing_shards(output, len(manifests))
    log.info("%d shards, %d to do", len(manifests), len(missing))
    write_store_description(
        output,
        {
            "kind": "soft labels",
            "frame_shift": network.frame_shift,
            "fields": ["pdf_ids", "logits"],
            "num_shards": len(manifests),
            "codec": settings.codec(network.num_pdfs).describe(),
            "temperature": settings.temperature,
            "num_pdfs": network.num_pdfs,
            "tree_sha256": network.tree_sha256,
            "model_sha256": outputs.sha256_of_file(model / WEIGHTS_NAME),
            "other_models_sha256": [
                outputs.sha256_of_file(other / WEIGHTS_NAME) for other in other_models
            ],
        },
    )
    make_shards(
        _make_shard,
        partial(_State.make, unlabeled, models, output, settings, device),
        [(shard_paths(output, index)[0].stem, (index, manifests[index])) for index in missing],
        len(missing),
        executor,
        output,
        description="soft labels",
        share_state=False,
        several_threads=True,
    )
    shutil.rmtree(output / "cuts", ignore_errors=True)


def damaged_shards(store: Path) -> list[str]:
    """The faults of a store's shards, one line each; empty when all are whole."""
    description = store / STORE_NAME
    if not description.is_file():
        return []
    faults = []
    for index in range(json.loads(description.read_text())["num_shards"]):
        fault = shard_fault(store, index)
        if fault:
            faults.append(f"{shard_paths(store, index)[0]}: {fault}")
    return faults


def reopen_damaged_store(store: Path) -> None:
    """Make a finished store with damaged shards an unfinished one, so that they are made again."""
    faults = damaged_shards(store)
    marker = outputs.done_path(store)
    if not faults or not marker.is_file():
        return
    for fault in faults:
        log.warning("%s; it is made again", fault)
    partial = outputs.partial_path(store)
    shutil.rmtree(partial, ignore_errors=True)
    (store / "started.json").write_text(json.dumps(json.loads(marker.read_text())["fingerprint"]))
    marker.unlink()
    store.replace(partial)


@dataclass(frozen=True)
class _State:
    """What a worker needs to make shards."""

    shards: SharData | None
    teachers: Ensemble
    output: Path
    settings: DumpSettings

    @classmethod
    def make(
        cls,
        unlabeled: Path,
        models: tuple[Path, ...],
        output: Path,
        settings: DumpSettings,
        device: str,
    ) -> _State:
        shards = SharData(unlabeled) if is_shar(unlabeled) else None
        return cls(shards, Ensemble.load(models, device), output, settings)


def _make_shard(state: _State, shard: tuple[int, Path]) -> None:
    index, manifest = shard
    if state.shards is not None:
        cuts = state.shards.read_shard(index)
    else:
        cuts = list(CutSet.from_jsonl_lazy(manifest))
    records = soft_labels_of(cuts, state.teachers, state.settings)
    codec = state.settings.codec(state.teachers.networks[0].num_pdfs)
    write_shard(state.output, index, records, codec)


def soft_labels_of(
    cuts: Sequence[MonoCut], teacher: LoadedNetwork | Ensemble, settings: DumpSettings
) -> list[Record]:
    """(cut id, fields) of each cut, in the given order; computed in batches of similar length.

    Raises:
        InputError: unreadable features, or a network whose outputs are not finite.
    """
    records: dict[str, dict[str, np.ndarray]] = {}
    for batch in batches_by_length(cuts, settings.batch_seconds):
        features = [torch.from_numpy(load_features(cut)) for cut in batch]
        for cut, log_posteriors in zip(batch, teacher.batch_log_posteriors(features), strict=True):
            records[cut.id] = _record(cut.id, log_posteriors, settings)
    return [(cut.id, records[cut.id]) for cut in cuts]


def _record(cut_id: str, log_posteriors: Tensor, settings: DumpSettings) -> dict[str, np.ndarray]:
    if settings.temperature != 1:
        log_posteriors = (log_posteriors / settings.temperature).log_softmax(-1)
    if settings.top_k == "all":
        logits = log_posteriors.cpu().numpy()
        pdf_ids = np.broadcast_to(np.arange(logits.shape[1]), logits.shape)
    else:
        logits, pdf_ids = _highest(log_posteriors, settings.top_k)
    if not np.isfinite(logits).all():
        raise InputError(
            f"cut {cut_id}: the teacher's outputs are not finite; look into this cut's features "
            "or train the teacher again"
        )
    return {"pdf_ids": pdf_ids.astype(np.uint16), "logits": logits.astype(np.float32)}


def _highest(values: Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, count) the highest of each row, highest first, and their columns."""
    if values.device.type != "cpu":
        highest, columns = (tensor.cpu().numpy() for tensor in values.topk(count, dim=-1))
        return highest, columns
    # On a CPU torch's topk takes twice as long.
    rows = values.numpy()
    columns = np.argpartition(rows, rows.shape[1] - count, axis=1)[:, -count:]
    highest = np.take_along_axis(rows, columns, axis=1)
    order = np.argsort(-highest, axis=1)
    return np.take_along_axis(highest, order, axis=1), np.take_along_axis(columns, order, axis=1)


def batches_by_length(cuts: Sequence[MonoCut], max_seconds: float) -> Iterator[list[MonoCut]]:
    """The cuts from short to long, in batches whose padded length is at most ``max_seconds``."""
    batch: list[MonoCut] = []
    for cut in sorted(cuts, key=lambda cut: (cut.num_frames, cut.id)):
        if batch and (len(batch) + 1) * cut.duration > max_seconds:
            yield batch
            batch = []
        batch.append(cut)
    if batch:
        yield batch


def _check_inputs(
    network: LoadedNetwork, unlabeled: Path, model: Path, settings: DumpSettings
) -> None:
    open_feature_data(unlabeled)
    network.check_features(unlabeled, model)
    largest = min(network.num_pdfs, MAX_TOP_K)
    if settings.top_k != "all" and not 1 <= settings.top_k <= largest:
        raise InputError(
            f"--top-k {settings.top_k}: {model} has {network.num_pdfs} senones; choose 1 to "
            f"{largest}, or all"
        )
    if not 0 < settings.temperature < float("inf"):
        raise InputError(f"--temperature {settings.temperature}: must be above 0")
    if not 0 < settings.logit_step < float("inf"):
        raise InputError(f"--logit-step {settings.logit_step}: must be above 0")
    if network.num_pdfs > MAX_PDFS:
        raise InputError(f"{model}: soft labels are stored for at most {MAX_PDFS} senones")


def _split(unlabeled: Path, output: Path, cuts_per_shard: int) -> list[Path]:
    """The manifests of the shards to make."""
    if is_shar(unlabeled):
        shards = SharData(unlabeled).shards
        return [unlabeled / SHARDS_NAME / shard.file_name(CUTS_FIELD) for shard in shards]
    folder = output / "cuts"
    if not (folder / "split").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        CutSet.from_jsonl_lazy(unlabeled / CUTS_NAME).split_lazy(folder, cuts_per_shard, "cuts")
        (folder / "split").touch()
    return sorted(folder.glob("cuts.*.jsonl.gz"))


def _missing_shards(output: Path, num_shards: int) -> list[int]:
    missing = []
    for index in range(num_shards):
        fault = shard_fault(output, index)
        if fault:
            missing.append(index)
        if fault and fault != "unfinished":
            log.warning("%s: %s; it is made again", shard_paths(output, index)[0], fault)
    return missing
