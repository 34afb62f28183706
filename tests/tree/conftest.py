"""A small made-up language: alignments whose phones, lengths and frames are drawn at random."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree_folders import Folders, write_alignment, write_data, write_lang

from am.features.gmm_features import GmmFeatures
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.tree.context_tree import ContextTree, monophone_tree
from am.tree.grow import TreeReport, TreeSettings, grow_tree
from am.tree.statistics import TriphoneStatistics

DIM = 3


@dataclass(frozen=True)
class Utterance:
    """Phones, the frames that each state of each lasts, and what follows from them."""

    phones: list[int]
    durations: list[list[int]]
    transition_ids: np.ndarray
    frames: np.ndarray

    def states(self) -> list[tuple[int, int, int, int]]:
        """Left, centre, right phone and state of each frame, by walking over the phones."""
        padded = [0, *self.phones, 0]
        return [
            (padded[i], padded[i + 1], padded[i + 2], state)
            for i, lengths in enumerate(self.durations)
            for state, length in enumerate(lengths)
            for _ in range(length)
        ]


class Language:
    """Phone 1 is silence (5 states); 2 and 3, 4 and 5 are stress variants; 6 and 7 stand alone.

    A frame's mean depends on the phone, the state, and the neighbours.
    """

    roots = ((1,), (2, 3), (4, 5), (6,), (7,))
    silence = (1,)
    extra_questions = ((2, 4), (1,))

    def __init__(self, num_states: int = 3):
        silence_states = 5 if num_states > 1 else 1
        states = {1: silence_states, **dict.fromkeys(range(2, 8), num_states)}
        self.topology = Topology(states)
        tree = monophone_tree([list(root) for root in self.roots], self.topology)
        triples = list(tree.possible_triples(self.topology))
        self.pdf_of_state = {(phone, state): pdf_id for phone, state, pdf_id in triples}
        self.transitions = TransitionModel.from_triples(triples, 0.75)
        self.tree = tree

    def utterance(self, random: np.random.Generator, num_phones: int, dim: int = DIM) -> Utterance:
        phones = random.integers(1, 8, num_phones).tolist()
        durations = [
            random.integers(1, 4, self.topology.num_states(phone)).tolist() for phone in phones
        ]
        return self.made_of(phones, durations, random, dim)

    def made_of(
        self,
        phones: list[int],
        durations: list[list[int]],
        random: np.random.Generator,
        dim: int = DIM,
    ) -> Utterance:
        ids = []
        for phone, lengths in zip(phones, durations, strict=True):
            for state, length in enumerate(lengths):
                triple = phone, state, self.pdf_of_state[phone, state]
                transition_state = self.transitions.transition_state(*triple)
                ids += [2 * transition_state - 1] * (length - 1) + [2 * transition_state]
        made = Utterance(phones, durations, np.array(ids, dtype=np.int32), np.zeros((len(ids), 0)))
        frames = np.stack([self.mean(state, dim) for state in made.states()])
        frames = frames + random.normal(size=frames.shape)
        return Utterance(phones, durations, made.transition_ids, frames)

    @staticmethod
    def mean(state: tuple[int, int, int, int], dim: int) -> np.ndarray:
        total = np.zeros(dim)
        for position, (value, scale) in enumerate(zip(state, (2, 5, 2, 3), strict=True)):
            part = np.random.default_rng((position, value)).normal(size=dim)
            total += scale * part
        return total

    def statistics(self, utterances: list[Utterance]) -> TriphoneStatistics:
        statistics = TriphoneStatistics(utterances[0].frames.shape[1])
        for made in utterances:
            statistics.accumulate(made.frames, made.transition_ids, self.transitions, self.topology)
        return statistics

    def grow(
        self, statistics: TriphoneStatistics, **changes: Any
    ) -> tuple[ContextTree, TreeReport]:
        """A tree with the settings ``changes``; without any, every split and no merging."""
        plain = {"num_leaves": 0, "min_gain": 0.0, "cluster_threshold": 0.0, "exact": False}
        return grow_tree(
            statistics,
            self.topology,
            self.roots,
            self.silence,
            self.extra_questions,
            TreeSettings(**{**plain, **changes}),
        )


@pytest.fixture(scope="session")
def language() -> Language:
    return Language()


@pytest.fixture(scope="session")
def single_state_language() -> Language:
    return Language(num_states=1)


@pytest.fixture(scope="session")
def utterances(language: Language) -> list[Utterance]:
    random = np.random.default_rng(7)
    return [language.utterance(random, 12) for _ in range(40)]


@pytest.fixture(scope="session")
def statistics(language: Language, utterances: list[Utterance]) -> TriphoneStatistics:
    return language.statistics(utterances)


@pytest.fixture(scope="session")
def made(language: Any, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    folder = tmp_path_factory.mktemp("recipe")
    random = np.random.default_rng(5)
    utterances = {f"cut-{index}": language.utterance(random, 10, dim=4) for index in range(30)}
    ids = list(utterances)
    folders = Folders(
        folder / "data", folder / "lang", folder / "model", folder / "alignment", utterances
    )
    write_lang(folders.lang, language)
    write_data(folders.data, {cut_id: utterances[cut_id] for cut_id in ids[1:]})
    write_alignment(
        folders.alignment, language, {cut_id: utterances[cut_id] for cut_id in ids[:-2]}
    )
    folders.model.mkdir()
    GmmFeatures("splice", 4, 0, False, np.eye(4, dtype=np.float32)[:3]).save(folders.model)
    for other in (folders.model, folders.alignment):
        shutil.copyfile(folders.lang / "phones.txt", other / "phones.txt")
    return folders


@pytest.fixture
def copied(made: Folders, tmp_path: Path) -> Folders:
    """Inputs that a test may damage."""
    parts = {name: tmp_path / name for name in ("data", "lang", "model", "alignment")}
    for name, path in parts.items():
        shutil.copytree(getattr(made, name), path)
    return Folders(**parts, utterances=made.utterances)
