"""Random graphs for the tests of k2, and a task of synthetic speech."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from am.corpus.espeak import EspeakProcess
from am.corpus.voices import Voice
from am.features.compute import SETTINGS_OF_KIND, compute_features
from am.gmm.train import MonoSettings, train_mono
from am.gmm.trainer import EmSettings
from am.graph.arrays import ArcList, FstArrays
from am.graph.compile import make_graph
from am.lang.prepare import LangSettings, prepare_lang
from am.lm.arpa import write_arpa
from am.lm.grammar import format_lm
from am.lm.kneser_ney import NgramSettings, train_ngram

LEXICON = "go G OW\nno N OW\nnoon N UW N\nwoo W UW\ngone G AO N\nwon W AO N\n"
Paths = Counter[tuple[tuple[int, ...], tuple[int, ...], float]]


def random_graph(
    rng: np.random.Generator, num_states: int, num_pdfs: int, num_words: int, exact: bool = False
) -> FstArrays:
    """Emitting arcs anywhere, arcs without input label upwards only; state 0 is the start.

    With ``exact``, costs are multiples of 1/64, so that sums of a few are exact in float32;
    otherwise no two paths cost the same.
    """
    graph = ArcList()
    for _ in range(num_states):
        graph.add_state()

    def cost() -> float:
        return float(rng.integers(0, 128)) / 64 if exact else float(rng.random()) * 2

    def word() -> int:
        return int(rng.integers(1, num_words + 1)) if rng.random() < 0.4 else 0

    for state in range(num_states):
        for _ in range(2):
            label = int(rng.integers(1, num_pdfs + 1))
            graph.add_arc(state, int(rng.integers(num_states)), label, word(), cost())
        if state + 1 < num_states and rng.random() < 0.7:
            graph.add_arc(state, int(rng.integers(state + 1, num_states)), 0, word(), cost())
    for state in {0, num_states - 1, *rng.integers(num_states, size=2).tolist()}:
        graph.set_final(state, cost())
    return graph.to_arrays()


def all_paths(fst: FstArrays, num_frames: int) -> Paths:
    """How often each path of some frames stands in a graph: labels, words, cost."""
    paths: Paths = Counter()
    stack: list[tuple[int, tuple[int, ...], tuple[int, ...], float]] = [(fst.start, (), (), 0.0)]
    while stack:
        state, labels, words, cost = stack.pop()
        if len(labels) == num_frames and np.isfinite(fst.final[state]):
            paths[labels, words, cost + float(fst.final[state])] += 1
        for arc in np.flatnonzero(fst.source == state).tolist():
            label, word = int(fst.ilabel[arc]), int(fst.olabel[arc])
            longer = (*labels, label) if label else labels
            if len(longer) <= num_frames:
                more = (*words, word) if word else words
                total = cost + float(fst.weight[arc])
                stack.append((int(fst.nextstate[arc]), longer, more, total))
    return paths


@dataclass(frozen=True)
class SpokenTask:
    """Synthetic speech of six words with a monophone model: where its folders are."""

    root: Path

    @property
    def mfcc(self) -> Path:
        return self.root / "mfcc"

    @property
    def lang(self) -> Path:
        return self.root / "lang_test"

    @property
    def mono(self) -> Path:
        return self.root / "mono"

    @property
    def graph(self) -> Path:
        return self.root / "graph"


def make_spoken_task(root: Path, num_cuts: int = 16) -> SpokenTask:
    """Speak, compute features, train monophones a little, and make HCLG of a bigram."""
    task = SpokenTask(root)
    rng = np.random.default_rng(3)
    words = [line.split()[0] for line in LEXICON.splitlines()]
    sentences = [list(rng.choice(words, size=rng.integers(3, 7))) for _ in range(num_cuts)]
    _speak(root / "data", sentences)
    for folder in (task.mfcc, root / "lang", task.lang, task.mono, task.graph):
        folder.mkdir()
    settings = SETTINGS_OF_KIND["mfcc"]()
    compute_features(root / "data", task.mfcc, task.mfcc, "mfcc", settings)
    (root / "lexicon.txt").write_text(LEXICON)
    prepare_lang(root / "lexicon.txt", LangSettings(), root / "lang")
    write_arpa(train_ngram(sentences, NgramSettings(2)), root / "lm.arpa", compress=False)
    format_lm(root / "lang", root / "lm.arpa", task.lang)
    em = EmSettings(6, (1, 2, 3, 4), num_gaussians=40, num_growing_iterations=4)
    train_mono(
        task.mfcc, root / "lang", task.mono, MonoSettings(em), seed=1, device=torch.device("cpu")
    )
    make_graph(task.lang, task.mono, task.graph, 0.1)
    return task


def _speak(folder: Path, sentences: list[list[str]]) -> None:
    folder.mkdir()
    voice = Voice("one", "m1", "en-us", rate=150, pitch=50, pitch_range=50)
    with EspeakProcess() as espeak, CutSet.open_writer(folder / "cuts.jsonl.gz") as cuts:
        for number, sentence in enumerate(sentences):
            text = " ".join(sentence)
            samples, rate = espeak.speak(voice, text)
            path = folder / f"u{number:02d}.wav"
            soundfile.write(path, samples, rate)
            recording = Recording.from_file(path).resample(16000)
            cut_id = path.stem
            supervision = SupervisionSegment(
                cut_id, recording.id, 0.0, recording.duration, text=text, speaker="one"
            )
            cuts.write(MonoCut(cut_id, 0.0, recording.duration, 0, [supervision], None, recording))
