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

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from lhotse import MonoCut

from am.coded_shards import Codec, codec_of
from am.errors import InputError
from am.features.feature_data import one_line_reason
from am.features.low_frame_rate import num_low_rate_frames
from am.shar.index import INDEX_NAME, SharIndex
from am.storage import RaggedStore

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
            InputError: it has another number of frames than its features, or is damaged.
        """
        expected = num_low_rate_frames(num_frames)
        if self.store.num_frames(cut_id) != expected:
            raise InputError(
                f"{self.store.folder}: cut {cut_id}: {self.store.num_frames(cut_id)} labels, but "
                f"its {num_frames} frames need {expected}; make both from the same cuts"
            )
        record = self.store[cut_id]
        if self.store.kind == "pdf-ids":
            return {PDF_IDS: record["pdf_ids"].astype(np.int32)}
        if self._codec is not None:
            return {CODED: np.frombuffer(self._codec.encode(record), np.uint8)}
        return {
            SOFT_PDF_IDS: np.ascontiguousarray(record["pdf_ids"]),
            SOFT_LOGITS: record["logits"],
        }


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


def codec_in(index: SharIndex, folder: Path) -> Codec | None:
    """The codec of the soft labels in the shards; None where they are plain arrays, or absent."""
    if CODED not in index.fields:
        return None
    return codec_of(index.labels["soft labels"], folder / INDEX_NAME)


def check_has_labels(index: SharIndex, folder: Path, kind: str) -> None:
    """Raise an InputError unless the shards hold labels of this kind."""
    if kind not in index.labels:
        option = "--labels" if kind == "pdf-ids" else "--soft-labels"
        raise InputError(
            f"{folder / INDEX_NAME}: its shards hold no {kind}; make them again with "
            f"utils/to_shar.py {option}"
        )
