"""The table of GMMs beside reference figures."""

import json
from pathlib import Path

import pytest

from am.errors import InputError
from am.scoring.gmm_results import gmm_table

REFERENCE = "model\ttitle\tpdfs\tseconds\twer\nall, tri2\tKaldi\t1744\t233\t54.84\n"


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    folders = {}
    for name, pdfs in (("tri1", 1232), ("tri2", 1744)):
        folder = tmp_path / name
        folder.mkdir()
        summary = {"pdfs": pdfs, "gaussians": 15000, "log_likelihood_per_frame": -43.686}
        (folder / "summary.json").write_text(json.dumps(summary))
        done = {"seconds": 38.9, "command": f"/somewhere/steps/train.py {tmp_path}/data {name}"}
        (folder / "done.json").write_text(json.dumps(done))
        folders[f"all, {name}"] = folder
    grid = folders["all, tri2"] / "grid_test"
    grid.mkdir()
    counts = {"words": 8160, "insertions": 432, "deletions": 713, "substitutions": 3252}
    facts = {
        "best": {"wer_percent": 53.8848, **counts},
        "chosen_on_others": {"wer_percent": 54.0196, **counts},
    }
    (grid / "summary.json").write_text(json.dumps(facts))
    (grid / "done.json").write_text(json.dumps({"command": "steps/decode_grid.py a b"}))
    return folders


def cells(table: str, name: str) -> list[str]:
    """The cells of the row that begins with ``name``."""
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return next(row for row in rows if row[0] == name)


def test_rows_with_and_without_word_errors(models: dict[str, Path]) -> None:
    table = gmm_table(models, None)
    assert cells(table, "all, tri1") == ["all, tri1", "1232", "15000", "39", "−43.69", *"–––"]
    assert cells(table, "all, tri2")[-3:] == ["53.88", "432 / 713 / 3252 of 8160", "54.02"]
    assert "# all, tri2\nsteps/train.py" in table and "steps/decode_grid.py a b" in table


def test_a_reference_stands_below_its_model(models: dict[str, Path], tmp_path: Path) -> None:
    reference = tmp_path / "reference.tsv"
    reference.write_text(REFERENCE)
    lines = gmm_table(models, reference).splitlines()
    below = next(place for place, line in enumerate(lines) if line.startswith("| all, tri2")) + 1
    row = lines[below].strip("| ").split(" | ")
    assert row == ["*Kaldi*", "*1744*", "*–*", "*233*", "*–*", "*54.84*", "*–*", "*–*"]
    assert sum("Kaldi" in line for line in lines) == 1


def test_bad_input(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished GMM"):
        gmm_table({"nothing": tmp_path}, None)
    with pytest.raises(InputError, match="no such file"):
        gmm_table(models, tmp_path / "none.tsv")
    (tmp_path / "odd.tsv").write_text("name\tpdfs\n")
    with pytest.raises(InputError, match="the first line must name the columns"):
        gmm_table(models, tmp_path / "odd.tsv")
