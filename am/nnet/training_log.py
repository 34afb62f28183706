"""What a training leaves for its readers: progress lines, log.jsonl, TensorBoard curves."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 15.0
UPDATES_BETWEEN_POINTS = 10


class TrainingLog:
    """Writes to ``folder``; a run that goes on drops the lines of updates it does again.

    Args:
        folder: of the training.
        total_frames: of the whole plan.
        frames_done, num_updates: where this run begins.
        writes: whether it leaves files; of several processes one does.
    """

    def __init__(
        self,
        folder: Path,
        total_frames: int,
        frames_done: int,
        num_updates: int,
        writes: bool = True,
    ):
        self._path = folder / "log.jsonl"
        self._curves: SummaryWriter | None = None
        if writes:
            if self._path.is_file():
                lines = self._path.read_text().splitlines()
                kept = [line for line in lines if json.loads(line)["updates"] <= num_updates]
                self._path.write_text("".join(f"{line}\n" for line in kept))
            self._curves = SummaryWriter(str(folder / "tensorboard"), purge_step=num_updates + 1)
        self._total = total_frames
        self._done_before = frames_done
        self._started = self._last_line = time.monotonic()

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

    def end_of_pass(self, values: Mapping[str, float | int | str], num_updates: int) -> None:
        """After a pass: a line of log.jsonl, and its numbers as curves."""
        if self._curves is None:
            return
        with self._path.open("a") as stream:
            stream.write(json.dumps({"updates": num_updates, **values}) + "\n")
        for name in ("dev_loss", "dev_frame_accuracy"):
            self._curves.add_scalar(name, values[name], num_updates)

    def close(self) -> None:
        """Write what is buffered."""
        if self._curves is not None:
            self._curves.close()
