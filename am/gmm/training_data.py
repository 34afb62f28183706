"""What the passes of GMM training read: normalised MFCC, model input, graphs, the alignment.

All of it lies in flat files that are mapped into memory, utterances in the order of the data
folder, so that a pass reads without parsing and memory does not grow with the corpus::

    mfcc.f32        (frames, C) normalised for the speaker
    input.f32       (frames, D) model input under the present features and speaker transforms
    unadapted.f32   (frames, D) model input without the transforms, where it was asked for
    words.i32       word-ids of all transcripts
    graphs.i32      records of TrainingGraph
    alignment-NNN.i32   (frames,) transition-ids after iteration NNN; 0 where there is none
    index.json      cut ids, speakers, frame and word counts, left-out cuts; written last
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.training_graph import TrainingGraph
from am.alignment.transcripts import Transcripts, log_unknown_words
from am.features.gmm_features import (
    GmmFeatures,
    SpeakerNormalisation,
    fault_of_features,
    speaker_of,
    splice_indices,
)
from am.features.speaker_transforms import SpeakerTransforms
from am.gmm.parts import Arrays
from am.gmm.row_file import RowWriter, open_rows
from am.progress import track

log = logging.getLogger(__name__)

INDEX_NAME = "index.json"
INPUT_NAME = "input.f32"
UNADAPTED_NAME = "unadapted.f32"
GRAPHS_NAME = "graphs.i32"
# Frames that a pass holds at once.
CHUNK_FRAMES = 1 << 16


class TrainingData:
    """Utterances prepared in a scratch folder; see the module's text for the files.

    Attributes:
        cut_ids, speakers: of the utterances.
        num_frames: (utterances,) int64.
        offsets: (utterances + 1,) int64, first frame of each.
        failures: cuts left out, with the reason.
        graph_offsets: (utterances + 1,) int64, first value of each graph's record.
        num_states, min_frames: (utterances,) int64 of the graphs; 0 before there are any.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        index = json.loads((folder / INDEX_NAME).read_text())
        self.cut_ids: list[str] = index["cut_ids"]
        self.speakers: list[str] = index["speakers"]
        self.failures: list[tuple[str, str]] = [tuple(pair) for pair in index["failures"]]
        self.num_frames = np.array(index["num_frames"], dtype=np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.num_frames)])
        self._mfcc_dim: int = index["mfcc_dim"]
        self._word_offsets = np.concatenate([[0], np.cumsum(index["num_words"])]).astype(np.int64)
        self.graph_offsets = np.zeros(1, dtype=np.int64)
        self.num_states = np.zeros(len(self.cut_ids), dtype=np.int64)
        self.min_frames = np.zeros(len(self.cut_ids), dtype=np.int64)

    @property
    def mfcc(self) -> np.ndarray:
        """(frames, C) float32, mapped."""
        return open_rows(self.folder / "mfcc.f32", np.float32, self._mfcc_dim)

    def frames_of(self, utterance: int) -> slice:
        """Where an utterance lies among the frames of all."""
        return slice(int(self.offsets[utterance]), int(self.offsets[utterance + 1]))

    def word_ids(self, utterance: int) -> list[int]:
        """The transcript of an utterance."""
        words = open_rows(self.folder / "words.i32", np.int32)
        first, last = self._word_offsets[utterance : utterance + 2]
        return [int(word) for word in words[first:last]]

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Ranges of whole utterances with about ``CHUNK_FRAMES`` frames each."""
        first = 0
        while first < len(self.cut_ids):
            limit = self.offsets[first] + CHUNK_FRAMES
            last = max(first + 1, int(np.searchsorted(self.offsets, limit, side="right")) - 1)
            yield first, last
            first = last

    def spliced(self, first: int, last: int, context: int) -> np.ndarray:
        """(frames, (2 context + 1) C) of utterances ``first`` to ``last - 1``."""
        rows = splice_indices(self.num_frames[first:last], context)
        mfcc = self.mfcc[self.offsets[first] : self.offsets[last]]
        return mfcc[rows].reshape(len(rows), -1)

    def write_input(
        self,
        features: GmmFeatures,
        transforms: SpeakerTransforms | None = None,
        name: str = INPUT_NAME,
    ) -> np.ndarray:
        """Make the file ``name`` and return it, (frames, D) float32, mapped."""
        path = self.folder / name
        with RowWriter(path, np.float32) as writer:
            for first, last in self.chunks():
                frames = self.spliced(first, last, features.context) @ features.transform.T
                if transforms is not None:
                    self._adapt(frames, first, last, transforms)
                writer.append(frames)
        return open_rows(path, np.float32, features.dim)

    def open_input(self, dim: int) -> np.ndarray:
        """The present model input, (frames, dim) float32, mapped."""
        return open_rows(self.folder / INPUT_NAME, np.float32, dim)

    def _adapt(
        self, frames: np.ndarray, first: int, last: int, transforms: SpeakerTransforms
    ) -> None:
        """Transform the frames of utterances ``first`` to ``last - 1`` in place."""
        offsets = self.offsets[first : last + 1] - self.offsets[first]
        for utterance, start, end in zip(range(first, last), offsets, offsets[1:], strict=False):
            frames[start:end] = transforms.apply(self.speakers[utterance], frames[start:end])

    def keep_graphs(self, parts: Iterable[Arrays]) -> None:
        """Write the training graphs of all utterances, a part of them at a time.

        Args:
            parts: the graphs' ``records``, one after the other, and by graph ``sizes`` (of its
                record), ``num_states`` and ``min_frames``.
        """
        facts: list[list[np.ndarray]] = []
        with RowWriter(self.folder / GRAPHS_NAME, np.int32) as writer:
            for part in parts:
                writer.append(part["records"])
                facts.append([part[name] for name in ("sizes", "num_states", "min_frames")])
        sizes, self.num_states, self.min_frames = map(np.concatenate, zip(*facts, strict=True))
        self.graph_offsets = np.concatenate([[0], np.cumsum(sizes)])

    def graphs(self) -> Iterator[TrainingGraph]:
        """Of all utterances."""
        records = open_rows(self.folder / GRAPHS_NAME, np.int32)
        for first, last in itertools.pairwise(self.graph_offsets):
            yield TrainingGraph.from_record(np.asarray(records[first:last]))

    def alignment_path(self, iteration: int) -> Path:
        """Where the alignment made in an iteration lies."""
        return self.folder / f"alignment-{iteration:03d}.i32"

    @contextmanager
    def new_alignment(self, iteration: int) -> Iterator[np.ndarray]:
        """(frames,) int32 zeros on disk, mapped, to be filled; in its place after the block."""
        path = self.alignment_path(iteration)
        aside = path.with_suffix(".unfinished")
        rows = np.memmap(aside, dtype=np.int32, mode="w+", shape=(int(self.offsets[-1]),))
        yield rows
        rows.flush()
        aside.replace(path)

    def open_alignment(self, iteration: int) -> np.ndarray:
        """The alignment of an earlier iteration, mapped."""
        return open_rows(self.alignment_path(iteration), np.int32)


def prepare_training_data(
    cuts: Iterable[Any],
    transcripts: Transcripts,
    folder: Path,
    normalise_variance: bool,
    alignments: AlignmentFolder | None = None,
) -> TrainingData:
    """Read the cuts once and prepare ``folder``, unless a killed run had finished that.

    Args:
        cuts: lhotse cuts with MFCC and transcripts.
        transcripts: turns them into word-ids.
        folder: scratch, made if missing.
        normalise_variance: see :class:`GmmFeatures`.
        alignments: cuts without one are left out.
    """
    if (folder / INDEX_NAME).is_file():
        return TrainingData(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cut_ids, speakers, num_words, failures = [], [], [], []
    num_frames: list[int] = []
    normalisation = SpeakerNormalisation()
    mfcc = np.zeros((0, 0), dtype=np.float32)
    with (
        RowWriter(folder / "mfcc.f32", np.float32) as frames,
        RowWriter(folder / "words.i32", np.int32) as words,
    ):
        for cut in track(cuts, "reading MFCC", unit="cut"):
            word_ids = transcripts.word_ids(cut)
            mfcc = cut.load_features()
            normalisation.add(speaker_of(cut), mfcc)
            reason = _why_left_out(cut.id, word_ids, mfcc, alignments)
            if reason:
                failures.append((cut.id, reason))
                continue
            frames.append(mfcc)
            words.append(np.array(word_ids))
            cut_ids.append(cut.id)
            speakers.append(speaker_of(cut))
            num_frames.append(len(mfcc))
            num_words.append(len(word_ids))
    _normalise(
        folder / "mfcc.f32", mfcc.shape[1], speakers, num_frames, normalisation, normalise_variance
    )
    index = {
        "mfcc_dim": mfcc.shape[1],
        "cut_ids": cut_ids,
        "speakers": speakers,
        "num_frames": num_frames,
        "num_words": num_words,
        "failures": failures,
    }
    (folder / INDEX_NAME).write_text(json.dumps(index))
    log_unknown_words(transcripts.unknown_words)
    return TrainingData(folder)


def _why_left_out(
    cut_id: str, word_ids: list[int], mfcc: np.ndarray, alignments: AlignmentFolder | None
) -> str | None:
    if not word_ids:
        return "no transcript"
    if fault := fault_of_features(mfcc):
        return fault
    if alignments is None:
        return None
    if cut_id not in alignments:
        return "no alignment"
    aligned = alignments.store.num_frames(cut_id)
    if aligned != len(mfcc):
        return f"alignment of {aligned} frames, features of {len(mfcc)}"
    return None


def _normalise(
    path: Path,
    mfcc_dim: int,
    speakers: list[str],
    num_frames: list[int],
    normalisation: SpeakerNormalisation,
    normalise_variance: bool,
) -> None:
    rows = open_rows(path, np.float32, mfcc_dim, mode="r+")
    first = 0
    for speaker, count in zip(speakers, num_frames, strict=True):
        utterance = slice(first, first + count)
        rows[utterance] = normalisation.apply(speaker, rows[utterance], normalise_variance)
        first += count
