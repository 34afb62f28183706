"""Which wheel of k2 is taken, from pages as the package index and k2 itself serve them."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from am.errors import InputError
from am.k2 import install
from am.k2.install import (
    EnvironmentFacts,
    Wheel,
    acceptable_name,
    find_wheel,
    index_url,
    pick_index_wheel,
    pick_page_wheel,
    read_page,
)

OLD = EnvironmentFacts("3.11", "linux", "x86_64", "1.13.1", "11.7")
NEW = EnvironmentFacts("3.12", "linux", "x86_64", "2.5.1", None)
INDEX_FILES = (
    "k2-1.23.3-py3.11-none-any.whl",
    "k2-1.23.4-cp310-cp310-macosx_10_15_x86_64.whl",
    "k2-1.23.4-py3.10-none-any.whl",
    "k2-1.23.4-py3.11-none-any.whl",
    "k2-1.24.1-cp310-cp310-macosx_10_15_x86_64.whl",
)
LINUX = "manylinux_2_17_x86_64.manylinux2014_x86_64"
PAGE_FILES = (
    f"k2-1.24.4.dev20241029+cpu.torch2.5.1-cp312-cp312-{LINUX}.whl",
    f"k2-1.24.4.dev20250307+cpu.torch2.5.1-cp312-cp312-{LINUX}.whl",
    f"k2-1.24.4.dev20250307+cpu.torch2.5.1-cp311-cp311-{LINUX}.whl",
    f"k2-1.24.4.dev20250307+cpu.torch2.5.0-cp312-cp312-{LINUX}.whl",
    f"k2-1.24.4.dev20250307+cuda12.4.torch2.5.1-cp312-cp312-{LINUX}.whl",
    "k2-1.24.4.dev20250307+cpu.torch2.5.1-cp312-cp312-macosx_11_0_arm64.whl",
    "k2-1.24.4.dev20250307+cpu.torch2.5.1-cp312-cp312-win_amd64.whl",
)


def wheels(names: tuple[str, ...]) -> list[Wheel]:
    return [Wheel(name, f"https://example.org/{name}") for name in names]


def test_the_index_has_one_for_each_python() -> None:
    for python in ("3.10", "3.11"):
        wheel = pick_index_wheel(wheels(INDEX_FILES), replace(OLD, python=python))
        assert wheel is not None and wheel.name == f"k2-1.23.4-py{python}-none-any.whl"
        assert acceptable_name(wheel.name) == "k2-1.23.4-py3-none-any.whl"
    for other in ({"python": "3.12"}, {"system": "darwin"}, {"machine": "aarch64"}):
        assert pick_index_wheel(wheels(INDEX_FILES), replace(OLD, **other)) is None


@pytest.mark.parametrize(
    ("facts", "place"),
    [
        (NEW, 1),
        (replace(NEW, python="3.11"), 2),
        (replace(NEW, torch="2.5.0"), 3),
        (replace(NEW, cuda="12.4"), 4),
        (replace(NEW, system="darwin", machine="arm64"), 5),
        (replace(NEW, torch="2.5"), None),
        (replace(NEW, cuda="12.1"), None),
        (replace(NEW, machine="aarch64"), None),
    ],
)
def test_the_newest_that_fits_is_taken(facts: EnvironmentFacts, place: int | None) -> None:
    wheel = pick_page_wheel(wheels(PAGE_FILES), facts)
    assert (wheel and wheel.name) == (None if place is None else PAGE_FILES[place])
    if place is not None:
        assert acceptable_name(PAGE_FILES[place]) == PAGE_FILES[place]


def test_an_index_in_json(tmp_path: Path) -> None:
    page = tmp_path / "page"
    file = {"filename": INDEX_FILES[3], "url": "https://example.org/a", "hashes": {"sha256": "12"}}
    page.write_text(json.dumps({"files": [file]}))
    assert read_page(page.as_uri(), "") == [Wheel(INDEX_FILES[3], "https://example.org/a", "12")]


def test_a_page_with_links(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    quoted = PAGE_FILES[0].replace("+", "%2B")
    page.write_text(
        f'<html><a href="https://example.org/x/{quoted}">one</a>'
        f'<a name="here">none</a><a href="sub/{INDEX_FILES[0]}#sha256=ab">two</a></html>'
    )
    one, two = read_page(page.as_uri(), "")
    assert one == Wheel(PAGE_FILES[0], f"https://example.org/x/{quoted}")
    assert two == Wheel(INDEX_FILES[0], f"{tmp_path.as_uri()}/sub/{INDEX_FILES[0]}", "ab")


def test_no_wheel_and_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k2").mkdir()
    empty = tmp_path / "empty.html"
    empty.write_text("<html></html>")
    monkeypatch.setattr(install, "WHEEL_PAGES", (empty.as_uri(), (tmp_path / "no").as_uri()))
    environment = tmp_path / "venv"
    with pytest.raises(InputError) as caught:
        find_wheel(NEW, tmp_path.as_uri(), environment)
    assert "no k2 for torch 2.5.1 (cpu), Python 3.12, linux x86_64" in str(caught.value)
    assert "utils/install_k2.py venv_k2" in str(caught.value)
    with pytest.raises(InputError, match=r"cannot be read .* --wheel"):
        find_wheel(replace(NEW, cuda="12.4"), tmp_path.as_uri(), environment)
    with pytest.raises(InputError, match=r"/k2/: cannot be read .* check pip's index"):
        find_wheel(OLD, f"{tmp_path.as_uri()}/none", environment)


def test_the_index_is_that_of_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.org/simple")
    assert index_url(Path(sys.executable)) == "https://example.org/simple"
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    assert index_url(Path(sys.executable)).startswith("https://")


def test_an_altered_download_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"wheel")
    (tmp_path / "to").mkdir()
    right = Wheel("a.whl", (tmp_path / "file").as_uri(), hashlib.sha256(b"wheel").hexdigest())
    assert install._download(right, tmp_path / "to").read_bytes() == b"wheel"
    with pytest.raises(InputError, match="arrived altered"):
        install._download(replace(right, sha256="0" * 64), tmp_path / "to")


def test_requirements_but_torch_and_numpy() -> None:
    requirements = [
        "torch>=2.1",
        "numpy>=1.26",
        "lhotse<2,>=1.33",
        'pytest>=8; extra == "test"',
        'ruff; extra == "test"',
    ]
    assert install._needed_beside_torch(requirements, False) == ["lhotse<2,>=1.33"]
    assert install._needed_beside_torch(requirements, True) == ["lhotse<2,>=1.33", "pytest>=8"]


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(InputError, match="no Python environment"):
        install.install_k2(tmp_path)
    assert (tmp_path / "mine").exists()


def test_a_failed_environment_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise InputError("pip: no")

    run = subprocess.run
    quick = [sys.executable, "-c", "import pathlib, sys; pathlib.Path(sys.argv[1]).mkdir()"]
    monkeypatch.setattr(
        install, "_run", lambda command: run([*quick, command[-1]], capture_output=True, text=True)
    )
    monkeypatch.setattr(install, "pip", fail)
    with pytest.raises(InputError, match="pip: no"):
        install.install_k2(tmp_path / "new")
    assert not (tmp_path / "new").exists()
