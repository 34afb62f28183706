"""The numbers of :mod:`am.scale.exchange` from measurements, and how well they foretell others.

One rank of each method gives its work, two ranks with whole gradients on the fastest link the
processor's time for a byte, and an exchange of next to nothing that for a message.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from am.errors import InputError
from am.parallel.settings import Method
from am.scale.exchange import HostCosts, Link, TrainingRound, traffic_of

CALIBRATING_RANKS: int = 2
CALIBRATING_METHOD: Method = "ddp"


@dataclass(frozen=True)
class Measurement:
    """Rounds of one setting.

    Attributes:
        method: ddp, gtc or bmuf.
        ranks: that trained together.
        bits_a_second: of each rank's link.
        seconds: of a round, the median.
        empty_exchange_seconds: a gather of next to nothing, the median.
    """

    method: Method
    ranks: int
    bits_a_second: float
    seconds: float
    empty_exchange_seconds: float


def calibrate(
    measurements: Sequence[Measurement], training: TrainingRound, shared_cores: int | None
) -> tuple[HostCosts, list[Measurement]]:
    """What the machines cost, and the measurements that told it.

    Raises:
        InputError: a method's rank alone, or the pair with whole gradients, was not measured.
    """
    alone = {one.method: one for one in measurements if one.ranks == 1}
    pairs = [
        one
        for one in measurements
        if (one.ranks, one.method) == (CALIBRATING_RANKS, CALIBRATING_METHOD)
    ]
    if not pairs or {one.method for one in measurements} - set(alone):
        raise InputError(
            f"measurements: the model needs each method with 1 rank, and {CALIBRATING_METHOD} "
            f"with {CALIBRATING_RANKS}; add them to --ranks and --methods"
        )
    pair = max(pairs, key=lambda one: one.bits_a_second)
    work = {
        method: max(one.seconds - training.batches(method) * training.compute, 0.0)
        for method, one in alone.items()
    }
    steps = CALIBRATING_RANKS - 1  # of a gather
    host = HostCosts(pair.empty_exchange_seconds / steps, 0.0, work, shared_cores)
    unlimited = Link(math.inf)
    left = pair.seconds - training.seconds(pair.method, pair.ranks, unlimited, host)
    traffic = traffic_of(pair.method, pair.ranks, training.parameters, training.density)
    byte = max(left, 0.0) / (traffic.num_bytes * host.crowding(pair.ranks))
    return dataclasses.replace(host, byte=byte), [*alone.values(), pair]


def predicted_seconds(one: Measurement, training: TrainingRound, host: HostCosts) -> float:
    """Of a round, by the model."""
    return training.seconds(one.method, one.ranks, Link(one.bits_a_second), host)
