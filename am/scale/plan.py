"""Disk, compute, traffic and time of a whole recipe, for some hours of speech and some workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from am.errors import InputError
from am.parallel.settings import METHODS, Method
from am.scale.exchange import Link, TrainingRound, traffic_of
from am.scale.figures import DUMP_OPERATIONS, TRAINING_OPERATIONS, ScaleFigures

SECONDS_AN_HOUR = 3600
FRAMES_A_SECOND = 1 / 0.03
FRAMES_10MS_A_SECOND = 100
WORKER_COUNTS = (1, 2, 4, 8, 16, 32, 64)
SEQUENCE_METHOD: Method = "gtc"


@dataclass(frozen=True)
class PlanSettings:
    """What is planned.

    Attributes:
        figures: of the machines and the recipe.
        unlabelled_hours: of speech, a plan for each.
        labelled_hours: of speech, one for each of ``unlabelled_hours``.
        workers: that extract, dump and train.
        method: of cross-entropy training; sequence training has gtc, as in the paper.
    """

    figures: ScaleFigures
    unlabelled_hours: tuple[float, ...] = (100.0, 10_000.0, 1_000_000.0)
    labelled_hours: tuple[float, ...] = (10.0, 1_000.0, 7_000.0)
    workers: int = 16
    method: Method = "bmuf"

    def __post_init__(self) -> None:
        if len(self.labelled_hours) != len(self.unlabelled_hours) or not self.labelled_hours:
            raise InputError(
                f"unlabelled_hours has {len(self.unlabelled_hours)} values and labelled_hours "
                f"{len(self.labelled_hours)}; give one of each for every plan"
            )
        for hours in (*self.labelled_hours, *self.unlabelled_hours):
            if not 0.0 < hours < 1e12:
                raise InputError(f"hours of speech must be above 0, not {hours:g}")
        if len(set(self.unlabelled_hours)) < len(self.unlabelled_hours):
            raise InputError("unlabelled_hours: a value stands twice; give each once")
        if self.workers < 1:
            raise InputError(f"workers must be at least 1, not {self.workers}")


@dataclass(frozen=True)
class Disk:
    """Bytes."""

    audio: float
    features: float
    soft_labels: float

    @property
    def total(self) -> float:
        """Of all."""
        return self.audio + self.features + self.soft_labels


@dataclass(frozen=True)
class Stage:
    """One stage of the recipe.

    Attributes:
        number, name: as ``run.sh`` has them.
        worker_hours: of compute, were there one worker and no exchange.
        hours: of wall-clock time, of all workers together.
        efficiency: worker hours over workers × hours.
        sent: bytes that each worker sends.
    """

    number: int
    name: str
    worker_hours: float
    hours: float
    efficiency: float
    sent: float


@dataclass(frozen=True)
class Plan:
    """For some hours of speech."""

    labelled_hours: float
    unlabelled_hours: float
    disk: Disk
    stages: tuple[Stage, ...]

    @property
    def worker_hours(self) -> float:
        """Of all stages."""
        return sum(stage.worker_hours for stage in self.stages)

    @property
    def hours(self) -> float:
        """Of wall-clock time, one stage after the other."""
        return sum(stage.hours for stage in self.stages)


@dataclass(frozen=True)
class Efficiency:
    """The student's cross-entropy training with some workers.

    Attributes:
        method, workers: of it.
        speed_up: over one worker that exchanges nothing.
        bytes_a_batch: that each worker sends.
    """

    method: Method
    workers: int
    speed_up: float
    bytes_a_batch: float


def speed_of(figures: ScaleFigures, network: str) -> float:
    """Frames a second of a worker that trains ``teacher`` or ``student``."""
    measured = figures.value(f"{network}_training_frames_a_second")
    operations = TRAINING_OPERATIONS * figures.value(f"{network}_parameters")
    return measured or figures.value("worker_operations_a_second") / operations


def dump_speed_of(figures: ScaleFigures) -> float:
    """Frames a second of a worker that dumps the teacher's soft labels."""
    measured = figures.value("dump_frames_a_second")
    operations = DUMP_OPERATIONS * figures.value("teacher_parameters")
    return measured or figures.value("worker_operations_a_second") / operations


def training_round(figures: ScaleFigures, network: str, cost: float = 1.0) -> TrainingRound:
    """A worker's part of a training; ``cost`` multiplies the time of a frame."""
    frames = figures.value("batch_seconds") * FRAMES_A_SECOND
    return TrainingRound(
        figures.value(f"{network}_parameters"),
        cost * frames / speed_of(figures, network),
        max(1, round(figures.value("sync_interval"))),
        figures.value("density"),
    )


def link_of(figures: ScaleFigures) -> Link:
    """A worker's."""
    return Link(figures.value("link_bits_a_second"), figures.value("link_latency_seconds"))


def disk_of(figures: ScaleFigures, labelled_hours: float, unlabelled_hours: float) -> Disk:
    """Features and audio of all speech, soft labels of the unlabelled."""
    seconds = SECONDS_AN_HOUR * (labelled_hours + unlabelled_hours)
    unlabelled_frames = SECONDS_AN_HOUR * unlabelled_hours * FRAMES_A_SECOND
    return Disk(
        seconds * figures.value("audio_bytes_a_second"),
        seconds * FRAMES_10MS_A_SECOND * figures.value("feature_bytes_a_10ms_frame"),
        unlabelled_frames * figures.value("soft_label_bytes_a_frame"),
    )


def plan_for(settings: PlanSettings, labelled_hours: float, unlabelled_hours: float) -> Plan:
    """The plan for some hours of speech."""
    figures = settings.figures
    return Plan(
        labelled_hours,
        unlabelled_hours,
        disk_of(figures, labelled_hours, unlabelled_hours),
        tuple(_stages(settings, labelled_hours, unlabelled_hours)),
    )


def plans_of(settings: PlanSettings) -> list[Plan]:
    """One for each pair of hours."""
    pairs = zip(settings.labelled_hours, settings.unlabelled_hours, strict=True)
    return [plan_for(settings, labelled, unlabelled) for labelled, unlabelled in pairs]


def _stages(settings: PlanSettings, labelled: float, unlabelled: float) -> Iterator[Stage]:
    figures, workers = settings.figures, settings.workers
    value = figures.value
    all_hours = labelled + unlabelled
    student_hours = (
        value("student_labelled_passes") * labelled
        + value("student_unlabelled_passes") * unlabelled
    )
    sequence_hours = value("sequence_passes") * labelled
    yield _apart(2, "features", all_hours / value("feature_hours_an_hour"), workers)
    yield _trained(7, "teacher", settings, "teacher", value("teacher_passes") * labelled)
    yield _trained(8, "teacher, sMBR", settings, "teacher", sequence_hours, is_sequence=True)
    dumped = unlabelled * FRAMES_A_SECOND / dump_speed_of(figures)
    yield _apart(10, "soft labels", dumped, workers)
    yield _trained(12, "student", settings, "student", student_hours)
    yield _trained(13, "student, sMBR", settings, "student", sequence_hours, is_sequence=True)


def _apart(number: int, name: str, worker_hours: float, workers: int) -> Stage:
    """A stage whose workers do not talk to one another."""
    return Stage(number, name, worker_hours, worker_hours / workers, 1.0, 0.0)


def _trained(
    number: int,
    name: str,
    settings: PlanSettings,
    network: str,
    hours_of_speech: float,
    is_sequence: bool = False,
) -> Stage:
    figures, workers = settings.figures, settings.workers
    method = SEQUENCE_METHOD if is_sequence else settings.method
    training = training_round(
        figures, network, figures.value("sequence_cost") if is_sequence else 1.0
    )
    batches = hours_of_speech * SECONDS_AN_HOUR / figures.value("batch_seconds")
    worker_hours = batches * training.compute / SECONDS_AN_HOUR
    host = figures.host_costs(training.parameters)
    speed_up = training.speed_up(method, workers, link_of(figures), host) if workers > 1 else 1.0
    traffic = traffic_of(method, workers, training.parameters, training.density)
    rounds = batches / workers / training.batches(method)
    return Stage(
        number,
        name,
        worker_hours,
        worker_hours / speed_up,
        speed_up / workers,
        rounds * traffic.num_bytes,
    )


def efficiencies(figures: ScaleFigures, counts: Sequence[int] = WORKER_COUNTS) -> list[Efficiency]:
    """Of the student, each method with 1 … 64 workers."""
    training = training_round(figures, "student")
    host, link = figures.host_costs(training.parameters), link_of(figures)
    found = []
    for method, workers in itertools.product(METHODS, counts):
        traffic = traffic_of(method, workers, training.parameters, training.density)
        speed_up = training.speed_up(method, workers, link, host) if workers > 1 else 1.0
        sent = traffic.num_bytes / training.batches(method)
        found.append(Efficiency(method, workers, speed_up, sent))
    return found
