"""Viterbi beam search with k2 over a batch of utterances, on CPU or GPU.

Scores are (frames, num_pdfs) float32 pseudo log-likelihoods, natural log, higher is better; the
search adds acoustic scale × score to the graph's log-probabilities, as
:mod:`am.decoding.decoder` does with kaldi-decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from am.decoding.decoder import BestPath, Scales, SearchSettings
from am.decoding.graph import DecodingGraph, add_word_insertion_penalty
from am.errors import InputError
from am.graph.arrays import from_fst
from am.k2.engine import Fsa, check_device, load_k2
from am.k2.graph import emitting_graph
from am.k2.lattices import Lattices, arc_offsets, best_paths
from am.storage import Record


@dataclass(frozen=True)
class K2Settings:
    """What k2's search takes beside :class:`am.decoding.decoder.SearchSettings`.

    Attributes:
        batch_cuts: cuts that are decoded together.
        lattice_beam: paths worse than the best one by more than this are left out of lattices.
        keep_lattices: whether lattices are kept beside the best paths.
    """

    batch_cuts: int = 16
    lattice_beam: float = 8.0
    keep_lattices: bool = False

    def __post_init__(self) -> None:
        if self.batch_cuts < 1:
            raise InputError(f"k2: batch_cuts {self.batch_cuts}: give at least 1")
        if not self.lattice_beam > 0:
            raise InputError(f"k2: lattice_beam {self.lattice_beam}: give a number above 0")


class BatchDecoder:
    """A graph with its penalty paid, ready to decode one batch after the other.

    Args:
        graph: HCLG.
        scales: of acoustics and words.
        search: how far it looks; k2 keeps to the numbers of tokens roughly, not exactly.
        settings: of k2.
        device: where the search runs.
    """

    def __init__(
        self,
        graph: DecodingGraph,
        scales: Scales,
        search: SearchSettings,
        settings: K2Settings,
        device: torch.device,
    ):
        check_device(device)
        paid = add_word_insertion_penalty(graph.fst, scales.word_insertion_penalty)
        self._graph = emitting_graph(from_fst(paid))
        self._num_pdfs = graph.num_pdfs
        self._acoustic_scale = scales.acoustic_scale
        self._search = search
        self._settings = settings
        self._device = device

    def decode_batch(self, scores: Sequence[np.ndarray]) -> list[BestPath | None]:
        """The best path for each utterance's scores; None where there is none.

        Where no path ends in a final state, the best unfinished one is taken.

        Raises:
            InputError: scores of another number of senones than the graph's.
        """
        paths: list[BestPath | None] = [None] * len(scores)
        for places, lattices, is_final in self._searches(scores):
            for place, path in zip(places, best_paths(lattices, is_final), strict=True):
                paths[place] = path
        return paths

    def lattices_of_batch(
        self, scores: Sequence[np.ndarray]
    ) -> tuple[list[BestPath | None], list[Record | None]]:
        """What :meth:`decode_batch` gives, and the lattices' records (:mod:`am.k2.lattices`)."""
        paths: list[BestPath | None] = [None] * len(scores)
        records: list[Record | None] = [None] * len(scores)
        for places, lattices, is_final in self._searches(scores):
            found = zip(
                places,
                best_paths(lattices, is_final),
                lattices.to_records(self._acoustic_scale),
                strict=True,
            )
            for place, path, record in found:
                paths[place], records[place] = path, record
        return paths, records

    def lattices(self, scores: Sequence[np.ndarray]) -> Lattices:
        """The lattice of each utterance, of at least one frame; empty where no path ends.

        Raises:
            InputError: scores of another number of senones than the graph's.
        """
        return self._lattices(scores, self._fsa)

    def _searches(self, scores: Sequence[np.ndarray]) -> Iterator[tuple[list[int], Lattices, bool]]:
        """Utterances' places and lattices, and whether these end in final states."""
        places = [place for place, matrix in enumerate(scores) if len(matrix)]
        if not places:
            return
        lattices = self._lattices([scores[place] for place in places], self._fsa)
        yield places, lattices, True
        is_empty = np.diff(arc_offsets(lattices.fsas)) == 0
        again = [place for place, empty in zip(places, is_empty, strict=True) if empty]
        if again:
            unfinished = [scores[place] for place in again]
            yield again, self._lattices(unfinished, self._unfinished_fsa), False

    def _lattices(self, scores: Sequence[np.ndarray], graph: Fsa) -> Lattices:
        fsas = load_k2().intersect_dense_pruned(
            graph,
            dense_fsa_vec(scores, self._num_pdfs, self._acoustic_scale, self._device),
            search_beam=self._search.beam,
            output_beam=self._settings.lattice_beam,
            min_active_states=self._search.min_active,
            max_active_states=self._search.max_active,
        )
        return Lattices(fsas, self._graph.word_sequences)

    @cached_property
    def _fsa(self) -> Fsa:
        return self._graph.to_k2(self._device)

    @cached_property
    def _unfinished_fsa(self) -> Fsa:
        return self._graph.to_k2(self._device, ends="any")


def dense_fsa_vec(
    scores: Sequence[np.ndarray], num_pdfs: int, acoustic_scale: float, device: torch.device
) -> Fsa:
    """Scores of utterances as a ``k2.DenseFsaVec`` whose label is pdf-id + 1.

    Args:
        scores: (frames, num_pdfs) of each, at least one frame.
        num_pdfs: senones of the graph that it will be intersected with.
        acoustic_scale: factor of the scores.
        device: where it lies.

    Raises:
        InputError: the scores are of another number of senones; k2 itself would read past them.
    """
    for matrix in scores:
        if matrix.shape[1] != num_pdfs:
            raise InputError(
                f"the decoding graph: made for {num_pdfs} senones, but the network's outputs are "
                f"{matrix.shape[1]}; make the graph with the network's tree"
            )
    frames = [len(matrix) for matrix in scores]
    # Label 0 is on no arc of the graph.
    padded = torch.zeros(len(scores), max(frames), num_pdfs + 1)
    for row, matrix in zip(padded, scores, strict=True):
        row[: len(matrix), 1:] = torch.from_numpy(np.ascontiguousarray(matrix))
    segments = torch.tensor([[row, 0, length] for row, length in enumerate(frames)])
    return load_k2().DenseFsaVec(padded.to(device) * acoustic_scale, segments.int())
