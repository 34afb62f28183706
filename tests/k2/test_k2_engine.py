"""Where k2 is missing or does not fit, one line says so and how to mend it."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from am.errors import InputError
from am.k2 import engine

MEND = f"run utils/install_k2.py {sys.prefix}"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """k2 is looked for anew in every test."""
    engine.load_k2.cache_clear()
    yield
    engine.load_k2.cache_clear()


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> str:
    def fail(name: str) -> None:
        assert name == "k2"
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(InputError) as caught:
        engine.load_k2()
    message = str(caught.value)
    assert "\n" not in message and message.endswith(MEND)
    return message


def test_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    message = failing(monkeypatch, ModuleNotFoundError("No module named 'k2'", name="k2"))
    assert message.startswith(f"k2: not installed in {sys.prefix}")


def test_a_folder_of_that_name_is_no_k2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k2").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in [name for name in sys.modules if name.partition(".")[0] == "k2"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match="k2: not installed"):
        engine.load_k2()
    sys.modules.pop("k2", None)


def test_a_package_that_k2_needs_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    message = failing(monkeypatch, ModuleNotFoundError("...", name="graphviz"))
    assert "needs the package graphviz" in message


@pytest.mark.parametrize(
    "error",
    [
        ImportError("k2 was built using PyTorch 1.0.0\nBut you are using PyTorch 9.9 to run it"),
        ImportError("_k2.so: undefined symbol: _ZN3c10"),
        OSError("libcudart.so.11.0: cannot open shared object file"),
    ],
)
def test_built_for_another_torch(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    message = failing(monkeypatch, error)
    assert f"does not fit torch {torch.__version__}: {' '.join(str(error).split())}" in message


@pytest.mark.k2
def test_k2_of_another_torch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real package's own check."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "k2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(torch, "__version__", "99.0")
    with pytest.raises(InputError, match=r"does not fit torch 99\.0: k2 was built"):
        engine.load_k2()


@pytest.mark.k2
def test_devices() -> None:
    engine.check_device(torch.device("cpu"))
    with pytest.raises(InputError, match="not on mps; give --device cpu"):
        engine.check_device(torch.device("mps"))


def test_k2_is_imported_in_one_place() -> None:
    root = Path(__file__).resolve().parents[2]
    files = [path for name in ("am", "steps", "utils") for path in (root / name).rglob("*.py")]
    statements = ("import k2\n", "from k2 ", 'import_module("k2")')
    found = [path for path in files if any(text in path.read_text() for text in statements)]
    assert found == [root / "am/k2/engine.py"]
