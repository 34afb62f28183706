"""The command lines of sharded data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from am.features.feature_data import open_feature_data
from am.nnet.data import load_features
from am.shar.read import SharData
from tests.nnet.small_data import SmallTask
from tests.shar.shar_cases import make_audio, make_soft_labels

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_tools_write_and_link(tmp_path):
    task = SmallTask(tmp_path, num_unlabeled=5)
    soft = make_soft_labels(tmp_path / "soft", task.unlabeled)
    command = ["utils/to_shar.py", "--jobs", 1, "--shard-size", 2, "--soft-labels", soft]
    done = run(*command, task.unlabeled, tmp_path / "shar")
    assert done.returncode == 0, done.stderr
    assert "up to date" in run(*command, task.unlabeled, tmp_path / "shar").stderr
    assert run("utils/link_shar.py", tmp_path / "shar", tmp_path / "linked").returncode == 0
    for cut, original in zip(
        SharData(tmp_path / "linked"), open_feature_data(task.unlabeled), strict=True
    ):
        np.testing.assert_array_equal(load_features(cut), load_features(original))
    gone = run("utils/link_shar.py", tmp_path / "nothing", tmp_path / "linked2")
    assert gone.returncode == 1
    assert gone.stderr.splitlines()[-2].startswith(f"link_shar.py: {tmp_path}/nothing/shar.json: ")


def test_audio_is_what_folders_without_features_give(tmp_path):
    audio = make_audio(tmp_path / "audio", 4)
    done = run("utils/to_shar.py", "--jobs", 1, "--set", "num_mel_bins=16", audio, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "shar.json").read_text())["fields"] == ["recording"]
    assert load_features(next(iter(SharData(tmp_path / "out")))).shape[1] == 16
