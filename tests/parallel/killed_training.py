"""steps/train_ce.py, but killed at certain batches; started by torchrun.

    killed_training.py '{"0": {"1": 8}, "1": {"0": 3, "1": 3}}' steps/train_ce.py …

kills process 1 before its 8th batch at torchrun's first try, then both before the third batch of
the second try.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys

from am.nnet.batch import Batch
from am.nnet.schedule import Pass
from am.nnet.trainer import Trainer


def kill_before_batch(number: int) -> None:
    """Have this process killed as by ``kill -9``."""
    count = 0
    update = Trainer.update

    def killed_update(self: Trainer, batch: Batch | None, one: Pass) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, batch, one)

    Trainer.update = killed_update  # type: ignore[method-assign]


if __name__ == "__main__":
    tries = json.loads(sys.argv[1])
    kills = tries.get(os.environ["TORCHELASTIC_RESTART_COUNT"], {})
    if os.environ["RANK"] in kills:
        kill_before_batch(kills[os.environ["RANK"]])
    del sys.argv[:2]
    runpy.run_path(sys.argv[0], run_name="__main__")
