"""How long a training's exchanges take: a model of few numbers, each of them measured or given.

A round is what comes between two exchanges and the exchange itself: an update of ddp and gtc, a
block of bmuf.  It lasts::

    batches × compute + work × crowding + exchange
    exchange = steps × (latency + message) + max(bytes / rate, bytes × host × crowding)

with steps the messages that wait for one another, bytes what a rank sends (and receives), host the
processor's time for one of them, and crowding the ranks a core where ranks share cores.

Units: seconds, bytes, bits a second of a link's one direction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from am.errors import InputError
from am.parallel.settings import METHODS, Method

BITS_A_BYTE = 8
BYTES_A_VALUE = 4
# Of an Ethernet frame of 1,514 bytes TCP carries 1,448 (IPv4, time stamps).
PAYLOAD_SHARE = 1448 / 1514
# gtc: frames, loss and bad batches of the ranks, summed; bmuf: its counters.
GTC_TOTALS_BYTES, BLOCK_COUNTERS_BYTES, LENGTH_BYTES = 24, 40, 8


@dataclass(frozen=True)
class Link:
    """A rank's connection to all others, the same in both directions.

    Attributes:
        bits_a_second: may be infinite.
        latency: one way.
    """

    bits_a_second: float
    latency: float = 0.0

    def __post_init__(self) -> None:
        if not self.bits_a_second > 0.0:
            raise InputError(f"link: bits_a_second must be above 0, not {self.bits_a_second:g}")
        if not 0.0 <= self.latency < math.inf:
            raise InputError(f"link: latency must be at least 0 seconds, not {self.latency:g}")

    def seconds(self, num_bytes: float) -> float:
        """That payload takes on the wire."""
        return num_bytes * BITS_A_BYTE / (self.bits_a_second * PAYLOAD_SHARE)


@dataclass(frozen=True)
class Traffic:
    """Of one exchange.

    Attributes:
        steps: messages that wait for one another.
        num_bytes: that each rank sends.
    """

    steps: int
    num_bytes: float

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.steps + other.steps, self.num_bytes + other.num_bytes)


def all_reduce(ranks: int, num_bytes: float) -> Traffic:
    """gloo's ring: each rank passes on N − 1 parts of the sums, then N − 1 parts of the total."""
    return Traffic(2 * (ranks - 1), 2 * (ranks - 1) / ranks * num_bytes)


def all_gather(ranks: int, num_bytes: float) -> Traffic:
    """gloo's ring: each rank passes on N − 1 tensors."""
    return Traffic(ranks - 1, (ranks - 1) * num_bytes)


def all_broadcast(ranks: int, num_bytes: float) -> Traffic:
    """Every rank's message to all others at the same time, each through a binomial tree."""
    return Traffic(math.ceil(math.log2(ranks)), (ranks - 1) * num_bytes)


def traffic_of(method: Method, ranks: int, parameters: float, density: float) -> Traffic:
    """What a round exchanges (:mod:`am.parallel`).

    Args:
        method: how gradients or models are joined.
        ranks: N, at least 1; one alone exchanges nothing.
        parameters: of the network, float32.
        density: share of a gradient's elements that gtc sends, a word each.
    """
    if ranks == 1:
        return Traffic(0, 0.0)
    values = parameters * BYTES_A_VALUE
    if method == "ddp":
        return all_reduce(ranks, values)
    if method == "bmuf":
        return all_gather(ranks, BLOCK_COUNTERS_BYTES) + all_reduce(ranks, values)
    # From one element in 32 on a bitmap is shorter, a bit an element and one for each that is sent.
    message = values * min(density, (1.0 + density) / 32)
    lengths = all_gather(ranks, LENGTH_BYTES)
    return all_reduce(ranks, GTC_TOTALS_BYTES) + lengths + all_broadcast(ranks, message)


@dataclass(frozen=True)
class HostCosts:
    """What the machines take, whatever the link.

    Attributes:
        message: seconds of software for a message, beside the link's latency.
        byte: seconds of a core for a byte that a rank sends and the one that it receives.
        work: method → seconds of a core a round for copying, compressing and filtering.
        shared_cores: that all ranks share; None where each has its own.
    """

    message: float
    byte: float
    work: Mapping[Method, float]
    shared_cores: int | None = None

    def __post_init__(self) -> None:
        values = [("message", self.message), ("byte", self.byte), *self.work.items()]
        for name, value in values:
            if not 0.0 <= value < math.inf:
                raise InputError(f"host costs: {name} must be at least 0 seconds, not {value:g}")

    def crowding(self, ranks: int) -> float:
        """Ranks a core, at least 1."""
        return 1.0 if self.shared_cores is None else max(1.0, ranks / self.shared_cores)


@dataclass(frozen=True)
class TrainingRound:
    """What a rank trains on, and how the ranks join.

    Attributes:
        parameters: of the network.
        compute: seconds of a batch's forward and backward pass and update.
        sync_interval: batches of a block of bmuf.
        density: of gtc.
    """

    parameters: float
    compute: float
    sync_interval: int = 50
    density: float = 0.005

    def __post_init__(self) -> None:
        if not self.parameters > 0.0:
            raise InputError(f"parameters must be above 0, not {self.parameters:g}")
        if not 0.0 <= self.compute < math.inf:
            raise InputError(f"compute must be at least 0 seconds, not {self.compute:g}")
        if self.sync_interval < 1 or not 0.0 < self.density <= 1.0:
            raise InputError("sync_interval must be at least 1, and density in 0 … 1")

    def batches(self, method: Method) -> int:
        """Of each rank in a round."""
        return self.sync_interval if method == "bmuf" else 1

    def seconds(self, method: Method, ranks: int, link: Link, host: HostCosts) -> float:
        """Of a round."""
        if method not in METHODS or ranks < 1:
            raise InputError(
                f"{ranks} ranks, {method}: give at least one, and one of {', '.join(METHODS)}"
            )
        crowding = host.crowding(ranks)
        alone = self.batches(method) * self.compute + host.work.get(method, 0.0) * crowding
        return alone + self.exchange_seconds(method, ranks, link, host)

    def exchange_seconds(self, method: Method, ranks: int, link: Link, host: HostCosts) -> float:
        """Of a round's messages."""
        traffic = traffic_of(method, ranks, self.parameters, self.density)
        moved = traffic.num_bytes * host.byte * host.crowding(ranks)
        waited = traffic.steps * (link.latency + host.message)
        return waited + max(link.seconds(traffic.num_bytes), moved)

    def speed_up(self, method: Method, ranks: int, link: Link, host: HostCosts) -> float:
        """Batches a second of all ranks over those of a rank that has nothing but its batches."""
        seconds = self.seconds(method, ranks, link, host)
        alone = self.batches(method) * self.compute
        return ranks * alone / seconds if seconds > 0.0 else float(ranks)
