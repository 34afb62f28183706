"""N-best lists of k2's lattices: word sequences with their exact scores in the lattice.

The sequences are those of paths that k2 draws in proportion to their probability; each is then
intersected with its lattice, so that its scores are over every path that has these words, drawn
or not.  The best path's words are always among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from am.k2.engine import Fsa, load_k2
from am.k2.lattices import Lattices, best_paths

WordIds = tuple[int, ...]
# Each is intersected with a whole lattice, which bounds the memory this takes.
SEQUENCES_AT_ONCE = 256


@dataclass(frozen=True)
class Hypothesis:
    """A word sequence of a lattice.

    Attributes:
        word_ids: the words.
        score: natural log, of the best path with these words; higher is better.
        total_score: natural log, of all paths with these words together.
    """

    word_ids: WordIds
    score: float
    total_score: float


def nbest(lattices: Lattices, num_best: int, flatness: float = 0.5) -> list[list[Hypothesis]]:
    """At most ``num_best`` hypotheses of each lattice, the best first; none where it is empty.

    Args:
        lattices: of a batch.
        num_best: hypotheses an utterance, at most.
        flatness: factor of the scores while paths are drawn; below 1 gives more different ones.
    """
    best = [set() if path is None else {tuple(path.word_ids)} for path in best_paths(lattices)]
    drawn = _drawn(lattices, 2 * num_best, flatness)
    candidates = [sorted(one | other) for one, other in zip(best, drawn, strict=True)]
    scored = _scored(lattices, candidates)
    return [sorted(each, key=lambda one: -one.score)[:num_best] for each in scored]


def _drawn(lattices: Lattices, num_paths: int, flatness: float) -> list[set[WordIds]]:
    k2 = load_k2()
    flat = lattices.fsas.clone()
    flat.scores = flat.scores.detach() * flatness
    paths = k2.random_paths(flat, use_double_scores=True, num_paths=num_paths)
    words = k2.ragged.index(lattices.fsas.words, paths).remove_values_leq(0).tolist()
    return [
        {tuple(word for place in path for word in lattices.word_sequences[place]) for path in one}
        for one in words
    ]


def _scored(lattices: Lattices, candidates: Sequence[Sequence[WordIds]]) -> list[list[Hypothesis]]:
    """Each candidate with the scores of its paths through its lattice."""
    in_words = _words_in(lattices)
    pairs = [(place, words) for place, one in enumerate(candidates) for words in one]
    hypotheses: list[list[Hypothesis]] = [[] for _ in candidates]
    for first in range(0, len(pairs), SEQUENCES_AT_ONCE):
        some = pairs[first : first + SEQUENCES_AT_ONCE]
        for (place, words), score, total in zip(some, *_scores(in_words, some), strict=True):
            hypotheses[place].append(Hypothesis(words, score, total))
    return hypotheses


def _scores(in_words: Fsa, pairs: Sequence[tuple[int, WordIds]]) -> tuple[list[float], list[float]]:
    """Best and total scores of word sequences, each in the lattice whose place it names."""
    k2 = load_k2()
    device = in_words.device
    sequences = k2.linear_fsa([list(words) for _, words in pairs], device=device)
    matched = k2.intersect_device(
        in_words,
        k2.add_epsilon_self_loops(sequences),
        b_to_a_map=torch.tensor([place for place, _ in pairs], dtype=torch.int32, device=device),
        sorted_match_a=True,
    )
    matched = k2.top_sort(k2.connect(matched))
    best, total = (
        matched.get_tot_scores(use_double_scores=True, log_semiring=is_total).tolist()
        for is_total in (False, True)
    )
    return best, total


def _words_in(lattices: Lattices) -> Fsa:
    """The lattices with word-ids as labels, an arc a word, sorted."""
    k2 = load_k2()
    final = len(lattices.word_sequences)
    table = k2.RaggedTensor([*map(list, lattices.word_sequences), [-1]]).to(lattices.fsas.device)
    is_final = lattices.fsas.labels == -1
    places = torch.where(is_final, final, lattices.fsas.words.long()).int()
    fsas = k2.Fsa(lattices.fsas.arcs)
    fsas.aux_labels, _ = table.index(places, axis=0, need_value_indexes=False)
    return k2.arc_sort(k2.invert(fsas))
