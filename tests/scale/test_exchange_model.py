"""The model of exchanges: closed forms, limits, monotony; and the numbers it is calibrated to."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from am.errors import InputError
from am.parallel.settings import METHODS
from am.parallel.threshold_message import HEADER_WORDS
from am.scale.calibration import Measurement, calibrate, predicted_seconds
from am.scale.exchange import (
    PAYLOAD_SHARE,
    HostCosts,
    Link,
    TrainingRound,
    all_reduce,
    traffic_of,
)
from am.scale.network_table import network_table, rate_name

FREE = HostCosts(0.0, 0.0, {})
NO_LIMIT = Link(math.inf)
STUDENT = TrainingRound(parameters=24.3e6, compute=2.0, sync_interval=50)
METHOD = st.sampled_from(METHODS)
RANKS = st.integers(1, 64)
LINKS = st.builds(Link, st.floats(1e5, 1e12), st.floats(0, 0.1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ranks", [1, 2, 7, 64])
def test_without_a_network_there_is_only_compute(method, ranks) -> None:
    batches = 50 if method == "bmuf" else 1
    assert STUDENT.seconds(method, ranks, NO_LIMIT, FREE) == pytest.approx(2.0 * batches)
    assert STUDENT.speed_up(method, ranks, NO_LIMIT, FREE) == pytest.approx(ranks)


@pytest.mark.parametrize("ranks", [2, 4, 64])
def test_without_compute_there_is_only_the_wire(ranks) -> None:
    bare = dataclasses.replace(STUDENT, compute=0.0)
    payload_bits = 32 * 24.3e6 * 2 * (ranks - 1) / ranks
    seconds = payload_bits / (PAYLOAD_SHARE * 1e9)
    assert bare.seconds("ddp", ranks, Link(1e9), FREE) == pytest.approx(seconds)
    assert bare.speed_up("ddp", ranks, Link(1e9), FREE) == 0.0


def test_a_figure_checked_by_hand() -> None:
    # 4 ranks, 1 M values of 4 bytes: 6 MB each; 48 Mbit at 95.6 Mbit/s; 6 steps of 10 ms.
    one = TrainingRound(parameters=1e6, compute=1.0)
    host = HostCosts(0.004, 1e-9, {"ddp": 0.1}, shared_cores=2)
    expected = 1.0 + 0.1 * 2 + 6 * (0.006 + 0.004) + 48 / (100 * 1448 / 1514)
    assert one.seconds("ddp", 4, Link(100e6, 0.006), host) == pytest.approx(expected)
    # On a fast link the processors are slower than the wire: 6 MB, 1 ns a byte, two ranks a core.
    on_fast = 1.0 + 0.1 * 2 + 6 * (0.006 + 0.004) + 0.012
    assert one.seconds("ddp", 4, Link(1e12, 0.006), host) == pytest.approx(on_fast)


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_ring_all_reduce_step_by_step(ranks) -> None:
    """Ranks that pass on parts until each has the sum of all."""
    held = [[{(rank, part)} for part in range(ranks)] for rank in range(ranks)]
    steps = sent = 0
    for offset in [*range(ranks - 1), *range(ranks - 1)]:
        parts = [(rank - offset + (steps >= ranks - 1)) % ranks for rank in range(ranks)]
        passed = [held[rank][part] for rank, part in enumerate(parts)]
        for rank in range(ranks):
            held[(rank + 1) % ranks][parts[rank]] = (
                held[(rank + 1) % ranks][parts[rank]] | passed[rank]
            )
        steps, sent = steps + 1, sent + 1
    wanted = [{(rank, part) for rank in range(ranks)} for part in range(ranks)]
    assert all(row == wanted for row in held)
    traffic = all_reduce(ranks, ranks * 10.0)
    assert (traffic.steps, traffic.num_bytes) == (steps, pytest.approx(sent * 10.0))


def test_gtc_sends_what_its_messages_hold() -> None:
    values, density = 1_000_000, 0.005
    words = HEADER_WORDS + density * values
    sent = traffic_of("gtc", 4, values, density).num_bytes
    assert sent == pytest.approx(3 * 4 * words, rel=0.01)
    # Half of all elements are sent as bitmaps: an element a bit, and a sign for each that is sent.
    assert traffic_of("gtc", 2, values, 0.5).num_bytes == pytest.approx(1.5 * values / 8, rel=0.01)


@settings(max_examples=40)
@given(METHOD, RANKS, LINKS, st.floats(1.0, 10.0))
def test_more_of_anything_takes_no_less_time(method, ranks, link, factor) -> None:
    host = HostCosts(1e-4, 1e-9, dict.fromkeys(METHODS, 0.01), shared_cores=2)
    seconds = STUDENT.seconds(method, ranks, link, host)
    slack = 1e-9 * seconds
    slower = Link(link.bits_a_second / factor, link.latency * factor)
    larger = dataclasses.replace(STUDENT, parameters=STUDENT.parameters * factor)
    assert STUDENT.seconds(method, ranks, slower, host) >= seconds - slack
    assert STUDENT.seconds(method, ranks + 1, link, host) >= seconds - slack
    assert larger.seconds(method, ranks, link, host) >= seconds - slack
    assert 0.0 < STUDENT.speed_up(method, ranks, link, host) <= ranks


def test_bad_values_are_told_in_one_line() -> None:
    for make in (
        lambda: Link(0.0),
        lambda: Link(math.nan),
        lambda: Link(1e9, -1.0),
        lambda: HostCosts(-1.0, 0.0, {}),
        lambda: TrainingRound(0.0, 1.0),
        lambda: TrainingRound(1.0, math.inf),
        lambda: TrainingRound(1.0, 1.0, sync_interval=0),
        lambda: STUDENT.seconds("ddp", 0, NO_LIMIT, FREE),
    ):
        with pytest.raises(InputError) as caught:
            make()
        assert "\n" not in str(caught.value)


TRUE_HOST = HostCosts(2e-3, 3e-9, {"ddp": 0.2, "gtc": 0.3, "bmuf": 0.25}, shared_cores=2)
SMALL = TrainingRound(parameters=5e6, compute=0.5, sync_interval=3)


def made_up_measurements(error_of_last: float = 1.0) -> list[Measurement]:
    """What the model itself foretells, the last one off by a factor."""
    found = []
    for ranks in (1, 2, 4):
        for rate in (10e9, 1e9, 100e6)[: 1 if ranks == 1 else None]:
            for method in METHODS:
                seconds = SMALL.seconds(method, ranks, Link(rate), TRUE_HOST)
                found.append(Measurement(method, ranks, rate, seconds, 2e-3))
    last = found[-1]
    return [*found[:-1], dataclasses.replace(last, seconds=last.seconds * error_of_last)]


def test_calibration_finds_the_costs_again() -> None:
    measurements = made_up_measurements()
    host, used = calibrate(measurements, SMALL, shared_cores=2)
    assert len(used) == 4
    assert host.message == pytest.approx(TRUE_HOST.message)
    assert host.byte == pytest.approx(TRUE_HOST.byte)
    assert host.work == pytest.approx(TRUE_HOST.work)
    for one in measurements:
        assert predicted_seconds(one, SMALL, host) == pytest.approx(one.seconds)


def test_calibration_says_what_it_lacks() -> None:
    whole = made_up_measurements()
    for lacking in (
        [one for one in whole if one.ranks > 1],
        [one for one in whole if one.ranks != 2],
        [one for one in whole if one.method != "ddp"],
    ):
        with pytest.raises(InputError, match="with 1 rank, and ddp with 2"):
            calibrate(lacking, SMALL, 2)


def test_table_of_measurements_and_predictions() -> None:
    lines, _ = network_table(made_up_measurements(), SMALL, frames=100, shared_cores=2)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:-2]]
    assert len(rows) == 21
    assert [row[5] for row in rows].count("calibrates") == 4
    ddp_alone = rows[0]
    assert ddp_alone[:3] == ["ddp", "1", ""]
    assert float(ddp_alone[3]) == pytest.approx(100 / 0.7, abs=0.05)
    assert ddp_alone[6] == "29 %"  # 0.2 of 0.7 s
    assert rows[-1][:3] == ["bmuf", "4", "100 Mbit/s"]
    assert "Largest error of 17 predictions" in lines[-1] and lines[-1].endswith("Within 15 %.")


def test_table_owns_up_to_a_bad_prediction() -> None:
    lines, _ = network_table(made_up_measurements(1.3), SMALL, frames=100, shared_cores=2)
    assert "+30.0 %" in lines[-1] and "1 of them are off by more than 15 %" in lines[-1]
    assert "| +30.0 % |" in lines[-3]


def test_rates_for_readers() -> None:
    assert [rate_name(rate) for rate in (10e9, 1e9, 1e8, 5e4)] == [
        "10 Gbit/s",
        "1 Gbit/s",
        "100 Mbit/s",
        "50 kbit/s",
    ]
