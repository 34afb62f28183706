"""Lattices of k2 in memory and as records, and the best paths through them.

A record is arrays of one length, an entry an arc: ``source`` and ``target`` states, ``label``
(pdf-id + 1, −1 into the last state), ``words`` (word-ids, padded with 0), ``graph_score`` and
``acoustic_score`` (natural logs, higher is better; acoustics unscaled).  Arcs are sorted by
source; every arc but the last of a path takes a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from am.decoding.decoder import BestPath
from am.k2.engine import Fsa, load_k2
from am.storage import Record


@dataclass(frozen=True)
class Lattices:
    """The lattices of a batch.

    Attributes:
        fsas: a ``k2.Fsa`` vector ``[utterance][state][arc]``.  Labels are pdf-id + 1, the scores
            graph and scaled acoustics together; its attributes are ``words``, places in
            ``word_sequences``, and ``graph_score``.
        word_sequences: word-ids by place; the first is empty.
    """

    fsas: Fsa
    word_sequences: tuple[tuple[int, ...], ...]

    def word_ids(self, words: np.ndarray) -> list[int]:
        """The word-ids of the arcs of a path, given their places in ``word_sequences``."""
        return [word for place in words[words > 0].tolist() for word in self.word_sequences[place]]

    def to_records(self, acoustic_scale: float) -> list[Record | None]:
        """The record of each lattice; None where it is empty.

        Args:
            acoustic_scale: the factor of the acoustics in the scores.
        """
        width = max(1, *(len(words) for words in self.word_sequences))
        table = np.array([[*words, *[0] * (width - len(words))] for words in self.word_sequences])
        arcs = self.fsas.arcs.values()[:, :3].cpu().numpy()
        words = table[self.fsas.words.cpu().numpy()].astype(np.int32)
        graph = self.fsas.graph_score.cpu().numpy()
        acoustic = (self.fsas.scores.detach().cpu().numpy() - graph) / np.float32(acoustic_scale)
        records: list[Record | None] = []
        for first, end in pairwise(arc_offsets(self.fsas).tolist()):
            record = {
                "source": arcs[first:end, 0],
                "target": arcs[first:end, 1],
                "label": arcs[first:end, 2],
                "words": words[first:end],
                "graph_score": graph[first:end],
                "acoustic_score": acoustic[first:end],
            }
            records.append(record if end > first else None)
        return records

    @staticmethod
    def from_records(
        records: Sequence[Record], acoustic_scale: float, device: torch.device
    ) -> Lattices:
        """Lattices of what :meth:`to_records` gave.

        Args:
            records: of lattices that are not empty.
            acoustic_scale: factor of the acoustics in the scores.
            device: where they lie.
        """
        k2 = load_k2()
        found, places = np.unique(
            np.concatenate([record["words"] for record in records]), axis=0, return_inverse=True
        )
        sequences = tuple(tuple(word for word in row if word) for row in found.tolist())
        # The first sequence is the empty one: every final arc has it, and it is sorted first.
        counts = np.cumsum([len(record["source"]) for record in records])[:-1]
        words = np.split(places.reshape(-1).astype(np.int32), counts)
        fsas = []
        for record, of_arc in zip(records, words, strict=True):
            score = record["graph_score"] + np.float32(acoustic_scale) * record["acoustic_score"]
            columns = [record[name] for name in ("source", "target", "label")]
            arcs = np.stack([*columns, score.astype(np.float32).view(np.int32)], axis=1)
            fsa = k2.Fsa(torch.from_numpy(arcs.astype(np.int32)))
            fsa.words = torch.from_numpy(of_arc)
            fsa.graph_score = torch.from_numpy(record["graph_score"])
            fsas.append(fsa)
        return Lattices(k2.create_fsa_vec(fsas).to(device), sequences)


def best_paths(lattices: Lattices, reached_final: bool = True) -> list[BestPath | None]:
    """The best path of each lattice; None where it is empty.

    Args:
        lattices: of a batch.
        reached_final: what the paths say of themselves.
    """
    fsas = load_k2().shortest_path(lattices.fsas, use_double_scores=True)
    scores = fsas.get_tot_scores(use_double_scores=True, log_semiring=False).tolist()
    labels, words = fsas.labels.cpu().numpy(), fsas.words.cpu().numpy()
    paths: list[BestPath | None] = []
    for score, (first, end) in zip(scores, pairwise(arc_offsets(fsas).tolist()), strict=True):
        if end == first:
            paths.append(None)
            continue
        arcs = slice(first, end - 1)  # less the final arc
        words_of_path = lattices.word_ids(words[arcs])
        paths.append(BestPath(words_of_path, labels[arcs] - 1, -score, reached_final))
    return paths


def arc_offsets(fsas: Fsa) -> np.ndarray:
    """(utterances + 1,) where the arcs of each automaton of a vector begin."""
    shape = fsas.arcs.shape()
    first_states = shape.row_splits(1).long()
    return np.asarray(shape.row_splits(2)[first_states].cpu().numpy())
