"""benchmarks/convergence.sh: what it runs for which rows; and a real row on a small task."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nnet.small_data import SmallTask

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = (
    *("benchmarks/convergence.sh", "utils/parse_options.sh", "utils/recipe.sh"),
    *("local/size.sh", "conf/student.yaml"),
)
TOOLS = (
    *("steps/train_ce.py", "steps/search_scales.py", "steps/decode.py", "steps/score.py"),
    *("benchmarks/convergence.py", "bin/torchrun"),
)
LISTEN = '#!/usr/bin/env bash\necho "$OMP_NUM_THREADS" "$0" "$@" >>calls.txt\n'
CONFIG = """
lstm: {num_layers: 1, cells: 8, bidirectional: false}
trainer: {learning_rate: 0.02, warm_up_updates: 1, patience: 1}
batching: {batch_seconds: 2.8, num_buckets: 2}
front_end: {max_cuts: 1}
epochs: 2
"""


def run(script: Path, *options: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script to its end, commands of ``path`` first."""
    folders = [Path(sys.executable).parent, Path(os.environ["PATH"])]
    place = os.pathsep.join(map(str, [path, *folders] if path else folders))
    return subprocess.run(
        [script, *options], capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": place},
    )  # fmt: skip


class Listening:
    """A finished recipe with tools that note their arguments."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in SCRIPTS:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        for name in TOOLS:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(LISTEN)
            path.chmod(0o755)
        (folder / "path.sh").write_text(f"MEGAHOUR_ROOT={ROOT}\nexport PYTHONPATH={ROOT}\n")
        (folder / "cmd.sh").write_text("jobs=${jobs:-2}\n")
        for name in ("data/labeled/lfbe", "data/dev/lfbe", "exp/senones", "exp/senone_labels"):
            (folder / name).mkdir(parents=True)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        return run(self.folder / "benchmarks/convergence.sh", *options, path=self.folder / "bin")

    def calls(self, tool: str) -> list[list[str]]:
        """Threads and arguments of each call of a tool."""
        calls = [line.split() for line in (self.folder / "calls.txt").read_text().splitlines()]
        return [[call[0], *call[2:]] for call in calls if call[1].endswith(tool)]


@pytest.fixture
def recipe(tmp_path: Path) -> Listening:
    return Listening(tmp_path / "recipe")


def settings_of(call: list[str]) -> dict[str, str]:
    """Settings of a training that ``--set`` gives, and its number of workers."""
    given = [call[index + 1] for index, word in enumerate(call) if word == "--set"]
    settings = dict(setting.split("=", 1) for setting in given)
    if "--nproc-per-node" in call:
        settings["workers"] = call[call.index("--nproc-per-node") + 1]
        settings["method"] = call[call.index("--parallel") + 1]
    return settings


def test_the_rows_of_the_whole_table(recipe: Listening) -> None:
    done = recipe.run("--set", "epochs=3 trainer.learning_rate=0.01")
    assert done.returncode == 0, done.stderr
    (alone,) = recipe.calls("train_ce.py")
    together = recipe.calls("torchrun")
    expected = {
        *("ddp_2", "gtc_2_density_0.01", "gtc_2_density_0.005", "gtc_2_density_0.001"),
        *(
            f"bmuf_{workers}_{interval}_{momentum}"
            for workers in (2, 4, 8)
            for interval in (10, 50, 200)
            for momentum in ("classical", "nesterov")
        ),
        *(f"bmuf_{workers}_10_none" for workers in (2, 4)),
    }
    rows = {Path(call[-1]).name: settings_of(call) for call in together}
    assert set(rows) == expected and len(together) == len(expected)
    assert "batching.batch_seconds" not in settings_of(alone)
    assert "batching.divided" not in settings_of(alone)
    for name, row in rows.items():
        method, workers, *_ = name.split("_")
        assert (row["method"], row["workers"]) == (method, workers)
        assert row["batching.divided"] == "true"
    assert rows["gtc_2_density_0.005"]["parallel.gtc.density"] == "0.005"
    assert rows["bmuf_8_50_nesterov"]["parallel.bmuf.sync_interval"] == "50"
    for momentum, nesterov in (("classical", "false"), ("nesterov", "true")):
        assert rows[f"bmuf_4_200_{momentum}"]["parallel.bmuf.nesterov"] == nesterov
        assert rows[f"bmuf_4_200_{momentum}"]["parallel.bmuf.block_momentum"] == "null"
    assert rows["bmuf_4_10_none"]["parallel.bmuf.block_momentum"] == "0"
    assert rows["bmuf_4_10_none"]["parallel.bmuf.optimizer_state"] == "averaged"
    for call in (alone, *together):
        assert call[0] == "1"
        equal = {"epochs": "3", "trainer.patience": "0", "trainer.learning_rate": "0.01"}
        assert equal.items() <= settings_of(call).items()
    (table,) = recipe.calls("convergence.py")
    trained = [call[-1] for call in (alone, *together)]
    assert table[-len(trained) :] == trained
    assert sorted(call[-2] for call in recipe.calls("decode.py")) == sorted(trained * 3)


def test_chosen_rows_with_whole_batches_and_no_decoding(recipe: Listening) -> None:
    options = ("--batches", "whole", "--batch-seconds", "6.5", "--test-sets", "")
    done = recipe.run("--rows", "gtc_16_threshold_2e-05 one_process", *options)
    assert done.returncode == 0, done.stderr
    (alone,), (together,) = recipe.calls("train_ce.py"), recipe.calls("torchrun")
    for call in (alone, together):
        assert settings_of(call)["batching.batch_seconds"] == "6.5"
        assert "batching.divided" not in settings_of(call)
    assert settings_of(together)["parallel.gtc.threshold"] == "2e-05"
    assert not recipe.calls("decode.py") and not recipe.calls("search_scales.py")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--rows", "ddp_2 bmuf_2_10"], "--rows bmuf_2_10: no such row"),
        (["--rows", "ddp_0"], "--rows ddp_0: no such row"),
        (["--batches", "half"], "--batches must be divided or whole, not 'half'"),
        (["--batch-seconds", "long"], "--batch-seconds must be a number, not 'long'"),
        (["--exp", "none"], "none/senones: no such folder; run the recipe"),
    ],
)
def test_bad_options(recipe: Listening, options: list[str], told: str) -> None:
    done = recipe.run(*options)
    assert done.returncode == 1
    assert told in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (recipe.folder / "calls.txt").exists()


def test_a_real_row_beside_one_process(tmp_path: Path) -> None:
    task = SmallTask(tmp_path, num_labeled=13)
    data, exp, conf = (tmp_path / name for name in ("data", "exp", "conf"))
    for name, folder in (("labeled", task.labeled), ("dev", task.dev)):
        (data / name).mkdir(parents=True)
        (data / name / "lfbe").symlink_to(folder)
    exp.mkdir()
    (exp / "senones").symlink_to(task.senones)
    (exp / "senone_labels").symlink_to(task.labels)
    conf.mkdir()
    (conf / "student.yaml").write_text(CONFIG)
    folders = ("--data", str(data), "--exp", str(exp), "--conf", str(conf), "--device", "cpu")
    options = ("--rows", "bmuf_2_10_nesterov", "--test-sets", "", *folders)
    done = run(ROOT / "benchmarks" / "convergence.sh", *options)
    assert done.returncode == 0, done.stderr
    one, two = (
        line.strip("| ").split(" | ")
        for line in (exp / "convergence" / "CONVERGENCE.md").read_text().splitlines()
        if line.startswith(("| one_process", "| bmuf_2_10_nesterov"))
    )
    assert one[1:4] == ["1", "2.8", "–"]
    assert two[1:5] == ["2", "1.4", "10 (a pass: 4)", "0.5 Nesterov"]
    assert float(two[7].split()[0]) > 0 and int(two[9]) > 0
