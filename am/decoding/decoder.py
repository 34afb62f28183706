"""Viterbi beam search with kaldi-decoder.

Scores are (frames, num_pdfs) float32 pseudo log-likelihoods, higher is better; the search adds
acoustic scale × score to the graph's log-probabilities.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import kaldi_decoder
import kaldifst
import numpy as np

from am.config import settings_from_mapping
from am.decoding.graph import DecodingGraph, add_word_insertion_penalty
from am.errors import InputError


@dataclass(frozen=True)
class Scales:
    """How acoustics, graph and number of words are weighed against each other.

    Attributes:
        acoustic_scale: factor of the pseudo log-likelihoods; the graph's costs have factor 1.
        word_insertion_penalty: cost of each word (natural log); positive means fewer words.
    """

    acoustic_scale: float
    word_insertion_penalty: float = 0.0

    def __post_init__(self) -> None:
        if not (self.acoustic_scale > 0 and np.isfinite(self.acoustic_scale)):
            raise InputError(f"acoustic scale {self.acoustic_scale}: give a number above 0")
        if not np.isfinite(self.word_insertion_penalty):
            raise InputError(
                f"word insertion penalty {self.word_insertion_penalty}: give a finite number"
            )

    @staticmethod
    def load(path: Path) -> Scales:
        """Read the ``best_scale.json`` of ``steps/search_scales.py``."""
        if not path.is_file():
            raise InputError(f"{path}: no such file; run steps/search_scales.py")
        try:
            values = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: not valid JSON ({error}); run the search again") from error
        own = {key: values[key] for key in asdict(Scales(1.0)) if key in values}
        return settings_from_mapping(Scales, own, str(path))


@dataclass(frozen=True)
class SearchSettings:
    """How far the search looks.

    Attributes:
        beam: tokens costlier than the best one by more than this are dropped.
        max_active, min_active: tokens a frame, at most and at least (where the beam leaves more
            or fewer).
    """

    beam: float = 13.0
    max_active: int = 2000
    min_active: int = 200

    def __post_init__(self) -> None:
        if not self.beam > 0:
            raise InputError(f"search: beam {self.beam}: give a number above 0")
        if not 0 <= self.min_active < self.max_active:
            raise InputError(
                f"search: max_active {self.max_active} must be above min_active {self.min_active}"
            )


@dataclass(frozen=True)
class BestPath:
    """The best way through the graph.

    Attributes:
        word_ids: its output labels.
        pdf_ids: (frames,) int32, its input labels less 1.
        cost: graph cost + scaled acoustic cost, lower is better.
        reached_final: False if no token ended in a final state; the best token was taken then.
    """

    word_ids: list[int]
    pdf_ids: np.ndarray
    cost: float
    reached_final: bool


class Decoder:
    """A graph with its penalty paid, ready to decode one utterance after the other."""

    def __init__(self, graph: DecodingGraph, scales: Scales, settings: SearchSettings):
        self._acoustic_scale = np.float32(scales.acoustic_scale)
        # FasterDecoder does not own its graph.
        self._fst = add_word_insertion_penalty(graph.fst, scales.word_insertion_penalty)
        self._decoder = kaldi_decoder.FasterDecoder(
            self._fst,
            kaldi_decoder.FasterDecoderOptions(
                beam=settings.beam,
                max_active=settings.max_active,
                min_active=settings.min_active,
            ),
        )

    def decode_batch(self, scores: Sequence[np.ndarray]) -> list[BestPath | None]:
        """The best path for each utterance's scores, one after the other."""
        return [self.decode(matrix) for matrix in scores]

    def decode(self, scores: np.ndarray) -> BestPath | None:
        """The best path for ``scores`` (frames, num_pdfs); None if there is none."""
        if len(scores) == 0:
            return None
        self._decoder.decode(scaled_decodable(scores, self._acoustic_scale))
        found, lattice = self._decoder.get_best_path()
        if not found:
            return None
        linear, labels, word_ids, weight = kaldifst.get_linear_symbol_sequence(lattice)
        if not linear:
            return None
        cost = float(weight.value1 + weight.value2)
        pdf_ids = np.array(labels, dtype=np.int32) - 1
        return BestPath(list(word_ids), pdf_ids, cost, self._decoder.reached_final())


def scaled_decodable(scores: np.ndarray, acoustic_scale: float) -> kaldi_decoder.DecodableCtc:
    """What kaldi-decoder reads scores from: input label = column + 1."""
    scaled = np.ascontiguousarray(scores, dtype=np.float32) * np.float32(acoustic_scale)
    return kaldi_decoder.DecodableCtc(scaled)


def fault_of_scores(scores: np.ndarray) -> str | None:
    """Why the scores of an utterance cannot be decoded, or None."""
    if len(scores) == 0:
        return "no frames"
    if not np.isfinite(scores).all():
        return "scores that are not finite"
    return None
