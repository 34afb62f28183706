#!/usr/bin/env python3
"""One rank of benchmarks/network.sh: exchanges as training makes them, batches real or slept.

Reads jobs, a line of JSON each (:class:`Job`); the environment is torchrun's.  The main rank
answers each with a line of JSON.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.nnet.checkpoint import TrainingState
from am.nnet.losses import hard_label_loss
from am.nnet.lstm import AcousticModel, LstmSettings
from am.nnet.optimizer import OptimizerStep
from am.nnet.trainer_settings import TrainerSettings
from am.parallel.block_worker import BlockWorker
from am.parallel.gradient_exchange import DenseExchange, GradientBuckets
from am.parallel.process_group import ProcessGroup, join
from am.parallel.settings import BmufSettings, GtcSettings, ParallelSettings
from am.parallel.threshold_compression import ThresholdExchange

INPUT_DIM = 192
VECTORS_A_SECOND = 1 / 0.03
UTTERANCE_SECONDS = 5.0
EMPTY_EXCHANGES = 20


@dataclass(frozen=True)
class Job:
    """What a rank has to do.

    Attributes:
        lstm: settings of the network.
        senones: its outputs.
        batch_seconds: of speech.
        method: ddp, gtc or bmuf; compute: batches alone.
        rounds: to be timed; one more comes before.
        sync_interval: batches of a bmuf round.
        density: of gtc.
        pause: seconds to sleep for a batch; None computes it.
    """

    lstm: dict[str, Any]
    senones: int
    batch_seconds: float
    method: str
    rounds: int
    sync_interval: int
    density: float
    pause: float | None


class Rank:
    """A model, its optimiser, and a batch of made-up speech that is always the same."""

    def __init__(self, job: Job, group: ProcessGroup):
        torch.manual_seed(group.rank)
        self.group = group
        self._job = job
        self.model = AcousticModel(LstmSettings(**job.lstm), INPUT_DIM, job.senones)
        self.step = OptimizerStep(self.model, TrainerSettings(), torch.device("cpu"))
        self._batch = made_up_batch(job.batch_seconds, job.senones)
        self.num_frames = len(self._batch[2])
        self.loss = self._gradients(made_up_batch(1.0, job.senones))
        self._kept = [parameter.grad for parameter in self.model.parameters()]

    def _gradients(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        vectors, lengths, pdf_ids = batch
        loss = hard_label_loss(self.model.frame_logits(vectors, lengths), pdf_ids) / len(pdf_ids)
        self.step.gradients(loss)
        return loss.detach()

    def batch(self) -> None:
        """Forward and backward pass, or the pause that stands for them and for the update."""
        if self._job.pause is None:
            self._gradients(self._batch)
            return
        time.sleep(self._job.pause)
        for parameter, gradient in zip(self.model.parameters(), self._kept, strict=True):
            parameter.grad = gradient

    def update(self) -> None:
        """Change the weights, unless the pause stands for it."""
        if self._job.pause is None:
            self.step.update()

    def round(self) -> Callable[[], None]:
        """What is timed: an update, of bmuf a block."""
        makers = {
            "compute": self._alone,
            "bmuf": self._block,
            "ddp": self._joint_update,
            "gtc": self._joint_update,
        }
        return makers[self._job.method]()

    def _alone(self) -> Callable[[], None]:
        def update() -> None:
            self.batch()
            self.step.clip()
            self.update()

        return update

    def _joint_update(self) -> Callable[[], None]:
        buckets = GradientBuckets(list(self.model.parameters()), ParallelSettings.bucket_megabytes)
        gtc = GtcSettings(density=self._job.density, dense_updates=0)
        exchange: Any = (
            ThresholdExchange(self.group, buckets, gtc)
            if self._job.method == "gtc"
            else DenseExchange(self.group, buckets)
        )

        def update() -> None:
            self.batch()
            exchange(self.loss, self.num_frames, self.step)
            self.update()

        return update

    def _block(self) -> Callable[[], None]:
        settings = BmufSettings(sync_interval=self._job.sync_interval)
        worker = BlockWorker(self.group, self.model, self.step, settings)
        worker.start([SimpleNamespace(num_cuts=1, num_frames=self.num_frames)], seed=1)
        state = TrainingState()

        def block() -> None:
            next(worker.batches(NoSource(), 1, state), None)
            for _ in range(settings.sync_interval):
                self.batch()
                self.update()
                state.num_updates += 1
                worker.after_batch(state)

        return block


class NoSource:
    """Data of which a worker only notes that a pass over them begins."""

    def rounds(self, *arguments: Any, **options: Any) -> Iterator[None]:
        """None."""
        return iter(())


def made_up_batch(seconds: float, senones: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T', D) vectors, (B,) lengths, (B T',) pdf-ids."""
    utterances = max(1, round(seconds / UTTERANCE_SECONDS))
    frames = max(1, round(seconds / utterances * VECTORS_A_SECOND))
    vectors = torch.randn(utterances, frames, INPUT_DIM)
    pdf_ids = torch.randint(senones, (utterances * frames,))
    return vectors, torch.full((utterances,), frames), pdf_ids


def seconds_of(work: Callable[[], None], group: ProcessGroup) -> float:
    """Of the slowest rank, all having begun together."""
    group.wait()
    started = time.perf_counter()
    work()
    seconds = torch.tensor([time.perf_counter() - started], dtype=torch.float64)
    return group.gather(seconds).max().item()


def measure(job: Job, group: ProcessGroup) -> dict[str, Any]:
    """Seconds of a round, and of an exchange of next to nothing: medians."""
    rank = Rank(job, group)
    work = rank.round()
    seconds_of(work, group)
    rounds = [seconds_of(work, group) for _ in range(job.rounds)]
    empty = [seconds_of(group.wait, group) for _ in range(EMPTY_EXCHANGES)]
    return {
        "seconds": statistics.median(rounds),
        "empty_exchange_seconds": statistics.median(empty),
        "frames": rank.num_frames,
    }


def main() -> None:
    """Do the jobs of standard input."""
    torch.set_num_threads(1)
    group = join()
    for line in sys.stdin:
        result = measure(Job(**json.loads(line)), group)
        if group.is_main:
            print(json.dumps(result), flush=True)
    group.leave()


if __name__ == "__main__":
    main()
