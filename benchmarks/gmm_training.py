#!/usr/bin/env python3
"""Frames a second of the work of GMM training, against the bare matrix product in it.

Likelihoods of diagonal Gaussians are one product of frames, (frames, 2 D), with the Gaussians'
table, (2 D, Gaussians).  The reference of a row is the product that it cannot do without, by
torch alone, on one thread or the same device, all inputs ready in the right order:

* all pdfs: each utterance with all Gaussians;
* needed pdfs, alignment: each utterance with as many Gaussians as the pdfs of its graph have;
* EM: the frames of each pdf with its own Gaussians (the sums need a second one of that size);
* MLLT: products of two dimensions, (D (D + 1) / 2, frames), with weights, (frames, D).

Models, graphs and frames are made up, with the lengths of read speech; the same seed gives the
same.
"""

import argparse
import itertools
import statistics as stats
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import am.gmm.statistics
from am.alignment.training_graph import TrainingGraph
from am.alignment.viterbi import MAX_BATCH_CELLS, AlignmentScales, align_batch, batches_by_size
from am.gmm.model import DiagonalGmms, GmmTables
from am.gmm.statistics import EmStatistics, MlltStatistics, accumulate
from am.gmm.training_data import CHUNK_FRAMES
from am.hmm.transitions import TransitionModel
from am.nnet.device import pick_device

# About that of read speech with 3 states a phone.
MEAN_STATE_FRAMES = 3.0
SCALES = AlignmentScales()
MOMENT_FRAMES = 1 << 10


@dataclass(frozen=True)
class Speech:
    """Made-up utterances: their graphs, frames and true alignment.

    Attributes:
        gmms, transitions: the model that made them.
        graphs: one an utterance.
        num_frames: (utterances,).
        frames: (all frames, D) float32.
        pdf_ids: (all frames,) true pdf of each.
    """

    gmms: DiagonalGmms
    transitions: TransitionModel
    graphs: list[TrainingGraph]
    num_frames: np.ndarray
    frames: torch.Tensor
    pdf_ids: np.ndarray

    def pdfs_of(self, utterance: int) -> np.ndarray:
        """Distinct pdf-ids in an utterance's graph."""
        return np.unique(self.transitions.pdf_ids[self.graphs[utterance].transition_states - 1])

    def frames_of(self, utterance: int) -> torch.Tensor:
        """(T, D)."""
        first = int(self.num_frames[:utterance].sum())
        return self.frames[first : first + int(self.num_frames[utterance])]


def made_up_gmms(
    num_gaussians: int, num_pdfs: int, dim: int, random: np.random.Generator
) -> DiagonalGmms:
    """Mixtures of unlike size, as splitting by a power of the frames gives them."""
    counts = 1 + random.multinomial(num_gaussians - num_pdfs, random.dirichlet([8.0] * num_pdfs))
    centres = np.repeat(random.normal(0, 3, (num_pdfs, dim)), counts, axis=0)
    weights = random.uniform(0.5, 1.5, num_gaussians)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    weights /= np.repeat(np.add.reduceat(weights, offsets[:-1]), counts)
    return DiagonalGmms(
        offsets,
        weights.astype(np.float32),
        (centres + random.normal(0, 1, (num_gaussians, dim))).astype(np.float32),
        random.uniform(0.5, 2.0, (num_gaussians, dim)).astype(np.float32),
    )


def linear_graph(states: np.ndarray, silence: int) -> TrainingGraph:
    """A line of transition-states in words of 12, with an optional silence (state) between them."""
    words = np.array_split(states, max(1, len(states) // 12))
    order, advance, jumps, firsts = [], [], [], []
    place = 0
    for word in words:
        firsts.append(place)
        order += [*word.tolist(), silence]
        advance += [0.0] * (len(word) + 1)
        place += len(word) + 1
    for first in firsts[1:]:
        jumps.append((first, first - 2, -0.7))
    targets, sources, weights = zip(*jumps, strict=True) if jumps else ((), (), ())
    finals = np.array([place - 2, place - 1], dtype=np.int32)
    return TrainingGraph(
        transition_states=np.array(order, dtype=np.int32),
        advance=np.array([-np.inf, *advance[1:]], dtype=np.float32),
        jump_targets=np.array(targets, dtype=np.int32),
        jump_sources=np.array(sources, dtype=np.int32),
        jump_weights=np.array(weights, dtype=np.float32),
        start_states=np.zeros(1, dtype=np.int32),
        start_weights=np.zeros(1, dtype=np.float32),
        final_states=finals,
        final_weights=np.full(2, -0.7, dtype=np.float32),
        min_frames=len(states),
    )


def made_up_speech(
    gmms: DiagonalGmms, seconds: float, random: np.random.Generator, device: torch.device
) -> Speech:
    """Utterances of 1 to 15 s (log-normal) whose states last as long as those of read speech."""
    stay = 1 - 1 / MEAN_STATE_FRAMES
    triples = [(1 + pdf_id // 3, pdf_id % 3, pdf_id) for pdf_id in range(gmms.num_pdfs)]
    transitions = TransitionModel.from_triples(triples, stay)
    # Frequent pdfs are much more frequent than rare ones.
    share = random.dirichlet([2.0] * gmms.num_pdfs)
    graphs, lengths, pdf_ids = [], [], []
    while sum(lengths) < 100 * seconds:
        num_states = int(np.clip(random.lognormal(4.6, 0.5), 30, 500))
        pdfs = random.choice(gmms.num_pdfs, num_states, p=share)
        durations = random.geometric(1 - stay, num_states)
        graphs.append(linear_graph(pdfs + 1, 1))
        pdf_ids.append(np.repeat(pdfs, durations))
        lengths.append(int(durations.sum()))
    true = np.concatenate(pdf_ids)
    first, counts = gmms.offsets[true], np.diff(gmms.offsets)[true]
    gaussian = first + (random.random(len(true)) * counts).astype(np.int64)
    noise = random.standard_normal((len(true), gmms.dim), dtype=np.float32)
    frames = gmms.means[gaussian] + noise * np.sqrt(gmms.variances[gaussian])
    return Speech(
        gmms, transitions, graphs, np.array(lengths), torch.from_numpy(frames).to(device), true
    )


class Work:
    """The passes to be timed, each over all frames on the device."""

    def __init__(self, speech: Speech, device: torch.device, batch_cells: int):
        self.speech = speech
        self.device = device
        self.tables = GmmTables(speech.gmms, device)
        total = len(speech.frames)
        self.parts = [slice(first, first + CHUNK_FRAMES) for first in range(0, total, CHUNK_FRAMES)]
        num_states = np.array([graph.num_states for graph in speech.graphs])
        self.batches = list(batches_by_size(speech.num_frames, num_states, batch_cells))

    def all_pdfs(self) -> None:
        """Log-likelihoods of every pdf, as a GMM is decoded."""
        pdf_ids = np.arange(self.speech.gmms.num_pdfs)
        self._over_utterances(
            lambda utterance: self.tables.log_likelihoods(self.speech.frames_of(utterance), pdf_ids)
        )

    def needed_pdfs(self) -> None:
        """Log-likelihoods of the pdfs of each utterance's graph."""
        self._over_utterances(
            lambda utterance: self.tables.log_likelihoods(
                self.speech.frames_of(utterance), self.speech.pdfs_of(utterance)
            )
        )

    def alignment(self) -> None:
        """Those likelihoods and the best path."""

        def align(batch: np.ndarray) -> int:
            results = align_batch(
                [self.speech.graphs[utterance] for utterance in batch],
                self.speech.num_frames[batch],
                lambda place, pdf_ids: self.tables.log_likelihoods(
                    self.speech.frames_of(int(batch[place])), pdf_ids
                ),
                self.speech.transitions,
                SCALES,
                self.device,
            )
            return sum(result is not None for result in results)

        found = sum(map(align, self.batches))
        assert found == len(self.speech.graphs)

    def em(self) -> None:
        """EM statistics of the frames under their own pdfs."""

        def gather(part: slice) -> EmStatistics:
            statistics = EmStatistics.zeros(self.speech.gmms, self.device)
            accumulate(statistics, self.tables, self.speech.frames[part], self.speech.pdf_ids[part])
            return statistics

        for part in self.parts:
            gather(part)

    def mllt(self) -> None:
        """MLLT statistics of the same."""

        def gather(part: slice) -> MlltStatistics:
            statistics = MlltStatistics(self.speech.gmms, self.device)
            statistics.accumulate(self.tables, self.speech.frames[part], self.speech.pdf_ids[part])
            return statistics

        for part in self.parts:
            gather(part)

    def product(self, gaussians: np.ndarray) -> Callable[[], None]:
        """The bare product, utterance by utterance, with so many Gaussians each."""
        extended, table = self._extended(), self.tables.coefficients.T.contiguous()
        ends = np.cumsum(self.speech.num_frames).tolist()
        counts = np.minimum(gaussians, table.shape[1]).tolist()
        return self._products(
            [
                (extended[end - length : end], table[:, :count])
                for end, length, count in zip(
                    ends, self.speech.num_frames.tolist(), counts, strict=True
                )
            ]
        )

    def product_by_pdf(self) -> Callable[[], None]:
        """The bare product, pdf by pdf, with its own Gaussians."""
        pdf_ids, offsets = self.speech.pdf_ids, self.speech.gmms.offsets.tolist()
        order = np.argsort(pdf_ids, kind="stable")
        extended = self._extended()[torch.from_numpy(order).to(self.device)]
        ends = np.searchsorted(pdf_ids[order], np.arange(len(offsets))).tolist()
        coefficients = self.tables.coefficients
        return self._products(
            [
                (extended[ends[pdf] : ends[pdf + 1]], coefficients[first:last].T)
                for pdf, (first, last) in enumerate(itertools.pairwise(offsets))
            ]
        )

    def product_of_moments(self) -> Callable[[], None]:
        """The bare product of MLLT, in blocks."""
        dim = self.speech.gmms.dim
        weights = torch.rand(MOMENT_FRAMES, dim, device=self.device)
        pairs = torch.rand(dim * (dim + 1) // 2, MOMENT_FRAMES, device=self.device)
        blocks, rest = divmod(len(self.speech.frames), MOMENT_FRAMES)
        return self._products([(pairs, weights)] * blocks + [(pairs[:, :rest], weights[:rest])])

    def _extended(self) -> torch.Tensor:
        return torch.cat([self.speech.frames, self.speech.frames**2], dim=1)

    def _products(self, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> Callable[[], None]:
        def multiply() -> None:
            for frames, table in pairs:
                torch.mm(frames, table)

        return multiply

    def _over_utterances(self, function: Callable[[int], torch.Tensor]) -> None:
        for utterance in range(len(self.speech.graphs)):
            function(utterance)


def timed(work: Callable[[], None], repeats: int, device: torch.device) -> float:
    """Median seconds of a few runs, after one that counts for nothing."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return stats.median(seconds[1:])


def main() -> None:
    """Parse the options and print a table for each model size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        default=["1000/127/39", "15000/1744/40"],
        help="Gaussians/pdfs/dimensions of each model (%(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=1300.0, help="of speech (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median (%(default)s)")
    parser.add_argument(
        "--batch-cells",
        type=int,
        default=MAX_BATCH_CELLS,
        help="frames times states of a batch of utterances in alignment (%(default)s)",
    )
    parser.add_argument(
        "--block-frames",
        type=int,
        default=am.gmm.statistics.BLOCK_FRAMES,
        help="frames of a block in statistics (%(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    am.gmm.statistics.BLOCK_FRAMES = options.block_frames
    device = pick_device(options.device)
    for size in options.sizes:
        num_gaussians, num_pdfs, dim = (int(part) for part in size.split("/"))
        random = np.random.default_rng(options.seed)
        gmms = made_up_gmms(num_gaussians, num_pdfs, dim, random)
        speech = made_up_speech(gmms, options.seconds, random, device)
        print_table(Work(speech, device, options.batch_cells), options)


def print_table(work: Work, options: argparse.Namespace) -> None:
    """Time everything for one model."""
    speech, gmms = work.speech, work.speech.gmms
    counts = np.diff(gmms.offsets)
    utterances = range(len(speech.graphs))
    needed = np.array([int(counts[speech.pdfs_of(utterance)].sum()) for utterance in utterances])
    everyone = np.full(len(utterances), gmms.num_gaussians)
    total = len(speech.frames)

    def seconds_of(what: Callable[[], None]) -> float:
        return timed(what, options.repeats, work.device)

    product_of_all = seconds_of(work.product(everyone))
    product_of_needed = seconds_of(work.product(needed))
    mean_needed = float((needed * speech.num_frames).sum() / total)
    mean_own = float(counts[speech.pdf_ids].mean())
    print(
        f"\n{gmms.num_gaussians} Gaussians, {gmms.num_pdfs} pdfs, {gmms.dim} dimensions; "
        f"{len(utterances)} utterances, {total} frames; {options.device}\n"
    )
    print("| what | Gaussians a frame | seconds | frames a second | product alone, s | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    rows = (
        ("likelihoods, all pdfs", work.all_pdfs, gmms.num_gaussians, product_of_all),
        ("likelihoods, needed pdfs", work.needed_pdfs, mean_needed, product_of_needed),
        ("alignment: those, and Viterbi", work.alignment, mean_needed, product_of_needed),
        ("EM statistics", work.em, mean_own, seconds_of(work.product_by_pdf())),
        ("MLLT statistics", work.mllt, mean_own, seconds_of(work.product_of_moments())),
    )
    for name, what, gaussians, product in rows:
        seconds = seconds_of(what)
        print(
            f"| {name} | {gaussians:.0f} | {seconds:.3f} | {total / seconds:.0f} "
            f"| {product:.3f} | {seconds / product:.2f} |"
        )


if __name__ == "__main__":
    main()
