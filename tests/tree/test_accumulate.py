"""Statistics gathered by several processes, and what is said of data that are too little or bad."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree_folders import Folders, write_data

from am.alignment.alignment_folder import AlignmentFolder
from am.errors import InputError
from am.processes import LocalProcesses
from am.tree.accumulate import gather_statistics
from am.tree.grow import TreeSettings


class AnotherMachine(LocalProcesses):
    """This process, which gets the state as a machine of a cluster does."""

    def workers(self, work: Any, make_state: Any, **options: Any) -> Any:
        return super().workers(work, pickle.loads(pickle.dumps(make_state)), **options)


@pytest.mark.parametrize("low_frame_rate", [True, False])
def test_the_executor_changes_nothing(
    made: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, low_frame_rate: bool
) -> None:
    monkeypatch.setattr("am.tree.accumulate.CUTS_A_CHUNK", 4)
    executors = {"1": LocalProcesses(1), "2": LocalProcesses(2), "3": AnotherMachine(1)}
    for place, executor in executors.items():
        made.build(tmp_path / place, low_frame_rate=low_frame_rate, executor=executor)
    for name in ("tree.json", "transitions.json", "senones.json"):
        one, two, three = ((tmp_path / place / name).read_bytes() for place in executors)
        assert one == two == three, name


def test_merged_statistics_are_those_of_one_pass(
    made: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alignment = AlignmentFolder.open(made.alignment)

    def gather(chunk: int, jobs: int) -> Any:
        monkeypatch.setattr("am.tree.accumulate.CUTS_A_CHUNK", chunk)
        return gather_statistics(
            made.data, made.model, alignment, low_frame_rate=False, executor=LocalProcesses(jobs)
        )

    whole, parts = gather(1000, 1), gather(3, 2)
    np.testing.assert_array_equal(whole.windows, parts.windows)
    np.testing.assert_allclose(whole.rows, parts.rows, rtol=1e-9, atol=1e-9)


def test_features_that_are_not_finite_are_refused(copied: Folders, tmp_path: Path) -> None:
    changed = dict(copied.utterances)
    changed["cut-3"] = copy.deepcopy(changed["cut-3"])
    changed["cut-3"].frames[2, 1] = np.nan
    shutil.rmtree(copied.data)
    write_data(copied.data, changed)
    with pytest.raises(InputError, match="cut-3: features hold NaN or infinity"):
        copied.build(tmp_path / "senones")


def test_too_few_senones_are_told(
    made: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = TreeSettings(num_leaves=3000, min_gain=0.0, min_count=20.0)
    made.build(tmp_path / "senones", settings)
    facts = json.loads((tmp_path / "senones" / "senones.json").read_text())
    assert facts["num_pdfs"] < facts["leaves_wanted"] == 3000
    assert "min_count" in facts["why_fewer"]
    told = f"{facts['num_pdfs']} senones came out of the 3000 asked for (num_leaves): no question"
    assert told in caplog.text
