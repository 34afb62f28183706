"""What every tool of steps/, utils/ and local/ shares: its usage, its log, its exit status.

A tool without arguments prints what it reads, what it writes and an example.  With arguments it
echoes its command line, checks that its inputs exist, skips work whose done-marker matches,
builds its output aside and renames it, and ends with its exit status and the time it took.  An
:class:`am.errors.InputError` becomes one line on stderr and exit status 1.  An output folder
keeps its log in ``log.txt``; the folder of a failed run stays as ``partial.NAME``.

Some tools may be started by torchrun, as several processes: the main one owns output and log, and
of all that fail the first one tells why.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from am import config, outputs
from am.errors import InputError
from am.executors import Executor, executor_of
from am.parallel.settings import TIMEOUT_MINUTES

if TYPE_CHECKING:
    from am.parallel.process_group import ProcessGroup

log = logging.getLogger("tool")

LOGGED_PACKAGES = ("torch", "lhotse", "kaldifst", "kaldi-decoder", "kaldi-native-fbank")
# A recipe names a file here that appears when a tool did work, so that it times real stages only.
WORK_MARK_VARIABLE = "MEGAHOUR_WORK_MARK"
Settings = TypeVar("Settings")


class _UsageParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nRun {self.prog} without arguments for its usage.\n")


class Tool:
    """A command-line tool: its options, and how it builds its output.

    Args:
        summary: what the tool does, in a sentence or two.
        reads: what it reads, one item a line.
        writes: what it writes, one item a line.
        example: a command line that works after the recipe's earlier stages.
        needs_arguments: False for a tool that works without; its usage is told by ``--help``.
    """

    def __init__(
        self,
        summary: str,
        reads: Iterable[str],
        writes: Iterable[str],
        example: str,
        needs_arguments: bool = True,
    ):
        sections = [("reads", reads), ("writes", writes), ("example", [example])]
        epilog = "\n".join(
            line for name, lines in sections for line in (f"{name}:", *(f"  {x}" for x in lines))
        )
        self.parser = _UsageParser(
            description=summary, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self.parser.add_argument(
            "--redo",
            action="store_true",
            default=os.environ.get("MEGAHOUR_REDO", "") == "true",
            help="do the work again even if the output is up to date",
        )
        self.add_argument = self.parser.add_argument
        self._needs_arguments = needs_arguments
        self._redo = False
        self._is_parallel = False
        self._group: ProcessGroup | None = None

    def add_config(self, default: str | None = None) -> None:
        """Add ``--config FILE.yaml`` and ``--set key=value``, read by :meth:`settings`."""
        self.add_argument("--config", type=Path, default=default, help="settings, a YAML file")
        self.add_argument(
            "--set",
            dest="overrides",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="override one setting of the file; may be given several times",
        )

    def add_jobs(self) -> None:
        """Add ``--jobs N``: how many processes or threads of this machine work side by side."""
        self.add_argument(
            "--jobs", type=positive_int, default=os.cpu_count() or 1, help="processes (%(default)s)"
        )

    def add_executor(self) -> None:
        """Add ``--executor`` and its short form ``--jobs``, an :class:`am.executors.Executor`."""
        group = self.parser.add_mutually_exclusive_group()
        group.add_argument(
            "--executor",
            type=_executor,
            default=f"local:{os.cpu_count() or 1}",
            help="local:N processes, dask:tcp://HOST:PORT, slurm or sge, see docs/clusters.md "
            "(%(default)s)",
        )
        group.add_argument(
            "--jobs",
            dest="executor",
            type=lambda text: executor_of(f"local:{positive_int(text)}"),
            default=argparse.SUPPRESS,
            metavar="N",
            help="short for --executor local:N",
        )

    def add_device(self) -> None:
        """Add ``--device``: where tensors live."""
        self.add_argument(
            "--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)"
        )

    def add_parallel(self) -> None:
        """Add ``--parallel``: torchrun may start the tool (docs/distributed_training.md)."""
        self._is_parallel = True
        self.add_argument(
            "--parallel",
            help="ddp, gtc or bmuf: how the processes train one model, where torchrun starts "
            "several (parallel.method)",
        )
        self.add_argument(
            "--timeout-minutes",
            type=positive_float,
            default=TIMEOUT_MINUTES,
            help="after which a process that does not answer counts as lost (%(default)g)",
        )

    def add_seed(self) -> None:
        """Add ``--seed N``."""
        self.add_argument("--seed", type=int, default=1, help="of random numbers (%(default)s)")

    def add_transforms(self) -> None:
        """Add ``--transforms``: what adapts a GMM to the speakers of the data."""
        self.add_argument(
            "--transforms",
            type=Path,
            help="folder of steps/estimate_fmllr.py, for a speaker-adapted MODEL",
        )

    def add_aligner(self) -> None:
        """Add ``--aligner``: what searches for the best paths."""
        self.add_argument(
            "--aligner",
            choices=("torch", "k2"),
            default="torch",
            help="both find the same paths; k2 needs utils/install_k2.py (%(default)s)",
        )

    def add_named_folders(self, option: str) -> None:
        """Add ``option NAME=FOLDER``, read by :func:`named_folders`."""
        self.add_argument(
            option,
            dest="folders",
            action="append",
            default=[],
            metavar="NAME=FOLDER",
            help="a row of the table; may be given several times",
        )

    @staticmethod
    def settings(settings_class: type[Settings], options: argparse.Namespace) -> Settings:
        """The settings of ``--config``, ``--set`` and ``--parallel`` as ``settings_class``."""
        overrides = list(options.overrides)
        if getattr(options, "parallel", None) is not None:
            overrides.append(f"parallel.method={options.parallel}")
        return config.load_settings(settings_class, options.config, overrides)

    def run(self, main: Callable[[argparse.Namespace], None]) -> NoReturn:
        """Parse the command line, run ``main`` and exit with its status."""
        if self._needs_arguments and len(sys.argv) == 1:
            self.parser.print_help()
            sys.exit(1)
        options = self.parser.parse_args()
        self._redo = options.redo
        started = time.monotonic()
        status = 1
        try:
            if self._is_parallel:
                # Imported here: torch takes a second, and most tools do without.
                from am.parallel.process_group import join

                self._group = join(options.timeout_minutes)
            _start_log(self._group)
            log.info("%s", shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))
            main(options)
            if self._group is not None:
                self._group.leave()
            status = 0
        except InputError as error:
            if self._group is None or self._group.fails_first():
                print(f"{self.parser.prog}: {_one_line(error)}", file=sys.stderr)
        except KeyboardInterrupt:
            status = 130
        except Exception:
            if self._group is not None:
                self._group.fails_first()
            log.exception("%s: this is a fault of the tool, not of its input", self.parser.prog)
        finally:
            if executor := getattr(options, "executor", None):
                executor.close()
        log.info("%s: exit %d after %.1f s", self.parser.prog, status, time.monotonic() - started)
        sys.exit(status)

    def build(
        self,
        output: Path,
        inputs: Iterable[Path | None],
        settings: Mapping[str, Any],
        make: Callable[[Path], object],
        *,
        is_folder: bool = True,
    ) -> None:
        """Build ``output`` with ``make(partial)`` unless it is already up to date.

        Args:
            output: the folder (or file) that will stand when all is done.
            inputs: files and folders the result depends on; a missing one stops the tool.  None
                stands for an option that was not given.
            settings: every option the result depends on (dataclasses as ``asdict``).
            make: writes the whole output to the path it is given.
        """
        given = [path for path in inputs if path is not None]
        for path in given:
            if not path.exists():
                raise InputError(f"{path}: no such file or folder; run the stage that makes it")
        if self._group is not None and not self._group.is_main:
            _help_to_build(self._group, outputs.partial_path(output), make)
            return
        mark = outputs.fingerprint(self.parser.prog, given, settings)
        is_done = not self._redo and outputs.is_done(output, mark)
        if is_done:
            log.info("%s is up to date (--redo does it again)", output)
        else:
            partial = outputs.start_partial(output, mark, is_folder=is_folder)
        if self._group is not None:
            self._group.from_main(is_done)
        if is_done:
            return
        started = time.monotonic()
        with _log_file(partial / "log.txt" if is_folder else None):
            log.info("command: %s", shlex.join(sys.argv))
            log.info("python %s, %s", platform.python_version(), _package_versions())
            try:
                make(partial)
                if self._group is not None:
                    self._group.wait()
            except BaseException as error:
                seconds = time.monotonic() - started
                log.info("failed after %.1f s: %s", seconds, _one_line(error))
                raise
            seconds = round(time.monotonic() - started, 2)
            log.info("done in %.1f s, %s", seconds, output)
        outputs.finish(
            output,
            mark,
            {"command": shlex.join(sys.argv), "settings": dict(settings), "seconds": seconds},
        )
        if work_mark := os.environ.get(WORK_MARK_VARIABLE):
            Path(work_mark).touch()


def _help_to_build(group: ProcessGroup, partial: Path, make: Callable[[Path], object]) -> None:
    """The part of a process that is not the main one in :meth:`Tool.build`."""
    is_done = group.from_main(False)
    if not is_done:
        make(partial)
        group.wait()


def _start_log(group: ProcessGroup | None) -> None:
    """Log to stderr; of several processes the main one, and warnings of all."""
    is_main = group is None or group.is_main
    name = "" if group is None or is_main else f"process {group.rank} "
    logging.basicConfig(
        level=logging.INFO if is_main else logging.WARNING,
        stream=sys.stderr,
        format=f"%(asctime)s {name}%(levelname)s %(message)s",
        datefmt="%H:%M:%S",
    )


@contextlib.contextmanager
def _log_file(path: Path | None) -> Iterator[None]:
    """Everything that is logged also goes to ``path``, after what stands there."""
    if path is None:
        yield
        return
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def named_folders(entries: Iterable[str]) -> dict[str, Path]:
    """Name → folder of ``NAME=FOLDER`` options, in their order.

    Raises:
        InputError: an entry has no name or no ``=``, or a name stands twice.
    """
    folders: dict[str, Path] = {}
    for entry in entries:
        name, separator, folder = entry.rpartition("=")
        if not separator or not name or name in folders:
            raise InputError(f"'{entry}': give NAME=FOLDER, each name once")
        folders[name] = Path(folder)
    return folders


def positive_int(text: str) -> int:
    """An option's value that must be a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, not '{text}'")
    return int(text)


def positive_float(text: str) -> float:
    """An option's value that must be a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not '{text}'")
    return value


def whole_number(text: str) -> int:
    """An option's value that must be a whole number, 0 included."""
    return 0 if text == "0" else positive_int(text)


def _executor(text: str) -> Executor:
    try:
        return executor_of(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _package_versions() -> str:
    versions = []
    for name in LOGGED_PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} (missing)")
    return ", ".join(versions)
