"""The figures that a plan is made from, each with its origin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from am.config import read_yaml_mapping
from am.errors import InputError
from am.parallel.settings import METHODS, Method
from am.scale.exchange import HostCosts, TrainingRound

TRAINING_OPERATIONS, DUMP_OPERATIONS = 6, 2  # for each parameter and frame
GIVEN = "given"
DERIVED = "from worker_operations_a_second and parameters"
# Names of these end alike; 0 stands for one that nobody measured.
SPEED_ENDING = "_frames_a_second"


@dataclass(frozen=True)
class Figure:
    """A number and where it is from.

    Attributes:
        value: in the unit that its name tells.
        origin: the command that measured it, the page or paper it stands in, or that it is assumed.
    """

    value: float
    origin: str


# A bare number was given by who runs the tool.
FigureOrNumber = Figure | float


@dataclass(frozen=True)
class ScaleFigures:
    """What a plan needs to know.  A frame here is one vector of 30 ms, unless its name says 10 ms.

    Attributes:
        audio_bytes_a_second: of a recording on disk.
        feature_bytes_a_10ms_frame, soft_label_bytes_a_frame: on disk.
        feature_hours_an_hour: hours of speech whose features a worker computes in an hour.
        teacher_parameters, student_parameters: of the networks.
        worker_operations_a_second: useful floating-point operations.
        sequence_cost: time of a frame in sequence training over one in cross-entropy training.
        teacher_passes, student_labelled_passes, student_unlabelled_passes, sequence_passes: over
            the data.
        batch_seconds: speech in a batch of each worker.
        sync_interval: batches in a block of bmuf.
        density: share of elements that gtc sends.
        link_bits_a_second, link_latency_seconds: of each worker's connection, one way.
        message_seconds, byte_seconds: see :class:`am.scale.exchange.HostCosts`.
        ddp_work_seconds_a_parameter, gtc_work_seconds_a_parameter, bmuf_work_seconds_a_parameter:
            of a worker, a round.
        teacher_training_frames_a_second, student_training_frames_a_second,
            dump_frames_a_second: of a worker; 0 reckons with ``worker_operations_a_second``:
            training takes 6 for each parameter and frame (2 forward, 4 backward), a dump 2.
    """

    audio_bytes_a_second: FigureOrNumber
    feature_bytes_a_10ms_frame: FigureOrNumber
    soft_label_bytes_a_frame: FigureOrNumber
    feature_hours_an_hour: FigureOrNumber
    teacher_parameters: FigureOrNumber
    student_parameters: FigureOrNumber
    worker_operations_a_second: FigureOrNumber
    sequence_cost: FigureOrNumber
    teacher_passes: FigureOrNumber
    student_labelled_passes: FigureOrNumber
    student_unlabelled_passes: FigureOrNumber
    sequence_passes: FigureOrNumber
    batch_seconds: FigureOrNumber
    sync_interval: FigureOrNumber
    density: FigureOrNumber
    link_bits_a_second: FigureOrNumber
    link_latency_seconds: FigureOrNumber
    message_seconds: FigureOrNumber
    byte_seconds: FigureOrNumber
    ddp_work_seconds_a_parameter: FigureOrNumber
    gtc_work_seconds_a_parameter: FigureOrNumber
    bmuf_work_seconds_a_parameter: FigureOrNumber
    teacher_training_frames_a_second: FigureOrNumber = 0.0
    student_training_frames_a_second: FigureOrNumber = 0.0
    dump_frames_a_second: FigureOrNumber = 0.0

    def __post_init__(self) -> None:
        for name in figure_names():
            value = self.value(name)
            may_be_zero = name in MAY_BE_ZERO or name.endswith(SPEED_ENDING)
            if not (0.0 <= value < math.inf) or (value == 0.0 and not may_be_zero):
                least = "at least" if may_be_zero else "above"
                raise InputError(f"figures: {name} must be {least} 0 and finite, not {value:g}")

    def value(self, name: str) -> float:
        """Of a figure."""
        figure = getattr(self, name)
        return figure.value if isinstance(figure, Figure) else float(figure)

    def origin(self, name: str) -> str:
        """Of a figure."""
        figure = getattr(self, name)
        if name.endswith(SPEED_ENDING) and self.value(name) == 0.0:
            return DERIVED
        return figure.origin if isinstance(figure, Figure) else GIVEN

    def host_costs(self, parameters: float) -> HostCosts:
        """Of a network's exchanges, each worker with cores of its own."""
        work: dict[Method, float] = {
            method: parameters * self.value(work_name(method)) for method in METHODS
        }
        return HostCosts(self.value("message_seconds"), self.value("byte_seconds"), work)


MAY_BE_ZERO = frozenset(
    ["link_latency_seconds", "message_seconds", "byte_seconds", "feature_bytes_a_10ms_frame"]
    + ["teacher_passes", "student_labelled_passes", "sequence_passes"]
    + [f"{method}_work_seconds_a_parameter" for method in METHODS]
)


def figure_names() -> list[str]:
    """In their order."""
    return [field.name for field in fields(ScaleFigures)]


def work_name(method: Method) -> str:
    """The figure of a method's work."""
    return f"{method}_work_seconds_a_parameter"


def figures_of_network(
    training: TrainingRound, host: HostCosts, frames: int, origin: str
) -> dict[str, Figure]:
    """What benchmarks/network.sh found, by name.

    Args:
        training: what was exchanged.
        host: its costs.
        frames: of a batch.
        origin: the command.
    """
    values = {"message_seconds": host.message, "byte_seconds": host.byte}
    operations = TRAINING_OPERATIONS * training.parameters * frames / training.compute
    values["worker_operations_a_second"] = operations
    values |= {
        work_name(method): seconds / training.parameters for method, seconds in host.work.items()
    }
    return {name: Figure(float(f"{value:.4g}"), origin) for name, value in values.items()}


def write_figures(path: Path, figures: Mapping[str, Figure]) -> None:
    """As YAML: name, value, origin."""
    content = {name: {"value": one.value, "origin": one.origin} for name, one in figures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=1000), encoding="utf-8")


def as_overrides(path: Path) -> list[str]:
    """The figures of a file as ``name=value`` of ``--set``, which stand above those of --config."""
    entries = read_yaml_mapping(path)
    return [
        f"figures.{name}={yaml.safe_dump(value, default_flow_style=True, width=10000).strip()}"
        for name, value in entries.items()
    ]
