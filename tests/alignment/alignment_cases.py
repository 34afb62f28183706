"""A language of four phones, small enough to enumerate every path through an utterance.

Phones: SIL = 1 (2 states), A = 2 (1 state), B = 3 (2 states), C = 4 (1 state).
Words: x = A | B C, y = B, z = C A, <UNK> = C.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang, Pronunciation

SIL, A, B, C = 1, 2, 3, 4
X, Y, Z, UNKNOWN = 1, 2, 3, 4
TOPOLOGY = Topology({SIL: 2, A: 1, B: 2, C: 1})
NUM_PDFS = 6


def small_lang(silence_probability: float = 0.4) -> Lang:
    """The language; it lies in no folder."""
    return Lang(
        folder=Path("lang"),
        phones={"<eps>": 0, "SIL": SIL, "A": A, "B": B, "C": C, "#0": 5},
        words={"<eps>": 0, "x": X, "y": Y, "z": Z, "<UNK>": UNKNOWN},
        pronunciations={
            X: (Pronunciation(1.0, (A,)), Pronunciation(0.3, (B, C))),
            Y: (Pronunciation(1.0, (B,)),),
            Z: (Pronunciation(0.8, (C, A)),),
            UNKNOWN: (Pronunciation(1.0, (C,)),),
        },
        silence_phones=(SIL,),
        optional_silence=SIL,
        silence_probability=silence_probability,
        roots=((SIL,), (A,), (B,), (C,)),
        extra_questions=(),
        topology=TOPOLOGY,
        unknown_word="<UNK>",
    )


class RandomTree:
    """A pdf-id for each triphone state, drawn at random; ``kinds`` bounds how many a state has."""

    num_pdfs = NUM_PDFS

    def __init__(self, generator: np.random.Generator, kinds: int):
        choices = generator.integers(0, NUM_PDFS, (5, 2, kinds))
        which = generator.integers(0, kinds, (5, 5, 5, 2))
        phones, states = np.meshgrid(np.arange(5), np.arange(2), indexing="ij")
        self.table = choices[phones[None, :, None, :], states[None, :, None, :], which]

    def pdf_ids(
        self, left: np.ndarray, centre: np.ndarray, right: np.ndarray, state: np.ndarray
    ) -> np.ndarray:
        return self.table[left, centre, right, state]


def random_transitions(generator: np.random.Generator) -> TransitionModel:
    """Every (phone, state, pdf-id), with random self-loop probabilities."""
    transitions = TransitionModel.from_triples(
        (
            (phone, state, pdf_id)
            for phone, num_states in TOPOLOGY.states_of_phone.items()
            for state in range(num_states)
            for pdf_id in range(NUM_PDFS)
        ),
        0.5,
    )
    transitions.self_loop = generator.uniform(0.1, 0.9, transitions.num_transition_states)
    return transitions


def phone_sequences(lang: Lang, word_ids: list[int]) -> Iterator[tuple[list[int], float]]:
    """Every phone sequence of a transcript, with its natural log weight."""
    gaps = itertools.product([False, True], repeat=len(word_ids) + 1)
    choices = itertools.product(*(lang.pronunciations[word] for word in word_ids))
    for silent, chosen in itertools.product(list(gaps), list(choices)):
        phones: list[int] = []
        weight = 0.0
        for index, gap in enumerate(silent):
            probability = lang.silence_probability if gap else 1 - lang.silence_probability
            weight += math.log(probability)
            phones += [lang.optional_silence] if gap else []
            if index < len(chosen):
                phones += chosen[index].phones
                weight += math.log(chosen[index].probability)
        yield phones, weight


def state_sequences(
    lang: Lang, tree: RandomTree, transitions: TransitionModel, word_ids: list[int]
) -> Iterator[tuple[list[int], float]]:
    """Every sequence of transition-states of a transcript, with its weight."""
    for phones, weight in phone_sequences(lang, word_ids):
        padded = [0, *phones, 0]
        yield (
            [
                transitions.transition_state(
                    phone, state, int(tree.table[padded[i], phone, padded[i + 2], state])
                )
                for i, phone in enumerate(phones)
                for state in range(TOPOLOGY.num_states(phone))
            ],
            weight,
        )


def alignments_of(states: list[int], num_frames: int) -> Iterator[list[int]]:
    """Every way to spread the states over the frames, as transition-ids."""
    for cuts in itertools.combinations(range(1, num_frames), len(states) - 1):
        bounds = [0, *cuts, num_frames]
        yield [
            2 * state - (frame + 1 < bounds[i + 1])
            for i, state in enumerate(states)
            for frame in range(bounds[i], bounds[i + 1])
        ]
