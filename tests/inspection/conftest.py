"""Folders that the tests of a session look at, and a way to call the tools."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from inspection_cases import UTTERANCES, make_alignment, make_data, make_lang

import commandline
from am.lang.lang import Lang

ROOT = Path(commandline.__file__).parent


@dataclass(frozen=True)
class Folders:
    lang: Lang
    data: Path
    alignment: Path


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    folder = tmp_path_factory.mktemp("inspection")
    lang = make_lang(folder)
    alignment = make_alignment(folder / "alignment", lang, UTTERANCES)
    return Folders(lang, make_data(folder / "data", UTTERANCES), alignment)


@pytest.fixture
def run_tool(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., tuple[int, str, str]]:
    """Runs a tool of ``utils/`` in this process: exit status, stdout, stderr."""

    def run(tool: str, *arguments: object) -> tuple[int, str, str]:
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(sys, "argv", [f"utils/{tool}", *map(str, arguments)])
            runpy.run_path(str(ROOT / "utils" / tool), run_name="__main__")
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run
