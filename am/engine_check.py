"""What is installed and works, what was built for what, and which engine each step will use.

Every package is imported in a process of its own: one that crashes takes nothing with it, and some
(kaldi-hmm-gmm and kaldifst) cannot be imported side by side.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
ENVIRONMENT = "utils/make_environment.sh"
IMPORT_SECONDS = 300.0
_DEVICES = """
import torch
names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
print(f"torch {torch.__version__}, built for {build}; GPUs: {', '.join(names) or 'none'}")
"""
_TORCH_BUILD = re.compile(r"""^\w+_torch_version = ["']([^"']+)["']""", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A package that some step uses.

    Attributes:
        name: of its distribution.
        module: to import.
        purpose: what it is used for.
        install: the command that installs it.
        is_needed: whether the default recipe needs it.
        is_built_for_torch: whether a build of it works with one version of torch alone.
    """

    name: str
    module: str
    purpose: str
    install: str = ENVIRONMENT
    is_needed: bool = True
    is_built_for_torch: bool = False


PACKAGES = (
    Package("torch", "torch", "networks, training"),
    Package("lhotse", "lhotse", "manifests, samplers, shards"),
    Package("soundfile", "soundfile", "audio files"),
    Package("kaldi-native-fbank", "kaldi_native_fbank", "features"),
    Package(
        "kaldifeat", "kaldifeat", "features, batched", "utils/install_kaldifeat.sh", False, True
    ),
    Package("kaldifst", "kaldifst", "lexicon, grammar, graphs"),
    Package("kaldi-decoder", "kaldi_decoder", "decoding, lattices"),
    Package("k2", "k2", "decoding in batches", "utils/install_k2.py .venv_k2", False, True),
    Package("kaldialign", "kaldialign", "word errors"),
    Package("kaldi-native-io", "kaldi_native_io", "Kaldi's archives"),
    Package(
        "kaldi-hmm-gmm", "kaldi_hmm_gmm", "tests of GMMs", f"{ENVIRONMENT} test", is_needed=False
    ),
    Package("sentencepiece", "sentencepiece", "subword units"),
    Package("espeakng-loader", "espeakng_loader", "the embedded corpus"),
    Package("dask", "dask.distributed", "clusters", f"{ENVIRONMENT} cluster", False),
    Package("dask-jobqueue", "dask_jobqueue", "Slurm, SGE", f"{ENVIRONMENT} cluster", False),
)
# What a step uses: the first of these that works.
STEPS: Mapping[str, tuple[str, ...]] = {
    "speech of the embedded corpus": ("espeakng-loader",),
    "reading audio": ("soundfile",),
    "features (engine: auto)": ("kaldifeat", "kaldi-native-fbank"),
    "manifests, shards, batches": ("lhotse",),
    "GMMs, networks": ("torch",),
    "lexicon, grammar, graphs": ("kaldifst",),
    "decoding, lattices": ("kaldi-decoder",),
    "decoding in batches": ("k2",),
    "scoring": ("kaldialign",),
    "subword units": ("sentencepiece",),
    "--executor dask": ("dask",),
    "--executor slurm, sge": ("dask-jobqueue",),
}


@dataclass(frozen=True)
class PackageState:
    """What was found of a package.

    Attributes:
        package: which.
        version: that is installed; None where it is not.
        problem: why it cannot be imported, in one line; None where it can.
        torch: the version of torch that it was built for, if it says so.
    """

    package: Package
    version: str | None
    problem: str | None = None
    torch: str | None = None

    @property
    def works(self) -> bool:
        """Whether it can be used."""
        return self.version is not None and self.problem is None

    @property
    def word(self) -> str:
        """``works``, ``missing`` or ``broken``."""
        if self.version is None:
            return "missing"
        return "works" if self.works else "broken"


def check_packages(packages: Iterable[Package] = PACKAGES) -> list[PackageState]:
    """Try every package; some seconds."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(check_package, packages))


def check_package(package: Package) -> PackageState:
    """Whether a package is installed, and whether it can be imported."""
    try:
        version = metadata.version(package.name)
    except metadata.PackageNotFoundError:
        return PackageState(package, None)
    torch = _torch_build(package.module) if package.is_built_for_torch else None
    return PackageState(package, version, _import_problem(package), torch)


def device_line() -> str:
    """What torch was built for, and which GPUs it finds."""
    done = _python(_DEVICES)
    return done.stdout.strip() if done.returncode == 0 else _error_of(done.stderr)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=IMPORT_SECONDS,
    )


def _import_problem(package: Package) -> str | None:
    first = "torch, " if package.is_built_for_torch else ""  # it finds torch's libraries loaded
    try:
        done = _python(f"import {first}{package.module}")
    except subprocess.TimeoutExpired:
        return f"its import took longer than {IMPORT_SECONDS:.0f} s"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"its import was ended by signal {-done.returncode}"
    return _error_of(done.stderr)


def _error_of(traceback: str) -> str:
    """The error of a traceback, which may have several lines, as one."""
    lines = traceback.strip().splitlines()
    starts = [index for index, line in enumerate(lines) if re.match(r"[\w.]+(Error|Exit)?: ", line)]
    return " ".join(" ".join(lines[starts[-1] :] if starts else lines[-1:]).split())


def _torch_build(module: str) -> str | None:
    """The torch that a package was built for, without importing it (k2's and kaldifeat's way)."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("torch_version.py")
    found = _TORCH_BUILD.search(path.read_text()) if path.is_file() else None
    return found[1] if found else None


def tried_versions() -> dict[str, str]:
    """Package → the version in ``constraints.txt``; empty where the clone is not at hand."""
    if not CONSTRAINTS.is_file():
        return {}
    pairs = (line.partition(";")[0].partition("==") for line in CONSTRAINTS.open(encoding="utf-8"))
    return {name.replace("_", "-"): version.strip() for name, _, version in pairs if version}


def package_rows(states: Sequence[PackageState]) -> list[tuple[str, ...]]:
    """A table: each package, its version and the tried one, its state, what it is for."""
    tried = tried_versions()
    rows: list[tuple[str, ...]] = [("package", "installed", "tried with", "state", "used for")]
    for one in states:
        name = one.package.name
        rows.append((name, one.version or "-", tried.get(name, "-"), one.word, one.package.purpose))
    return rows


def fit_lines(states: Sequence[PackageState]) -> list[str]:
    """What was built for which torch, and whether that is the one that is installed."""
    torch = next((one.version for one in states if one.package.name == "torch"), None)
    lines = []
    for one in states:
        if one.torch is None:
            continue
        fits = torch is not None and _release(one.torch) == _release(torch)
        verdict = "fits" if fits else f"does not fit: {one.package.install} builds or finds one"
        lines.append(f"{one.package.name} {one.version}: built for torch {one.torch}; {verdict}")
    return lines


def _release(version: str) -> str:
    return version.partition("+")[0]


def step_rows(states: Sequence[PackageState]) -> list[tuple[str, ...]]:
    """A table: each step and the engine it will use."""
    works = {one.package.name: one for one in states if one.works}
    rows: list[tuple[str, ...]] = [("step", "engine")]
    for step, names in STEPS.items():
        engine = next((name for name in names if name in works), None)
        rows.append((step, f"{engine} {works[engine].version}" if engine else "none"))
    return rows


def mend_lines(states: Sequence[PackageState]) -> list[str]:
    """What is missing or broken, and the command that installs it."""
    lines = []
    for one in states:
        if not one.works:
            need = "needed" if one.package.is_needed else "optional"
            reason = f" ({one.problem})" if one.problem else ""
            lines.append(f"{one.package.name}, {need}, {one.word}{reason}: {one.package.install}")
    return lines
