"""The table of results from scores on disk."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from am.errors import InputError
from am.scoring.results import markdown_table, results_table
from am.scoring.score import score_decoding

Make = Callable[..., Path]
NUM_CUTS = 40
TESTS = ("test_clean", "test_noisy")


@pytest.fixture
def systems(tmp_path: Path, make_data: Make, make_decoding: Make) -> dict[str, Path]:
    """Three systems of 5 words an utterance: 40 %, 24 % and 20 % wrong, on two test sets."""
    folders = {}
    for name, schedule, wrong in (
        ("alone", None, 80),
        ("first | then", "segregated", 48),
        ("mixed", "interleaved", 40),
    ):
        folder = tmp_path / f"exp{wrong}"
        for test in TESTS:
            cuts = {f"cut{i:02d}": ("s", test, "a b c d e") for i in range(NUM_CUTS)}
            data = tmp_path / f"{wrong}{test}"
            make_data(data, cuts)
            left = wrong
            hypotheses = {}
            for cut in cuts:
                errors = min(left, 3)
                hypotheses[cut] = " ".join(["x"] * errors + [["a", "b", "c", "d", "e"][errors:]][0])
                left -= errors
            decoded = make_decoding(folder / f"decode_{test}", hypotheses)
            (folder / f"score_{test}").mkdir()
            score_decoding(data, decoded, folder / f"score_{test}")
        (folder / "summary.json").write_text(json.dumps({"parameters": 24_312_000, "senones": 9}))
        settings = {"schedule": {"schedule": schedule}} if schedule else {}
        command = f"{Path.cwd()}/steps/train.py exp{wrong}"
        (folder / "done.json").write_text(json.dumps({"settings": settings, "command": command}))
        folders[name] = folder
    (folders["mixed"] / "decode_dev").mkdir()
    (folders["mixed"] / "decode_dev" / "best_scale.json").write_text('{"wer_percent": 17.24}')
    return folders


def rows_of(table: str, first_cell: str) -> list[list[str]]:
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] == first_cell]


def test_rates_and_relative_change(systems: dict[str, Path]) -> None:
    table = results_table(systems, TESTS, baseline="alone")
    alone, mixed = rows_of(table, "alone")[0], rows_of(table, "mixed")[0]
    assert mixed[:4] == ["mixed", "24.3 M", "9", "17.2"]
    assert alone[3] == "–"
    assert alone[4].startswith("40.0 [") and alone[4].endswith("]")
    for cell in mixed[4:]:
        assert cell.startswith("20.0 [") and cell.endswith("] −50.0 %")
    assert len(mixed) == 7  # two test sets and all of them


def test_significance_and_schedule(systems: dict[str, Path]) -> None:
    table = results_table(systems, TESTS, baseline="alone")
    of_mixed = [row for row in rows_of(table, "mixed") if row[1] in (*TESTS, "all")]
    assert [row[1] for row in of_mixed] == [*TESTS, "all"]
    assert of_mixed[0][2].startswith("−20.00 [") and of_mixed[0][3] == "1.000"
    # The errors fall by 50 % interleaved and by 40 % segregated: a quarter more.
    assert "changes the word error rate by −50.0 % relative" in table
    assert "by −40.0 %: the reduction is 25.0 % larger" in table


def test_conditions_of_the_same_utterances_are_drawn_together(systems: dict[str, Path]) -> None:
    table = results_table(systems, TESTS)
    row = rows_of(table, "mixed")[0]
    # Both test sets hold the same errors of the same utterances: twice as many say no more.
    assert row[4] == row[5] == row[6]


def test_without_baseline_or_machine_paths(systems: dict[str, Path], tmp_path: Path) -> None:
    table = results_table(systems, TESTS)
    assert "Significance" not in table and "## Schedule" not in table and "−" not in table
    assert "# mixed: training\nsteps/train.py exp40" in table
    assert str(Path.cwd()) not in table
    assert "torch" in table and "cores" in table


def test_timings(systems: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "timings.tsv"
    path.write_text("1\t12\tlanguage model\n7\t100.5\tteacher\n")
    table = results_table(systems, TESTS, timings=path)
    assert "| 7 teacher | 100 |" in table and "| together | 112 |" in table
    path.write_text("1 12 language model\n")
    with pytest.raises(InputError, match=r"timings\.tsv: line 1"):
        results_table(systems, TESTS, timings=path)
    with pytest.raises(InputError, match="no such file"):
        results_table(systems, TESTS, timings=tmp_path / "none")


def test_test_set_that_only_some_have(systems: dict[str, Path]) -> None:
    for path in (systems["mixed"] / "score_test_noisy").iterdir():
        path.unlink()
    row = rows_of(results_table(systems, TESTS, baseline="alone"), "mixed")[0]
    assert row[4].startswith("20.0") and row[5:] == ["–", "–"]


def test_bad_requests(systems: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one --system"):
        results_table({}, TESTS)
    with pytest.raises(InputError, match="--baseline other: is none of alone"):
        results_table(systems, TESTS, baseline="other")
    with pytest.raises(InputError, match="no such folder"):
        results_table({"lost": tmp_path / "lost"}, TESTS)
    with pytest.raises(InputError, match="no test set is scored"):
        results_table(systems, ["test_other"])


def test_systems_scored_on_different_data(systems: dict[str, Path]) -> None:
    path = systems["mixed"] / "score_test_clean" / "per_utterance.tsv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match="other utterances or transcripts than those of alone"):
        results_table(systems, TESTS)


def test_markdown() -> None:
    assert markdown_table(["a", "b"], [["x|y", "1"]]).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        r"| x\|y | 1 |",
    ]
