"""Installing the k2 that fits the torch of an environment.

k2's compiled part belongs to one version of torch, and its wheels come from two places: the
package index that pip uses has them for torch 1.13.1, under names that pip does not accept, and
k2's own pages list those for later versions of torch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from am.errors import InputError

log = logging.getLogger(__name__)

INDEX_K2, INDEX_TORCH = "1.23.4", "1.13.1"
# That torch's TensorBoard writer imports six without requiring it.
PINNED = (f"torch=={INDEX_TORCH}", "numpy<2", "six")
WHEEL_PAGES = ("https://k2-fsa.github.io/k2/cpu.html", "https://k2-fsa.github.io/k2/cuda.html")
TOOLKIT = Path(__file__).resolve().parents[2]
_TIMEOUT_SECONDS = 60
_INDEX_FORMATS = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_INDEX_NAME = re.compile(rf"k2-{re.escape(INDEX_K2)}-py(\d\.\d+)-none-any\.whl")
_PAGE_NAME = re.compile(
    r"k2-([^-+]+)\+(cpu|cuda[\d.]+)\.torch([\d.]+)-cp(\d)(\d+)-[^-]+-(\w+(?:\.\w+)*)\.whl"
)
_PROBE = """
import json, platform, torch
print(json.dumps({
    "python": ".".join(platform.python_version_tuple()[:2]),
    "system": platform.system().lower(),
    "machine": platform.machine(),
    "torch": torch.__version__.split("+")[0],
    "cuda": torch.version.cuda,
}))
"""
_CHECK = "from am.k2.engine import load_k2; print(load_k2().__dev_version__)"
_REQUIREMENTS = "from importlib import metadata; print(*metadata.requires('megahour'), sep='\\n')"
_DEFAULT_INDEX = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"


@dataclass(frozen=True)
class EnvironmentFacts:
    """What a wheel must fit.

    Attributes:
        python: major and minor version, ``3.11``.
        system, machine: ``linux``, ``x86_64``.
        torch: version without its build, ``2.5.1``.
        cuda: the version torch was built with, ``12.4``; None for a CPU build.
    """

    python: str
    system: str
    machine: str
    torch: str
    cuda: str | None


@dataclass(frozen=True)
class Wheel:
    """A file that can be downloaded.

    Attributes:
        name: its file name.
        url: where it is.
        sha256: hexadecimal; empty where its page does not tell.
    """

    name: str
    url: str
    sha256: str = ""


def install_k2(environment: Path, *, wheel: Path | None = None, with_tests: bool = False) -> None:
    """Install the k2 that fits the torch of an environment, or make one that fits k2.

    Args:
        environment: folder of a Python environment; where there is none, one is made with the
            torch of the package index's k2 and everything that Megahour needs.
        wheel: a wheel of k2 that was downloaded by hand; None finds one.
        with_tests: an environment that is made gets what the tests need too.

    Raises:
        InputError: no wheel fits, a page cannot be read, or pip fails; says what to do instead.
    """
    environment = environment.absolute()
    if not _python_of(environment).is_file():
        _make_environment(environment, with_tests)
    python = _python_of(environment)
    installed = _working_version(python)
    if installed is not None:
        log.info("%s: k2 %s is installed and works", environment, installed)
        return
    facts = read_facts(python)
    with tempfile.TemporaryDirectory() as folder:
        if wheel is None:
            found = find_wheel(facts, index_url(python), environment)
            wheel = _download(found, Path(folder))
        file = Path(folder) / acceptable_name(wheel.name)
        if file != wheel:
            shutil.copyfile(wheel, file)
        pip(python, "install", "graphviz")
        pip(python, "install", "--no-deps", "--force-reinstall", str(file))
    installed = _working_version(python)
    if installed is None:
        raise InputError(f"{wheel.name}: {_fault(python)}")
    log.info("%s: installed k2 %s for torch %s", environment, installed, facts.torch)


def read_facts(python: Path) -> EnvironmentFacts:
    """What the environment of a Python is.

    Raises:
        InputError: it has no torch that can be imported.
    """
    done = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True)
    if done.returncode != 0:
        raise InputError(
            f"{python}: torch cannot be imported ({_last_line(done.stderr)}); install torch there "
            "first, or name a folder that does not exist: it becomes an environment with torch "
            f"{INDEX_TORCH}"
        )
    return EnvironmentFacts(**json.loads(done.stdout))


def find_wheel(facts: EnvironmentFacts, index: str, environment: Path) -> Wheel:
    """The wheel that fits, from the package index or from k2's own pages.

    Args:
        facts: of the environment.
        index: the package index, as pip takes it.
        environment: its folder, for messages.

    Raises:
        InputError: a page cannot be read, or nothing fits.
    """
    by_hand = f"or download a wheel of k2 for torch {facts.torch} and give it with --wheel"
    if facts.torch == INDEX_TORCH:
        page = f"{index.rstrip('/')}/k2/"
        wheel = pick_index_wheel(read_page(page, f"check pip's index, {by_hand}"), facts)
    else:
        other = f"{environment.name}_k2"
        page = WHEEL_PAGES[0 if facts.cuda is None else 1]
        instead = (
            f"name a folder that does not exist, as in 'utils/install_k2.py {other}', to get an "
            f"environment with torch {INDEX_TORCH} and k2 {INDEX_K2}, {by_hand}"
        )
        wheel = pick_page_wheel(read_page(page, instead), facts)
        by_hand = instead
    if wheel is None:
        build = "cpu" if facts.cuda is None else f"CUDA {facts.cuda}"
        raise InputError(
            f"{page}: no k2 for torch {facts.torch} ({build}), Python {facts.python}, "
            f"{facts.system} {facts.machine}; {by_hand}"
        )
    return wheel


def pick_index_wheel(wheels: Iterable[Wheel], facts: EnvironmentFacts) -> Wheel | None:
    """The package index's wheel for a Python, or None."""
    for wheel in wheels:
        match = _INDEX_NAME.fullmatch(wheel.name)
        is_built = (facts.system, facts.machine) == ("linux", "x86_64")
        if match and match.group(1) == facts.python and is_built:
            return wheel
    return None


def pick_page_wheel(wheels: Iterable[Wheel], facts: EnvironmentFacts) -> Wheel | None:
    """The newest wheel of k2's pages that fits, or None."""
    build = "cpu" if facts.cuda is None else f"cuda{facts.cuda}"
    platform = "macosx" if facts.system == "darwin" else facts.system
    fitting: list[tuple[list[int], Wheel]] = []
    for wheel in wheels:
        match = _PAGE_NAME.fullmatch(wheel.name)
        if match is None:
            continue
        version, of_build, of_torch, major, minor, tags = match.groups()
        wanted = (build, facts.torch, facts.python)
        # manylinux_2_17_x86_64.manylinux2014_x86_64, macosx_10_15_x86_64
        if (of_build, of_torch, f"{major}.{minor}") == wanted and any(
            platform in tag and tag.endswith(facts.machine) for tag in tags.split(".")
        ):
            fitting.append(([int(part) for part in re.findall(r"\d+", version)], wheel))
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def acceptable_name(name: str) -> str:
    """A wheel's file name with a tag that pip accepts: the index's ``py3.11`` is no tag."""
    return re.sub(r"-py\d\.\d+-none-any\.whl$", "-py3-none-any.whl", name)


def index_url(python: Path) -> str:
    """The package index that a Python's pip uses."""
    listed = _run([python, "-m", "pip", "config", "list"]).stdout.splitlines()
    settings = dict(line.split("=", 1) for line in listed if "=" in line)
    for name in (":env:.index-url", "install.index-url", "global.index-url"):
        if name in settings:
            return settings[name].strip("'\"")
    return _run([python, "-c", _DEFAULT_INDEX]).stdout.strip()


def read_page(url: str, instead: str) -> list[Wheel]:
    """The files that a page lists: a package index's JSON, or any HTML with links.

    Args:
        url: of the page.
        instead: what to do where it cannot be read.

    Raises:
        InputError: it cannot be read.
    """
    try:
        request = urllib.request.Request(url, headers={"Accept": _INDEX_FORMATS})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            content = answer.read().decode()
    except (OSError, ValueError) as error:
        raise InputError(f"{url}: cannot be read ({error}); {instead}") from error
    if content.lstrip().startswith("{"):
        return [
            Wheel(file["filename"], file["url"], file.get("hashes", {}).get("sha256", ""))
            for file in json.loads(content)["files"]
        ]
    parser = _Links()
    parser.feed(content)
    return [_linked_file(urllib.parse.urljoin(url, link)) for link in parser.links]


class _Links(HTMLParser):
    """Collects the targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if (tag, name) == ("a", "href") and value]


def _linked_file(link: str) -> Wheel:
    address, _, fragment = link.partition("#")
    name = urllib.parse.unquote(urllib.parse.urlsplit(address).path.rpartition("/")[2])
    return Wheel(name, address, fragment.removeprefix("sha256=") if "sha256=" in fragment else "")


def _download(wheel: Wheel, folder: Path) -> Path:
    log.info("downloading %s", wheel.url)
    path = folder / wheel.name
    digest = hashlib.sha256()
    try:
        with (
            urllib.request.urlopen(wheel.url, timeout=_TIMEOUT_SECONDS) as answer,
            path.open("wb") as file,
        ):
            while block := answer.read(1 << 20):
                digest.update(block)
                file.write(block)
    except OSError as error:
        raise InputError(
            f"{wheel.url}: cannot be downloaded ({error}); download it by hand and give it with "
            "--wheel"
        ) from error
    if wheel.sha256 and digest.hexdigest() != wheel.sha256:
        raise InputError(f"{wheel.url}: arrived altered (SHA-256 differs); run the tool again")
    return path


def _make_environment(environment: Path, with_tests: bool) -> None:
    """A new environment with the torch of the index's k2 and what Megahour needs."""
    if environment.exists():
        raise InputError(f"{environment}: no Python environment; name one, or a folder to be made")
    log.info("making %s with torch %s (a few minutes, 4 GB)", environment, INDEX_TORCH)
    python = _python_of(environment)
    try:
        done = _run([sys.executable, "-m", "venv", environment])
        if done.returncode != 0:
            raise InputError(f"{environment}: {_last_line(done.stderr + done.stdout)}")
        pip(python, "install", *PINNED)
        pip(python, "install", "--no-deps", "--editable", str(TOOLKIT))
        needed = _run([python, "-c", _REQUIREMENTS]).stdout.splitlines()
        pip(python, "install", *PINNED, *_needed_beside_torch(needed, with_tests))
    except BaseException:
        shutil.rmtree(environment, ignore_errors=True)
        raise


def _needed_beside_torch(requirements: Sequence[str], with_tests: bool) -> list[str]:
    """Megahour's requirements but torch and numpy, whose versions k2 decides."""
    packages = []
    for requirement in requirements:
        package, _, condition = requirement.partition(";")
        name = re.split(r"[^\w-]", package.strip(), maxsplit=1)[0]
        is_wanted = "extra" not in condition or (with_tests and name in ("pytest", "hypothesis"))
        if is_wanted and name not in ("torch", "numpy"):
            packages.append(package.strip())
    return packages


def pip(python: Path, *arguments: str) -> None:
    """Run an environment's pip; InputError with its last line if it fails."""
    command: list[str | Path] = [python, "-m", "pip", "--quiet", *arguments]
    log.info("pip %s", " ".join(arguments))
    done = _run(command)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise InputError(f"pip {' '.join(arguments)}: {(errors or [done.stderr])[-1]}")


def _python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def _working_version(python: Path) -> str | None:
    done = _run([python, "-c", _CHECK])
    return done.stdout.strip() if done.returncode == 0 else None


def _fault(python: Path) -> str:
    return _last_line(_run([python, "-c", _CHECK]).stderr)


def _run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=TOOLKIT)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
