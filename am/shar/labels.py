"""Labels in shards: as arrays that any reader of Shar understands, or soft ones coded.

Fields of a cut, all lhotse's ``Array`` (its ``TemporalArray`` rounds a cut's duration to frames,
and would lose the last of the ceil(T / 3)):

==========================  ======================================================================
``pdf_ids``                 (T',) int32 hard labels
``soft_labels``             (bytes,) uint8: a block of the store's codec (:mod:`am.soft_labels`)
``soft_label_pdf_ids``      (T', k) uint16, highest first } in place of ``soft_labels``, for other
``soft_label_logits``       (T', k) float32               } readers
==========================  ======================================================================

``label_frame_shift`` beside them is in seconds.

Shapes: T' frames at the low frame rate, k stored logits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from lhotse import MonoCut

from am.coded_shards import Codec, codec_of
from am.errors import InputError
from am.features.feature_data import one_line_reason
from am.features.low_frame_rate import num_low_rate_frames
from am.nnet.data import Labels
from am.shar.index import INDEX_NAME
from am.shar.read import SharData
from am.storage import MEND as STORE_MEND
from am.storage import RaggedStore, shard_fault, shard_paths

PDF_IDS = "pdf_ids"
CODED = "soft_labels"
SOFT_PDF_IDS, SOFT_LOGITS = "soft_label_pdf_ids", "soft_label_logits"
FRAME_SHIFT = "label_frame_shift"
SoftLabelForm = Literal["coded", "plain"]


class LabelWriter:
    """Turns the records of a store into fields of cuts.

    Args:
        store: hard or soft labels.
        form: of soft ones.
    """

    def __init__(self, store: RaggedStore, form: SoftLabelForm):
        self.store = store
        self._codec = codec_of(store.description, store.folder) if form == "coded" else None
        if store.kind == "pdf-ids":
            self.fields: tuple[str, ...] = (PDF_IDS,)
        else:
            self.fields = (CODED,) if self._codec else (SOFT_PDF_IDS, SOFT_LOGITS)

    def arrays(self, cut_id: str, num_frames: int) -> dict[str, np.ndarray]:
        """Field → array of a cut of ``num_frames`` (10 ms) that the store has.

        Raises:
            InputError: it has another number of frames than its features, a label that is no
                pdf-id, or is damaged.
        """
        expected = num_low_rate_frames(num_frames)
        if self.store.num_frames(cut_id) != expected:
            raise InputError(
                f"{self.store.folder}: cut {cut_id}: {self.store.num_frames(cut_id)} labels, but "
                f"its {num_frames} frames need {expected}; make both from the same cuts"
            )
        record = self.store[cut_id]
        if self.store.kind == "pdf-ids":
            self._check_range(cut_id, record["pdf_ids"])
            return {PDF_IDS: record["pdf_ids"].astype(np.int32)}
        if self._codec is not None:
            return {CODED: np.frombuffer(self._codec.encode(record), np.uint8)}
        return {
            SOFT_PDF_IDS: np.ascontiguousarray(record["pdf_ids"]),
            SOFT_LOGITS: record["logits"],
        }

    def _check_range(self, cut_id: str, pdf_ids: np.ndarray) -> None:
        last = self.store.description["num_pdfs"] - 1
        if len(pdf_ids) and not 0 <= pdf_ids.min() <= pdf_ids.max() <= last:
            raise InputError(
                f"{self.store.folder}: cut {cut_id}: a label outside 0 … {last}; make the labels "
                "again with their senone folder"
            )


class CutLabels(Mapping[str, dict[str, np.ndarray]]):
    """The labels in some cuts, by cut id; as a :class:`am.storage.RaggedStore` has them.

    Args:
        cuts: of a shard, with their data in memory.
        kind: ``pdf-ids`` or ``soft labels``.
        codec: of coded soft labels.
    """

    def __init__(self, cuts: Iterable[MonoCut], kind: str, codec: Codec | None):
        self._cuts = {cut.id: cut for cut in cuts}
        self._kind = kind
        self._codec = codec

    def __getitem__(self, cut_id: str) -> dict[str, np.ndarray]:
        cut = self._cuts[cut_id]
        try:
            if self._kind == "pdf-ids":
                return {"pdf_ids": cut.load_custom(PDF_IDS)}
            if self._codec is None:
                return {
                    "pdf_ids": cut.load_custom(SOFT_PDF_IDS),
                    "logits": cut.load_custom(SOFT_LOGITS),
                }
            num_frames = num_low_rate_frames(int(cut.num_frames))
            return self._codec.decode(cut.load_custom(CODED).tobytes(), num_frames)
        except (ValueError, AttributeError) as error:
            raise InputError(f"cut {cut_id}: {self._kind}: {one_line_reason(error)}") from error

    def __len__(self) -> int:
        return len(self._cuts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._cuts)


class ShardLabels(Protocol):
    """Labels that are read along with the shards."""

    def of(self, position: int, cuts: Sequence[MonoCut]) -> Labels:
        """Those of the cuts of the shard at a position of the index."""


class LabelsInShards:
    """Labels that the shards hold.

    Args:
        data: the shards.
        kind: ``pdf-ids`` or ``soft labels``.

    Raises:
        InputError: the shards hold none of this kind.
    """

    def __init__(self, data: SharData, kind: str):
        path = data.folder / INDEX_NAME
        if kind not in data.facts.labels:
            option = "--labels" if kind == "pdf-ids" else "--soft-labels"
            raise InputError(
                f"{path}: its shards hold no {kind}; make them again with utils/to_shar.py {option}"
            )
        self._kind = kind
        self._codec = None
        if CODED in data.facts.fields:
            self._codec = codec_of(data.facts.labels["soft labels"], path)

    def of(self, position: int, cuts: Sequence[MonoCut]) -> Labels:
        """Those of the cuts of the shard at a position of the index."""
        return CutLabels(cuts, self._kind, self._codec)


class LabelsBesideShards:
    """Labels in a store whose shards hold the cuts of the data's, one for one.

    Args:
        store: steps/dump_soft_labels.py wrote it from the same data.
    """

    def __init__(self, store: Path):
        self._store = store

    def of(self, position: int, cuts: Sequence[MonoCut]) -> Labels:
        """Those of the cuts of the shard at a position of the index."""
        path = shard_paths(self._store, position)[0]
        fault = shard_fault(self._store, position)
        if fault:
            raise InputError(f"{path}: {fault}; {STORE_MEND}")
        labels = RaggedStore(self._store, [position])
        for cut in cuts:
            expected = num_low_rate_frames(int(cut.num_frames))
            if cut.id not in labels or labels.num_frames(cut.id) != expected:
                raise InputError(
                    f"{path}: not the labels of the same shard, cut {cut.id} is not there or has "
                    "another length; make them again from these shards"
                )
        return labels
