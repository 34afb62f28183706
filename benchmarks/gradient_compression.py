#!/usr/bin/env python3
"""Cost and gain of gradient threshold compression (GTC), against the backward pass.

Several workers, one after the other in this process, train one LSTM on made-up speech: each has
batches and residuals of its own, and all apply the same sum of messages, as processes would.  For
every density (and for every fixed threshold) the table tells

- the time to compress a gradient, and to add one received message, over that of a backward pass;
- by how much a message is smaller than the gradient, after the dense updates;
- the loss of the last updates over that of workers that exchange whole gradients.

Each setting starts from the same weights and sees the same batches.  Example:

    benchmarks/gradient_compression.py --workers 4 --updates 300 --density 0.01 0.001 0.0001
"""

import argparse
import copy
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.nnet.device import pick_device
from am.nnet.losses import hard_label_loss
from am.nnet.lstm import AcousticModel, LstmSettings
from am.nnet.optimizer import OptimizerStep
from am.nnet.trainer_settings import TrainerSettings
from am.parallel.gradient_exchange import GradientBuckets
from am.parallel.settings import GtcSettings
from am.parallel.threshold_compression import ThresholdCompressor
from am.parallel.threshold_message import add_messages

INPUT_DIM = 192
SHARE_FOR_LOSS = 0.1  # the last updates, over which the loss is averaged
MIN_FRAMES, MAX_FRAMES = 2, 8  # of a senone
BUCKET_MEGABYTES = 25.0
Result = TypeVar("Result")


class MadeUpSpeech:
    """Utterances that are rows of senones, each a few noisy frames of its own mean vector."""

    def __init__(self, num_pdfs: int, utterances: int, frames: int, device: torch.device):
        self._generator = torch.Generator().manual_seed(1)
        self._means = torch.randn(num_pdfs, INPUT_DIM, generator=self._generator)
        self._shape = utterances, frames
        self._device = device

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T', D) vectors, (B,) lengths, (B T',) pdf-ids."""
        utterances, frames = self._shape
        pdf_ids = torch.stack([self._row(frames) for _ in range(utterances)])
        noise = torch.randn(*pdf_ids.shape, INPUT_DIM, generator=self._generator)
        vectors = self._means[pdf_ids] + 10.0 * noise
        lengths = torch.full((utterances,), frames)
        return tuple(each.to(self._device) for each in (vectors, lengths, pdf_ids.flatten()))

    def _row(self, frames: int) -> Tensor:
        count = frames // MIN_FRAMES + 1
        senones = torch.randint(len(self._means), (count,), generator=self._generator)
        held = torch.randint(MIN_FRAMES, MAX_FRAMES, (count,), generator=self._generator)
        return senones.repeat_interleave(held)[:frames]


class Stopwatch:
    """Seconds by name, the device's work included."""

    def __init__(self, device: torch.device):
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    def time(self, name: str, work: Callable[..., Result], *arguments: object) -> Result:
        """The result of ``work(*arguments)``."""
        self._wait()
        started = time.perf_counter()
        result = work(*arguments)
        self._wait()
        self.seconds[name] += time.perf_counter() - started
        return result

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def train(
    start: AcousticModel, options: argparse.Namespace, gtc: GtcSettings | None
) -> tuple[dict[str, float], float, float]:
    """Seconds by kind of work; a message's share of the gradient's bytes; the last loss."""
    device = pick_device(options.device)
    model = copy.deepcopy(start).to(device).train()
    trainer = TrainerSettings(optimizer=options.optimizer, learning_rate=options.learning_rate)
    step = OptimizerStep(model, trainer, device)
    buckets = GradientBuckets(list(model.parameters()), BUCKET_MEGABYTES)
    sizes = [len(vector) for vector in buckets.read()]
    residuals = [
        [ThresholdCompressor(size, device, gtc or GtcSettings()) for size in sizes]
        for _ in range(options.workers)
    ]
    speech = MadeUpSpeech(options.senones, options.utterances, options.frames, device)
    watch, losses, words, messages_sent = Stopwatch(device), [], 0, 0
    for update in range(options.updates):
        is_dense = gtc is None or update < gtc.dense_updates
        total = [torch.zeros(size, device=device) for size in sizes]
        messages, loss_sum = [], 0.0
        for compressors in residuals:
            vectors, lengths, pdf_ids = speech.batch()
            loss = hard_label_loss(model.frame_logits(vectors, lengths), pdf_ids) / len(pdf_ids)
            loss_sum += loss.item()
            watch.time("backward", step.gradients, loss)
            step.clip()
            if is_dense:
                for sum_, vector in zip(total, buckets.read(), strict=True):
                    sum_.add_(vector, alpha=1.0 / options.workers)
            else:
                messages.append(watch.time("compress", compressed, buckets, compressors))
        for message in messages:
            watch.time("add", add_messages, message, total)
            words += len(message)
            messages_sent += 1
        buckets.write(total)
        step.update()
        losses.append(loss_sum / options.workers)
    last = losses[-max(1, round(SHARE_FOR_LOSS * options.updates)) :]
    share = words / max(messages_sent, 1) / sum(sizes)
    return watch.seconds, share, sum(last) / len(last)


def compressed(buckets: GradientBuckets, compressors: list[ThresholdCompressor]) -> Tensor:
    """A worker's message; its gradient counts as an equal part of the mean."""
    vectors = buckets.read()
    return torch.cat([c.compress(v) for c, v in zip(compressors, vectors, strict=True)])


def settings_of(options: argparse.Namespace) -> Iterator[tuple[str, GtcSettings]]:
    """Name and settings of each row."""
    dense = options.dense_updates
    for density in options.density:
        yield f"density {density:g}", GtcSettings(density=density, dense_updates=dense)
    for threshold in options.threshold:
        yield f"threshold {threshold:g}", GtcSettings(threshold=threshold, dense_updates=dense)


def main() -> None:
    """Parse the options and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--workers", type=int, default=4, help="that train together (%(default)s)")
    add("--updates", type=int, default=200, help="of each setting (%(default)s)")
    add("--dense-updates", type=int, default=20, help="of them before (%(default)s)")
    add("--density", type=float, nargs="*", default=[0.01, 0.001, 0.0001], help="%(default)s")
    add("--threshold", type=float, nargs="*", default=[], help="fixed ones as well")
    add("--layers", type=int, default=2, help="of the LSTM (%(default)s)")
    add("--cells", type=int, default=256, help="of a layer (%(default)s)")
    add("--senones", type=int, default=200, help="(%(default)s)")
    add("--utterances", type=int, default=4, help="in a batch (%(default)s)")
    add("--frames", type=int, default=100, help="of an utterance (%(default)s)")
    add("--optimizer", choices=["adam", "sgd"], default="adam", help="(%(default)s)")
    add("--learning-rate", type=float, default=1e-3, help="(%(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    options = parser.parse_args()
    torch.manual_seed(1)
    lstm = LstmSettings(options.layers, options.cells, bidirectional=False)
    start = AcousticModel(lstm, INPUT_DIM, options.senones)
    dense_loss = train(start, options, None)[2]
    print(f"{start.num_parameters()} parameters, {options.workers} workers, loss of dense "
          f"exchange {dense_loss:.4f}")  # fmt: skip
    print("| GTC | compress / backward | add / backward | gradient / message | loss / dense |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, gtc in settings_of(options):
        seconds, share, loss = train(start, options, gtc)
        compressed_updates = options.updates - gtc.dense_updates
        backward = seconds["backward"] * compressed_updates / options.updates
        print(
            f"| {name} | {seconds['compress'] / backward:.3f} | {seconds['add'] / backward:.4f} "
            f"| {1.0 / share:.0f} | {loss / dense_loss:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
