"""What local/run_ablations.sh runs for which rows and seeds, on tools that only listen."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("local/run_ablations.sh", "egs/speechocean762/local/run_ablations.sh")
TOOLS = {
    "steps": (
        *("train_ce", "train_student", "train_smbr", "make_denominator_lattices", "score"),
        *("make_pseudo_labels", "dump_soft_labels", "search_scales", "decode"),
    ),
    "utils": ("subset_data", "ablations"),
}
RECIPE_SYSTEMS = (
    *("student_supervised", "student_supervised_smbr", "student_segregated", "student_ce"),
    *("student_smbr", "teacher_ce", "teacher_smbr"),
)
LISTEN = '#!/usr/bin/env bash\necho "$(basename "$0")" "$@" >>calls.txt\n'


class Recipe:
    """A recipe's folder with finished systems and tools that note their arguments."""

    def __init__(self, folder: Path, script: str):
        self.folder = folder
        self.has_clean_copies = not script.startswith("egs/")
        for name in ("steps", "utils", "local", "bin"):
            (folder / name).mkdir(parents=True)
        tools = [folder / place / f"{name}.py" for place, names in TOOLS.items() for name in names]
        for path in (*tools, folder / "bin" / "torchrun"):
            path.write_text(LISTEN)
            path.chmod(0o755)
        for name in ("parse_options.sh", "recipe.sh", "ablation_options.sh", "ablations.sh"):
            shutil.copy(ROOT / "utils" / name, folder / "utils")
        shutil.copy(ROOT / script, folder / "local")
        shutil.copy((ROOT / script).with_name("size.sh"), folder / "local")
        (folder / "path.sh").write_text(f"MEGAHOUR_ROOT={ROOT}\n")
        (folder / "cmd.sh").write_text("jobs=${jobs:-2}\n")
        for name in RECIPE_SYSTEMS:
            (folder / "exp" / name).mkdir(parents=True)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the script to its end."""
        return subprocess.run(
            [str(self.folder / "local" / "run_ablations.sh"), *options],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
        )

    def calls(self, tool: str) -> list[list[str]]:
        """The arguments of each call of a tool."""
        lines = (self.folder / "calls.txt").read_text().splitlines()
        return [line.split()[1:] for line in lines if line.split()[0] in (tool, f"{tool}.py")]

    def rows(self) -> list[list[str]]:
        """The list of rows, without its head."""
        lines = (self.folder / "exp/ablations/rows.tsv").read_text().splitlines()
        return [line.split("\t") for line in lines[1:]]


@pytest.fixture(params=SCRIPTS, ids=["embedded", "speechocean762"])
def recipe(tmp_path: Path, request: pytest.FixtureRequest) -> Recipe:
    """Either recipe."""
    return Recipe(tmp_path / "recipe", request.param)


def test_all_rows_at_all_their_seeds(recipe: Recipe) -> None:
    done = recipe.run("--seeds", "1 2 3")
    assert done.returncode == 0, done.stderr
    runs = Counter(row[0] for row in recipe.rows())
    # Seven rows carry a claim; two teachers, three parts, five k and the options do not.
    seeds = {3: 7, 1: 15 + recipe.has_clean_copies}
    assert Counter(runs.values()) == seeds
    folders = [row[4] for row in recipe.rows()]
    assert len(set(folders)) == len(folders)
    outputs = [
        call[-1]
        for tool in ("train_ce", "train_student", "train_smbr")
        for call in recipe.calls(tool)
    ]
    own = {f"exp/{name}" for name in RECIPE_SYSTEMS}
    another_teacher = {f"exp/ablations/another_teacher_{kind}" for kind in ("ce", "smbr")}
    assert sorted(outputs) == sorted((set(folders) - own) | another_teacher)
    assert own <= set(folders)
    decoded = {call[-2] for call in recipe.calls("decode")}
    assert decoded == set(outputs) - another_teacher


def test_the_settings_of_the_rows(recipe: Recipe) -> None:
    recipe.run("--seeds", "4", "--rows", "hard_labels segregated interleaved scheduled top_k_7")
    students = {call[-1].split("/")[2]: call for call in recipe.calls("train_student")}
    assert set(students) == {"hard_labels", "segregated", "interleaved", "scheduled", "top_k_7"}
    for row, call in students.items():
        assert "trainer.seed=4" in call
        schedule = "segregated" if row == "segregated" else "interleaved"
        assert f"schedule.schedule={schedule}" in call
        one_rate = "schedule.labeled_learning_rate_factor=1" in call
        assert one_rate == (row == "interleaved")
    assert students["hard_labels"][-2] == recipe.calls("make_pseudo_labels")[0][-1]
    labelled_speech = "unlabeled_clean" if recipe.has_clean_copies else "unlabeled"
    assert f"data/{labelled_speech}/lfbe" in recipe.calls("make_pseudo_labels")[0]
    assert f"data/{labelled_speech}/lfbe" in recipe.calls("dump_soft_labels")[0]
    assert students["top_k_7"][-2] == recipe.calls("dump_soft_labels")[0][-1]
    assert recipe.calls("dump_soft_labels")[0][:2] == ["--top-k", "7"]
    assert students["scheduled"][-2] == "data/unlabeled/soft_labels"


def test_a_part_of_the_speech_is_what_its_student_is_trained_on(recipe: Recipe) -> None:
    recipe.run("--seeds", "1", "--rows", "unlabeled_1_16")
    (subset,) = recipe.calls("subset_data")
    (student,) = recipe.calls("train_student")
    assert subset[:2] == ["--share", "1/16"]
    assert subset[-1] in student
    assert recipe.rows()[0][:2] == ["student, scheduled, 1/16 of the unlabelled speech", "hours"]


def test_the_options_beyond_the_paper(recipe: Recipe) -> None:
    rows = ["confidence", "entropy", "noisy_student", "ensemble", "iterated"]
    recipe.run("--seeds", "1", "--rows", " ".join(rows))
    students = {call[-1].split("/")[2]: call for call in recipe.calls("train_student")}
    assert set(students) == set(rows)
    for row, call in students.items():
        weighting = f"trainer.soft_label_weighting={row}" in call
        assert weighting == (row in ("confidence", "entropy"))
        louder = any(option.startswith("trainer.noise_mixing.lowest_snr_db") for option in call)
        assert louder == (row == "noisy_student")
    dumps = {call[-1]: call for call in recipe.calls("dump_soft_labels")}
    two_teachers = dumps[students["ensemble"][-2]]
    another = two_teachers[two_teachers.index("--another-teacher") + 1]
    assert two_teachers[-2] == "exp/teacher_smbr"
    assert another == "exp/ablations/another_teacher_smbr"
    seeds = [option for call in recipe.calls("train_ce") for option in call if "seed" in option]
    assert seeds == ["trainer.seed=2"]
    assert dumps[students["iterated"][-2]][-2] == "exp/student_smbr"


def test_sequence_training_starts_from_the_same_seed(recipe: Recipe) -> None:
    recipe.run("--seeds", "1 5", "--rows", "scheduled_smbr")
    (smbr,) = recipe.calls("train_smbr")
    (student,) = recipe.calls("train_student")
    assert smbr[-3] == student[-1] == "exp/ablations/scheduled/seed_5"
    assert smbr[smbr.index("--seed") + 1] == "5"
    assert [row[4] for row in recipe.rows()] == [
        "exp/student_smbr",
        "exp/ablations/scheduled_smbr/seed_5",
    ]


def test_without_sequence_training_there_are_no_rows_of_it(recipe: Recipe) -> None:
    for name in ("teacher_smbr", "student_smbr", "student_supervised_smbr"):
        (recipe.folder / "exp" / name).rmdir()
    assert recipe.run("--seeds", "1").returncode == 0
    assert not recipe.calls("train_smbr")
    assert not any("sMBR" in row[0] for row in recipe.rows())


def test_trainings_in_several_processes(recipe: Recipe) -> None:
    processes = ("--processes", "3", "--parallel", "gtc")
    done = recipe.run("--seeds", "4", "--rows", "supervised scheduled_smbr", *processes)
    assert done.returncode == 0, done.stderr
    started = recipe.calls("torchrun")
    assert [call[3] for call in started] == [
        "steps/train_ce.py",
        "steps/train_student.py",
        "steps/train_smbr.py",
    ]
    for call in started:
        assert call[:3] == ["--standalone", "--nproc-per-node", "3"]
        assert call[call.index("--parallel") + 1] == "gtc"
        assert "batching.divided=true" in call
    assert not recipe.calls("train_ce") and not recipe.calls("train_smbr")
    for wrong in ("0", "two", ""):
        refused = recipe.run("--processes", wrong)
        assert refused.returncode == 1 and "at least 1, not" in refused.stderr
    refused = recipe.run("--batches", "shared")
    assert refused.returncode == 1 and "divided or whole, not 'shared'" in refused.stderr


def test_an_unknown_row_and_an_unfinished_recipe_are_named(recipe: Recipe) -> None:
    done = recipe.run("--rows", "scheduled everything")
    assert done.returncode == 1 and "--rows everything: no such row" in done.stderr
    (recipe.folder / "exp" / "student_ce").rmdir()
    done = recipe.run("--rows", "scheduled")
    assert done.returncode == 1 and "student_ce: no such folder; run the recipe" in done.stderr
    assert not (recipe.folder / "calls.txt").exists()


def test_a_failed_training_stops_the_script(recipe: Recipe) -> None:
    (recipe.folder / "steps" / "train_student.py").write_text("#!/usr/bin/env bash\nexit 3\n")
    done = recipe.run("--rows", "interleaved scheduled", "--jobs", "1")
    assert done.returncode != 0
    assert not (recipe.folder / "exp/ablations/rows.tsv").exists()
