"""A lang folder, made once."""

from pathlib import Path

import pytest
from kaldi_cases import make_lang

from am.lang.lang import Lang


@pytest.fixture(scope="session")
def lang(tmp_path_factory: pytest.TempPathFactory) -> Lang:
    return make_lang(tmp_path_factory.mktemp("lang") / "lang")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder
