"""What a training leaves for its readers: progress lines, log.jsonl, TensorBoard curves."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from am.outputs import written_aside

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 15.0
UPDATES_BETWEEN_POINTS = 10
# More padding than this is worth a word; more buckets bring it down.
MAX_PADDING_SHARE = 0.1


@dataclass(frozen=True)
class PassReport:
    """How a pass went.

    Attributes:
        number: of the pass, from 1.
        source: the name of its data.
        train_loss, dev_loss: a frame; the latter is cross-entropy (natural log).
        dev_frame_accuracy: 0 … 1.
        learning_rate: of its last update.
        skipped_batches: of the training so far.
        padding: share of the vectors of its batches.
    """

    number: int
    source: str
    train_loss: float
    dev_loss: float
    dev_frame_accuracy: float
    learning_rate: float
    skipped_batches: int
    padding: float


class TrainingLog:
    """Writes to ``folder``; a run that goes on drops the lines of updates it does again.

    Args:
        folder: of the training.
        num_passes, total_frames: of the whole plan.
        frames_done, num_updates: where this run begins.
        writes: whether it leaves files; of several processes one does.
    """

    def __init__(
        self,
        folder: Path,
        num_passes: int,
        total_frames: int,
        frames_done: int,
        num_updates: int,
        writes: bool = True,
    ):
        self._path = folder / "log.jsonl"
        self._curves: SummaryWriter | None = None
        if writes:
            if self._path.is_file():
                self._drop_lines_after(num_updates)
            self._curves = SummaryWriter(str(folder / "tensorboard"), purge_step=num_updates + 1)
        self._num_passes = num_passes
        self._total = total_frames
        self._done_before = frames_done
        self._started = self._last_line = time.monotonic()
        self._has_told_padding = False

    def frames_per_second(self, frames_done: int) -> float:
        """Mean speed of this run."""
        return (frames_done - self._done_before) / max(time.monotonic() - self._started, 1e-9)

    def update(
        self, name: str, loss: float, learning_rate: float, frames_done: int, num_updates: int
    ) -> None:
        """After an update: a point of the curves, and now and then a line of progress."""
        if self._curves is not None and num_updates % UPDATES_BETWEEN_POINTS == 0:
            self._curves.add_scalar(f"loss/{name.split('-')[0]}", loss, num_updates)
            self._curves.add_scalar("learning_rate", learning_rate, num_updates)
        if time.monotonic() - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = time.monotonic()
        speed = self.frames_per_second(frames_done)
        left = (self._total - frames_done) / max(speed, 1e-9)
        log.info(
            "%3.0f %% %s: loss %.3f, %.0f frames/s, %d:%02d left",
            100 * frames_done / self._total,
            name,
            loss,
            speed,
            left // 60,
            left % 60,
        )

    def end_of_pass(
        self,
        report: PassReport,
        frames_done: int,
        num_updates: int,
        traffic: Mapping[str, float],
    ) -> None:
        """After a pass: a line for the reader, one of log.jsonl, and its numbers as curves."""
        speed = self.frames_per_second(frames_done)
        log.info(
            "pass %d of %d, %s: train loss %.4f, dev loss %.4f, dev frame accuracy %.2f %%, "
            "learning rate %.2g, %.0f frames/s, padding %.1f %%",
            report.number,
            self._num_passes,
            report.source,
            report.train_loss,
            report.dev_loss,
            100 * report.dev_frame_accuracy,
            report.learning_rate,
            speed,
            100 * report.padding,
        )
        if report.padding > MAX_PADDING_SHARE and not self._has_told_padding:
            self._has_told_padding = True
            log.warning(
                "%.1f %% of the batches of %s are padding; more batching.num_buckets, or longer "
                "batches, make it less",
                100 * report.padding,
                report.source,
            )
        if self._curves is None:
            return
        values = dataclasses.asdict(report)
        line = {
            "updates": num_updates,
            "pass": values.pop("number"),
            **values,
            "padding": round(report.padding, 4),
            "frames_per_second": round(speed, 1),
            **traffic,
        }
        with self._path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        for name in ("dev_loss", "dev_frame_accuracy"):
            self._curves.add_scalar(name, values[name], num_updates)

    def close(self) -> None:
        """Write what is buffered."""
        if self._curves is not None:
            self._curves.close()

    def _drop_lines_after(self, num_updates: int) -> None:
        lines = self._path.read_text().splitlines()
        with written_aside(self._path) as aside:
            aside.write_text(
                "".join(f"{line}\n" for line in lines if _updates_of(line) <= num_updates)
            )


def _updates_of(line: str) -> float:
    """Of a line of log.jsonl; infinite where a kill or a full disk cut it short."""
    try:
        return int(json.loads(line)["updates"])
    except ValueError:
        return math.inf
