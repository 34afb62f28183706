"""Tests of this folder marked ``k2`` run where k2 is installed: utils/install_k2.py."""

import pytest

from am.errors import InputError
from am.k2.engine import load_k2


@pytest.fixture(autouse=True)
def _k2_or_skip(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("k2") is None:
        return
    try:
        load_k2()
    except InputError as error:
        pytest.skip(str(error))
