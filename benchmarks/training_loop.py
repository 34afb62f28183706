#!/usr/bin/env python3
"""Speed of the project's training step against a bare LSTM with softmax cross-entropy.

The project's step is all of it: cuts and labels read from disk and batched by length, features
augmented, normalised and stacked, the network, the loss on hard or on soft labels, clipping, the
optimiser, the log.  The bare step is torch.nn.LSTM, dropout, a linear layer, cross-entropy on hard
labels and the same optimiser, on random tensors of the same shapes made beforehand.

The two take turns batch by batch, so that a drift of the machine's speed cancels; data are loaded
in the training's own process unless --workers are given, so that loading counts in full.  The ratio
of time is that of a step.  In the ratio of frames a second the bare loop's frames all count, the
project's without padding, so that padding counts as well.

Example, after the recipe:

    benchmarks/training_loop.py --config conf/teacher.yaml --config conf/student_scheduled.yaml \\
        --hard data/labeled/lfbe exp/senone_labels/labeled \\
        --soft data/unlabeled/lfbe data/unlabeled/soft_labels
"""

import argparse
import dataclasses
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.config import load_settings, read_yaml_mapping
from am.features.feature_data import CUTS_NAME, describe_features, open_feature_data
from am.features.low_frame_rate import estimate_front_end, num_low_rate_frames
from am.nnet.audio_augmentation import audio_augmenter
from am.nnet.batch import Batch
from am.nnet.cross_entropy import CrossEntropySettings, StudentSettings
from am.nnet.data import LabelledCuts, load_features
from am.nnet.device import pick_device
from am.nnet.lstm import AcousticModel, LstmSettings
from am.nnet.schedule import LABELED, Pass
from am.nnet.trainer import Trainer
from am.storage import RaggedStore

Settings = CrossEntropySettings | StudentSettings
CUTS_FOR_FRONT_END = 50


class BareNetwork(nn.Module):
    """torch.nn.LSTM, dropout and a linear layer."""

    def __init__(self, lstm: LstmSettings, input_dim: int, num_pdfs: int):
        super().__init__()
        self.lstm = nn.LSTM(
            input_dim,
            lstm.cells,
            lstm.num_layers,
            batch_first=True,
            dropout=lstm.dropout if lstm.num_layers > 1 else 0.0,
            bidirectional=lstm.bidirectional,
        )
        self.dropout = nn.Dropout(lstm.dropout)
        self.output = nn.Linear(lstm.cells * (1 + lstm.bidirectional), num_pdfs)

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, T', D) to (B T', P)."""
        return self.output(self.dropout(self.lstm(vectors)[0])).flatten(0, 1)


class BareLoop:
    """One step after the other on random tensors."""

    def __init__(self, network: BareNetwork, settings: Settings, device: torch.device):
        self.network = network.to(device).train()
        self._device = device
        trainer = settings.trainer
        self._optimizer: torch.optim.Optimizer
        if trainer.optimizer == "adam":
            self._optimizer = torch.optim.Adam(network.parameters(), trainer.learning_rate)
        else:
            self._optimizer = torch.optim.SGD(
                network.parameters(), trainer.learning_rate, trainer.momentum
            )

    def random_batch(self, num_utterances: int, num_vectors: int) -> tuple[Tensor, Tensor]:
        """(B, T', D) vectors and (B T',) labels."""
        shape = (num_utterances, num_vectors, self.network.lstm.input_size)
        pdf_ids = torch.randint(self.network.output.out_features, shape[:2])
        return torch.randn(shape).to(self._device), pdf_ids.flatten().to(self._device)

    def step(self, vectors: Tensor, pdf_ids: Tensor) -> None:
        """Forward, backward, update."""
        self._optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(self.network(vectors), pdf_ids).backward()
        self._optimizer.step()


def make_trainer(
    settings: Settings, data: Path, labels: Path, options: argparse.Namespace, folder: Path
) -> tuple[Trainer, LabelledCuts]:
    """The project's trainer on some feature data and their labels."""
    batching = dataclasses.replace(settings.batching, num_workers=options.workers)
    store = RaggedStore(labels)
    augmenter = audio_augmenter(data, settings.audio)
    cuts = LabelledCuts(LABELED, data / CUTS_NAME, store, batching, augmenter)
    some = list(itertools.islice(open_feature_data(data), CUTS_FOR_FRONT_END))
    front_end = estimate_front_end(
        [load_features(cut) for cut in some],
        settings.front_end.prior_frames,
        describe_features(data).frame_shift,
    )
    num_pdfs = options.num_pdfs or store.description["num_pdfs"]
    torch.manual_seed(settings.trainer.seed)
    model = AcousticModel(settings.lstm, front_end.output_dim, num_pdfs)
    trainer = Trainer(
        model,
        front_end,
        [Pass(LABELED)],
        {LABELED: cuts},
        cuts,
        settings.trainer,
        folder,
        pick_device(options.device),
    )
    model.train()
    return trainer, cuts


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of ``work``, the device's share included."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def measure(
    settings: Settings, data: Path, labels: Path, options: argparse.Namespace, folder: Path
) -> tuple[int, float, float, float]:
    """Parameters, frames a second of the project's loop and of the bare one, ratio of time."""
    trainer, cuts = make_trainer(settings, data, labels, options, folder)
    device = pick_device(options.device)
    model = trainer.model
    bare = BareLoop(BareNetwork(model.settings, model.input_dim, model.num_pdfs), settings, device)
    batches = itertools.chain.from_iterable(cuts.batches(seed) for seed in itertools.count())
    seconds, frames = [0.0, 0.0], [0, 0]
    for index in range(options.warm_up + options.batches):
        if index == options.warm_up:
            seconds, frames = [0.0, 0.0], [0, 0]
        done: list[Batch] = []

        def project_step(done: list[Batch] = done) -> None:
            done.append(next(batches).to(device))
            trainer.update(done[0], Pass(LABELED))

        seconds[0] += seconds_of(project_step, device)
        batch = done[0]
        num_utterances, num_frames, _ = batch.features.shape
        tensors = bare.random_batch(num_utterances, num_low_rate_frames(num_frames))
        seconds[1] += seconds_of(lambda tensors=tensors: bare.step(*tensors), device)
        frames[0] += batch.num_frames
        frames[1] += len(tensors[1])
    ours, theirs = (count / total for count, total in zip(frames, seconds, strict=True))
    return model.num_parameters(), ours, theirs, seconds[1] / seconds[0]


def main() -> None:
    """Parse the options and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, action="append", help="settings of a training")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting of the files",
    )
    for kind in ("hard", "soft"):
        parser.add_argument(
            f"--{kind}",
            type=Path,
            nargs=2,
            metavar=("DATA", "LABELS"),
            help=f"a feature data folder and its store of {kind} labels",
        )
    parser.add_argument("--batches", type=int, default=100, help="measured (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=5, help="batches before (%(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="that load data (%(default)s)")
    parser.add_argument("--num-pdfs", type=int, help="senones (as many as the labels have)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    if len(sys.argv) == 1:
        parser.print_help()
        sys.exit(1)
    options = parser.parse_args()
    rows = [(name, getattr(options, name)) for name in ("hard", "soft") if getattr(options, name)]
    if not (rows and options.config):
        parser.error("give --config, and --hard or --soft")
    print("| network | labels | parameters | frames/s | bare frames/s | ratio | ratio of time |")
    print("| --- | --- |" + " ---: |" * 5)
    for path in options.config:
        is_scheduled = "schedule" in read_yaml_mapping(path)
        settings_class = StudentSettings if is_scheduled else CrossEntropySettings
        settings = load_settings(settings_class, path, options.overrides)
        for name, (data, labels) in rows:
            with tempfile.TemporaryDirectory() as folder:
                size, ours, bare, of_time = measure(settings, data, labels, options, Path(folder))
            print(
                f"| {path} | {name} | {size} | {ours:.0f} | {bare:.0f} | {ours / bare:.3f} "
                f"| {of_time:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
