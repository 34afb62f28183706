"""The validator: silent on good folders, one line for each fault of a bad one."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, NumpyFilesWriter
from lhotse.features.base import Features

from am.manifests.make_cuts import make_cuts
from am.manifests.settings import DataRules
from am.manifests.source_folder import SourceRow, write_source_folder
from am.manifests.validate import problems_of_folder

ROOT = Path(__file__).parents[2]
Cuts = list[dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A made data folder of three utterances, a to c, one second each, with features."""
    rows = []
    for index, name in enumerate("abc"):
        samples = np.random.default_rng(index).uniform(-0.5, 0.5, 16000)
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000)
        rows.append(SourceRow(name, "s", tmp_path / f"{name}.wav", "HELLO"))
    write_source_folder(tmp_path / "source", rows)
    (tmp_path / "made").mkdir()
    make_cuts(tmp_path / "source", tmp_path / "made", DataRules(), 1)
    cuts = CutSet.from_file(tmp_path / "made" / "cuts.jsonl.gz").to_eager()
    with NumpyFilesWriter(tmp_path / "features") as writer:
        for cut in cuts:
            key = writer.write(cut.id, np.ones((100, 4), dtype=np.float32))
            cut.features = Features(
                type="fbank",
                num_frames=100,
                num_features=4,
                frame_shift=0.01,
                sampling_rate=16000,
                start=0.0,
                duration=1.0,
                storage_type=writer.name,
                storage_path=str(writer.storage_path),
                storage_key=key,
                recording_id=cut.id,
                channels=0,
            )
    cuts.to_file(tmp_path / "made" / "cuts.jsonl.gz")
    return tmp_path / "made"


def damage(folder: Path, change: Callable[[Cuts], object]) -> None:
    path = folder / "cuts.jsonl.gz"
    with gzip.open(path, "rt") as stream:
        cuts = [json.loads(line) for line in stream]
    change(cuts)
    with gzip.open(path, "wt") as stream:
        stream.writelines(json.dumps(cut) + "\n" for cut in cuts)


def test_a_good_folder_has_no_problems(folder: Path) -> None:
    assert list(problems_of_folder(folder)) == []


def no_speaker(cuts: Cuts) -> None:
    del cuts[1]["supervisions"][0]["speaker"]


DAMAGES: dict[str, Callable[[Cuts], object]] = {
    "duplicate id": lambda cuts: cuts.insert(1, cuts[0]),
    "not sorted after": lambda cuts: cuts.reverse(),
    "0 supervisions": lambda cuts: cuts[1].update(supervisions=[]),
    "another id": lambda cuts: cuts[1]["supervisions"][0].update(id="x"),
    "no speaker": no_speaker,
    "empty transcript": lambda cuts: cuts[1]["supervisions"][0].update(text=" "),
    "transcript and this one not": lambda cuts: cuts[1]["supervisions"][0].pop("text"),
    "the cut lasts": lambda cuts: cuts[1]["supervisions"][0].update(duration=1.5),
    "its recording at": lambda cuts: cuts[1].update(start=0.5),
    "the cut says": lambda cuts: cuts[1]["recording"].update(num_samples=15000, duration=0.9375),
    "unreadable audio": lambda cuts: cuts[1]["recording"]["sources"][0].update(source="no.wav"),
    "features and this one not": lambda cuts: cuts[1].pop("features"),
    "unreadable features": lambda cuts: cuts[1]["features"].update(storage_key="none.npy"),
    "num_features 5": lambda cuts: cuts[1]["features"].update(num_features=5),
}


@pytest.mark.parametrize("named", DAMAGES)
def test_each_damage_is_named(named: str, folder: Path) -> None:
    damage(folder, DAMAGES[named])
    problems = list(problems_of_folder(folder))
    assert any(named in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


def test_features_that_are_not_finite(folder: Path) -> None:
    for path in (folder.parent / "features").rglob("*.npy"):
        np.save(path, np.full((100, 4), np.nan, dtype=np.float32))
    assert len(list(problems_of_folder(folder))) == 3


def test_a_truncated_manifest(folder: Path) -> None:
    path = folder / "cuts.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert "unreadable" in list(problems_of_folder(folder))[-1]


def test_missing_and_empty_manifests(folder: Path) -> None:
    damage(folder, lambda cuts: cuts.clear())
    assert ["holds no cuts" in line for line in problems_of_folder(folder)] == [True]
    (folder / "cuts.jsonl.gz").unlink()
    assert ["no such file" in line for line in problems_of_folder(folder)] == [True]


def test_the_tool_exits_with_1_and_prints_each_problem(folder: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "utils/validate_data.py"), str(folder)]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    good = run()
    assert (good.returncode, good.stdout) == (0, "")
    damage(folder, no_speaker)
    bad = run()
    assert bad.returncode == 1
    assert bad.stdout.splitlines() == [f"{folder / 'cuts.jsonl.gz'}: b: no speaker"]
    assert "Traceback" not in bad.stderr
