"""What is said of packages that work, are missing, broken, or built for another torch."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from am.engine_check import (
    PACKAGES,
    STEPS,
    Package,
    PackageState,
    check_packages,
    fit_lines,
    mend_lines,
    package_rows,
    step_rows,
)

ROOT = Path(__file__).parents[1]
TORCH = Package("torch", "torch", "networks")
BATCHED = Package("kaldifeat", "kaldifeat", "features", "build it", False, True)
NATIVE = Package("kaldi-native-fbank", "kaldi_native_fbank", "features")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes a package of one module in an environment of its own."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, code: str, torch: str | None = None) -> Package:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text(code)
        if torch is not None:
            (folder / "torch_version.py").write_text(f'{name}_torch_version = "{torch}"\n')
        about = tmp_path / f"{name}-3.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.2\n")
        return Package(name, name, "a test", f"install {name}", True, torch is not None)

    return make


def test_states(install):
    packages = [
        install("madeup_good", ""),
        install("madeup_bad", "raise ImportError('libwhatever.so:\\n undefined symbol')"),
        install("madeup_crash", "import os; os.abort()"),
        Package("madeup-absent", "madeup_absent", "a test", "install it", is_needed=False),
    ]
    states = check_packages(packages)
    assert [one.word for one in states] == ["works", "broken", "broken", "missing"]
    assert states[1].problem == "ImportError: libwhatever.so: undefined symbol"
    assert "signal 6" in str(states[2].problem)
    assert [row[1] for row in package_rows(states)[1:]] == ["3.2", "3.2", "3.2", "-"]
    assert mend_lines(states)[0].startswith("madeup_bad, needed, broken (ImportError: libwhatever")
    assert mend_lines(states)[-1] == "madeup-absent, optional, missing: install it"


def test_a_build_for_another_torch_is_told(install):
    torch = metadata.version("torch")
    wrong = install("madeup_old", "raise ImportError('built for torch 1.9.0')", "1.9.0+cu111")
    states = check_packages([TORCH, install("madeup_new", "", torch), wrong])
    assert [one.torch for one in states] == [None, torch, "1.9.0+cu111"]
    fits, does_not = fit_lines(states)
    assert fits.endswith("; fits")
    assert "1.9.0+cu111; does not fit: install madeup_old" in does_not


def test_a_step_uses_the_first_engine_that_works():
    step = "features (engine: auto)"
    native = PackageState(NATIVE, "1.23")
    for batched, engine in (
        (PackageState(BATCHED, "1.24"), "kaldifeat 1.24"),
        (PackageState(BATCHED, "1.24", "built for another torch"), "kaldi-native-fbank 1.23"),
        (PackageState(BATCHED, None), "kaldi-native-fbank 1.23"),
    ):
        rows = dict(step_rows([native, batched])[1:])
        assert rows[step] == engine
        assert rows["scoring"] == "none"


def test_every_engine_is_a_package_that_is_checked():
    names = {package.name for package in PACKAGES}
    assert {name for engines in STEPS.values() for name in engines} <= names


def test_the_tool_shows_this_environment():
    done = subprocess.run(
        [sys.executable, ROOT / "utils/check_env.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for word in ("kaldi-native-fbank", metadata.version("lhotse"), "features (engine: auto)"):
        assert word in done.stdout
