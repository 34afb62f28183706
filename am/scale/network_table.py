"""Measurements of benchmarks/network.sh beside the model's predictions, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from am.scale.calibration import Measurement, calibrate, predicted_seconds
from am.scale.exchange import HostCosts, TrainingRound

WANTED_ERROR = 0.15
HEAD = (
    "| method | ranks | link | frames/s | predicted | error of time | share of exchange and work |"
)
RULE = "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
UNITS = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"))


def rate_name(bits_a_second: float) -> str:
    """A link's rate for a reader."""
    for size, unit in UNITS:
        if bits_a_second >= size:
            return f"{bits_a_second / size:g} {unit}"
    return f"{bits_a_second:g} bit/s"


def network_table(
    measurements: Sequence[Measurement],
    training: TrainingRound,
    frames: int,
    shared_cores: int | None,
) -> tuple[list[str], HostCosts]:
    """The lines of the table with its verdict, and what the machines cost.

    Args:
        measurements: of all settings.
        training: what they had in common.
        frames: of a batch.
        shared_cores: as of :class:`am.scale.exchange.HostCosts`.

    Raises:
        InputError: the measurements do not suffice for the model.
    """
    host, used = calibrate(measurements, training, shared_cores)
    lines, errors = [HEAD, RULE], []
    for one in measurements:
        batches = one.ranks * training.batches(one.method)
        predicted = predicted_seconds(one, training, host)
        error = one.seconds / predicted - 1.0
        if one not in used:
            errors.append(error)
        shown = "calibrates" if one in used else f"{100 * error:+.1f} %"
        beside = 1.0 - training.batches(one.method) * training.compute / one.seconds
        link = rate_name(one.bits_a_second) if one.ranks > 1 else ""
        speeds = [frames * batches / seconds for seconds in (one.seconds, predicted)]
        lines.append(
            f"| {one.method} | {one.ranks} | {link} | {speeds[0]:.1f} | {speeds[1]:.1f} "
            f"| {shown} | {100 * beside:.0f} % |"
        )
    return [*lines, "", *_verdict(errors)], host


def _verdict(errors: Sequence[float]) -> list[str]:
    if not errors:
        return ["Nothing was left to predict."]
    largest = 100 * max(errors, key=abs)
    wanted = f"{100 * WANTED_ERROR:g} %"
    beyond = sum(abs(error) > WANTED_ERROR for error in errors)
    return [
        f"Largest error of {len(errors)} predictions: {largest:+.1f} % of the predicted time. "
        + (f"{beyond} of them are off by more than {wanted}." if beyond else f"Within {wanted}.")
    ]
