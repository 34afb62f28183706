#!/usr/bin/env python3
"""What benchmarks/network.sh calls: starts ranks in its namespaces, and prints the table.

Without that script there are no namespaces; its head tells the options.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from am.config import read_yaml_mapping, settings_from_mapping
from am.errors import InputError
from am.parallel.settings import METHODS
from am.scale.calibration import CALIBRATING_METHOD, CALIBRATING_RANKS, Measurement
from am.scale.exchange import TrainingRound
from am.scale.figures import figures_of_network, write_figures
from am.scale.network_table import network_table

if TYPE_CHECKING:
    from am.nnet.lstm import LstmSettings

INPUT_DIM = 192
PORT = 29500
BITS = {"gbit": 1e9, "mbit": 1e6, "kbit": 1e3}
# A bucket holds a millisecond of the rate, and at least a few of the largest packets.
BURST_SECONDS, LEAST_BURST, QUEUE_BYTES = 1e-3, 256 * 1024, 4 * 2**20
CORES = len(os.sched_getaffinity(0))


class Ranks:
    """Processes in namespaces that do the same jobs together."""

    def __init__(self, namespace: str, size: int):
        self._namespace = namespace
        self._processes = [self._start(rank, size) for rank in range(size)]

    def _start(self, rank: int, size: int) -> subprocess.Popen[str]:
        variables = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": size,
            "MASTER_ADDR": "10.77.0.1",
            "MASTER_PORT": PORT,
            "GLOO_SOCKET_IFNAME": "link0",
            "OMP_NUM_THREADS": 1,
            "TORCH_CPP_LOG_LEVEL": "ERROR",
        }
        script = str(Path(__file__).with_name("network_rank.py"))
        return subprocess.Popen(
            ["ip", "netns", "exec", f"{self._namespace}-{rank}", sys.executable, script],
            env=os.environ | {name: str(value) for name, value in variables.items()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def throttle(self, rate: str) -> None:
        """Set the rate of all links, both ways."""
        burst = max(LEAST_BURST, int(bits_a_second(rate) / 8 * BURST_SECONDS))
        for rank in range(len(self._processes)):
            for namespace, device in ((rank, "link0"), ("switch", f"port{rank}")):
                subprocess.run(
                    ["tc", "-n", f"{self._namespace}-{namespace}", "qdisc", "replace", "dev",
                     device, "root", "tbf", "rate", rate, "burst", str(burst),
                     "limit", str(QUEUE_BYTES + burst)],
                    check=True,
                )  # fmt: skip

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """What the main rank answers."""
        for process in self._processes:
            print(json.dumps(job), file=process.stdin, flush=True)
        answer = self._processes[0].stdout.readline()
        if not answer:
            raise InputError(f"{job['method']}: a rank ended early; its own message stands above")
        return json.loads(answer)

    def end(self) -> None:
        """When there are no more jobs."""
        for process in self._processes:
            process.stdin.close()
        for process in self._processes:
            process.wait()

    def kill(self) -> None:
        """Those that still run."""
        for process in self._processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def ranks_of(namespace: str, size: int) -> Iterator[Ranks]:
    """So many ranks, ended afterwards."""
    ranks = Ranks(namespace, size)
    try:
        yield ranks
        ranks.end()
    finally:
        ranks.kill()


def bits_a_second(rate: str) -> float:
    """Of a rate as tc writes it."""
    for unit, bits in BITS.items():
        with contextlib.suppress(ValueError):
            if rate.endswith(unit) and (value := float(rate.removesuffix(unit))) > 0:
                return value * bits
    raise InputError(f"--rates {rate}: give a number with gbit, mbit or kbit, such as 100mbit")


def lstm_of(config: Path, parameters: int, senones: int) -> tuple["LstmSettings", int]:
    """The network and its size; with wanted parameters, of as many cells as they take."""
    section = read_yaml_mapping(config).get("lstm")
    if section is None:
        raise InputError(f"{config}: no section lstm; give a training's settings")
    # Imported here: torch takes a second, and options are wrong more often than not.
    from am.nnet.lstm import LstmSettings

    lstm = settings_from_mapping(LstmSettings, section, f"{config}: lstm")
    fewest, most = 1, 8192
    while parameters and fewest < most:
        cells = (fewest + most) // 2
        is_enough = num_parameters(dataclasses.replace(lstm, cells=cells), senones) >= parameters
        fewest, most = (fewest, cells) if is_enough else (cells + 1, most)
    lstm = dataclasses.replace(lstm, cells=fewest) if parameters else lstm
    return lstm, num_parameters(lstm, senones)


def num_parameters(lstm: "LstmSettings", senones: int) -> int:
    """Of a network that is never made."""
    import torch

    from am.nnet.lstm import AcousticModel

    with torch.device("meta"):
        return AcousticModel(lstm, INPUT_DIM, senones).num_parameters()


def measure(
    options: argparse.Namespace, lstm: "LstmSettings"
) -> tuple[list[Measurement], float, int, bool]:
    """All settings; seconds and frames of a batch on one core; whether ranks slept for it."""
    job = {
        "lstm": dataclasses.asdict(lstm),
        "senones": options.senones,
        "batch_seconds": options.batch_seconds,
        "rounds": options.updates,
        "sync_interval": options.sync_interval,
        "density": options.density,
        "pause": None,
    }
    sleeps = options.compute == "pause" or (
        options.compute == "auto" and max(options.ranks) > CORES
    )
    found: list[Measurement] = []
    compute, frames = 0.0, 0
    for size in sorted(set(options.ranks)):
        with ranks_of(options.namespace, size) as ranks:
            if size == 1:
                answer = ranks.do(job | {"method": "compute"})
                compute, frames = answer["seconds"], answer["frames"]
                if sleeps:
                    job["pause"] = compute
            for rate in options.rates[: 1 if size == 1 else None]:
                ranks.throttle(rate)
                for method in options.methods:
                    answer = ranks.do(job | {"method": method})
                    seconds, empty = answer["seconds"], answer["empty_exchange_seconds"]
                    found.append(Measurement(method, size, bits_a_second(rate), seconds, empty))
                    told = f"{method}, {size} ranks, {rate}: {seconds:.3f} s a round"
                    print(told, file=sys.stderr, flush=True)
    return found, compute, frames, sleeps


def processor() -> str:
    """Its name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def parsed() -> argparse.Namespace:
    """The options, as benchmarks/network.sh gives them.

    Raises:
        InputError: without some of them the model cannot be calibrated.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--namespace", required=True, help="what the namespaces' names begin with")
    add("--command", required=True, help="the script's own")
    add("--ranks", type=int, nargs="+", required=True)
    add("--rates", nargs="+", required=True)
    add("--methods", nargs="+", choices=METHODS, required=True)
    add("--config", type=Path, required=True)
    add("--parameters", type=int, required=True)
    add("--senones", type=int, required=True)
    add("--batch-seconds", type=float, required=True)
    add("--updates", type=int, required=True)
    add("--sync-interval", type=int, required=True)
    add("--density", type=float, required=True)
    add("--compute", choices=["auto", "pause", "real"], required=True)
    add("--figures", type=Path)
    options = parser.parse_args()
    if not {1, CALIBRATING_RANKS} <= set(options.ranks):
        raise InputError(f"--ranks must have 1 and {CALIBRATING_RANKS}, for the model")
    if CALIBRATING_METHOD not in options.methods:
        raise InputError(f"--methods must have {CALIBRATING_METHOD}, for the model")
    options.rates.sort(key=bits_a_second, reverse=True)
    return options


def main() -> None:
    """Measure and print."""
    options = parsed()
    lstm, parameters = lstm_of(options.config, options.parameters, options.senones)
    load = os.getloadavg()[0]
    found, compute, frames, sleeps = measure(options, lstm)
    training = TrainingRound(parameters, compute, options.sync_interval, options.density)
    print(
        f"{processor()}, {CORES} cores, load average {load:.1f} at the start; torch on one thread"
    )
    print(f"a rank; {parameters} parameters, {frames} frames a batch, {options.sync_interval}")
    print(f"batches a block of bmuf, density {options.density:g} of gtc.")
    print(f"A batch and its update took {compute:.3f} s on one core; in the table ranks ", end="")
    print("slept so long instead.\n" if sleeps else "computed it.\n")
    print(f"    {options.command}\n")
    try:
        lines, host = network_table(found, training, frames, CORES)
    except InputError as error:
        print("\n".join(map(str, found)))
        sys.exit(f"benchmarks/network.sh: {error}")
    print("\n".join(lines))
    if options.figures:
        origin = f"{options.command}, on one core of {processor()}"
        write_figures(options.figures, figures_of_network(training, host, frames, origin))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except InputError as error:
        sys.exit(f"benchmarks/network.sh: {error}")
