"""Shards of an output made by an executor's workers, each from its own part of the input.

A shard's work writes its files aside and renames them, so that it can be done twice, even by two
workers at a time, of which the one was given up too early.  Where a shard fails, the others are
still made; the next call, which the caller gives only the shards that are missing, does those
alone.
"""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, TypeVar

from am.errors import InputError
from am.executors import Executor, WorkerKilledError, Workers, error_of, reason_of
from am.outputs import remove_unfinished
from am.progress import track

log = logging.getLogger(__name__)

Item = TypeVar("Item")

LOGS_NAME = "logs"
# Of many failed shards an error names so many; each has its log.
MAX_NAMED = 5
# Of many shards whose workers were killed, so many are tried alone: that takes long.
MAX_ALONE = 8


def make_shards(
    work: Callable[[Any, Item], object],
    make_state: Callable[[], Any],
    shards: Iterable[tuple[str, Item]],
    num_shards: int,
    executor: Executor,
    output: Path,
    *,
    description: str,
    share_state: bool = True,
    several_threads: bool = False,
    at_most: int | None = None,
    in_threads: bool = False,
) -> None:
    """``work(state, item)`` for each of ``shards``; one that fails leaves ``logs/NAME.log``.

    Args:
        work: a module's function; writes a shard, whole or not at all.
        make_state: called without arguments; picklable.
        shards: name and item of each, read as they are needed.
        num_shards: how many there are.
        executor: what does the work.
        output: the folder that is being made.
        description: of the work, for the progress bar.
        share_state, several_threads, at_most, in_threads: see
            :meth:`am.executors.Executor.workers`.

    Raises:
        InputError: shards failed, after the others were made; it names them.
    """
    logs = output / LOGS_NAME
    shutil.rmtree(logs, ignore_errors=True)
    if num_shards == 0:
        return
    failed: list[str] = []
    with executor.workers(
        work,
        make_state,
        share_state=share_state,
        at_most=num_shards if at_most is None else min(at_most, num_shards),
        several_threads=several_threads,
        in_threads=in_threads,
    ) as workers:
        outcomes = _outcomes(workers, shards)
        for name, error in track(outcomes, description, num_shards, unit="shard"):
            if error is not None:
                reason = reason_of(error)
                log.error("%s failed: %s", name, reason)
                failed.append(f"{name} ({reason})")
                _write_log(logs / f"{name}.log", reason, error)
    remove_unfinished(output)
    if failed:
        others = f" and {len(failed) - MAX_NAMED} more" if len(failed) > MAX_NAMED else ""
        raise InputError(
            f"{len(failed)} of {num_shards} shards failed, logs in {logs}: "
            f"{', '.join(failed[:MAX_NAMED])}{others}; the others are kept, and only these are "
            "made when the same command is run again"
        )


def _outcomes(
    workers: Workers, shards: Iterable[tuple[str, Item]]
) -> Iterator[tuple[str, BaseException | None]]:
    """Each shard's name, as they end, and how it failed, if it did."""
    waiting: dict[Future[Any], tuple[str, Item]] = {}
    killed: list[tuple[str, Item, BaseException]] = []
    try:
        for name, item in shards:
            waiting[workers.submit(item)] = (name, item)
            # One a worker, so that few wait behind one that kills its worker.
            while len(waiting) >= max(1, workers.count()):
                yield from _ended(waiting, killed)
        while waiting:
            yield from _ended(waiting, killed)
        for number, (name, item, error) in enumerate(killed):
            # Once more, alone, to be sure that it is this one.
            again = number < MAX_ALONE
            yield name, error_of(workers.submit(item)) if again else error
    finally:
        for future in waiting:
            future.cancel()


def _ended(
    waiting: dict[Future[Any], tuple[str, Item]], killed: list[tuple[str, Item, BaseException]]
) -> Iterator[tuple[str, BaseException | None]]:
    """Wait for one or more; those whose workers were killed go to ``killed``."""
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        error = error_of(future)
        name, item = waiting.pop(future)
        if isinstance(error, WorkerKilledError):
            killed.append((name, item, error))
        else:
            yield name, error


def _write_log(path: Path, reason: str, error: BaseException) -> None:
    lines = [f"{time.strftime('%Y-%m-%d %H:%M:%S')} {reason}\n", *traceback.format_exception(error)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as failure:  # on a full disk, say
        log.error("%s: %s; it would have held:\n%s", path, failure, "".join(lines))
