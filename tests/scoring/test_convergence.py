"""The table of trainings by one and by several processes, from made-up folders."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from am.errors import InputError
from am.scoring.convergence import convergence_table
from am.scoring.score import ScoredUtterance, write_utterances
from am.scoring.word_errors import WordErrors

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "convergence.py"
PARAMETERS, FRAMES = 250_000, 6000
GRADIENT_MEGABYTES = 4 * PARAMETERS / 2**20
TESTS = ("clean", "noisy")
# Row: workers, settings of parallel, updates of the passes, megabytes sent a batch in each.
LONG_BLOCKS = {"sync_interval": 200, "nesterov": True, "optimizer_state": "averaged"}
ROWS: dict[str, tuple[int, dict[str, Any], list[int], list[float]]] = {
    "one_process": (1, {}, [40, 40], []),
    "ddp_2": (2, {}, [40, 41], [GRADIENT_MEGABYTES] * 2),
    "gtc_density": (2, {"method": "gtc"}, [30, 90], [GRADIENT_MEGABYTES, GRADIENT_MEGABYTES / 200]),
    "gtc_threshold": (
        *(2, {"method": "gtc", "gtc": {"threshold": 0.0005}}),
        *([40, 40], [GRADIENT_MEGABYTES / 100] * 2),
    ),
    "bmuf_short": (
        *(4, {"method": "bmuf", "bmuf": {"sync_interval": 10}}),
        *([40, 40], [GRADIENT_MEGABYTES / 10] * 2),
    ),
    "bmuf_long": (
        *(8, {"method": "bmuf", "bmuf": LONG_BLOCKS}),
        *([36, 38], [GRADIENT_MEGABYTES / 36, GRADIENT_MEGABYTES / 38]),
    ),
}
DEV_LOSSES = dict(zip(ROWS, (2.0, 2.0, 2.1, 2.02, 1.9, 2.5), strict=True))
# Wrong words of 100 in clean and in noisy speech.
ERRORS = dict(zip(ROWS, ((20, 40), (20, 40), (22, 41), (21, 40), (18, 36), (30, 60)), strict=True))


def make_row(folder: Path, name: str) -> Path:
    """What a finished row leaves."""
    workers, parallel, updates, megabytes = ROWS[name]
    row = folder / name
    for test, wrong in zip(TESTS, ERRORS[name], strict=True):
        scored = row / f"score_{test}"
        scored.mkdir(parents=True)
        counted = WordErrors(words=100, substitutions=wrong)
        write_utterances(
            scored / "per_utterance.tsv", [ScoredUtterance(f"{test}-1", "s", test, counted)]
        )
        (scored / "scores.json").write_text("{}")
    write_json(
        row / "summary.json",
        {
            "parameters": PARAMETERS,
            "processes": workers,
            "frames": FRAMES,
            "updates": sum(updates),
            "dev_loss": DEV_LOSSES[name],
            "dev_frame_accuracy": 0.5,
        },
    )
    batching = {"batch_seconds": 20, "divided": workers > 1}
    settings = {"parallel": parallel, "batching": batching}
    write_json(row / "done.json", {"settings": settings})
    lines = [
        {"updates": sum(updates[: index + 1])}
        | ({"megabytes_sent": megabytes[index]} if megabytes else {})
        for index in range(len(updates))
    ]
    (row / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return row


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [make_row(tmp_path, name) for name in ROWS]


def cells_of(table: str) -> dict[str, dict[str, str]]:
    """Row → column → cell."""
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in table.splitlines()
        if line.startswith("| ")
    ]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def column(table: str, name: str) -> list[str]:
    return [row[name] for row in cells_of(table).values()]


def test_how_each_row_was_trained(folders: list[Path]) -> None:
    table = convergence_table(folders, TESTS, "benchmarks/convergence.sh --jobs 1")
    assert list(cells_of(table)) == list(ROWS)
    assert column(table, "workers") == ["1", "2", "2", "2", "4", "8"]
    assert column(table, "batch, s") == ["20", "10", "10", "10", "5", "2.5"]
    assert column(table, "sync interval") == [*"––––", "10", "200 (a pass: 38)"]
    assert column(table, "block momentum") == [
        *"––––",
        *("0.75 classical", "0.875 Nesterov, optimiser averaged"),
    ]
    assert column(table, "threshold") == [*"––", "by density 0.005", "0.0005", *"––"]
    assert column(table, "updates") == ["80", "81", "120", "80", "80", "74"]
    assert "benchmarks/convergence.sh --jobs 1\n" in table and f"{FRAMES} frames" in table


def test_bytes_are_means_over_batches(folders: list[Path]) -> None:
    table = convergence_table(folders, TESTS, "")
    # A quarter of gtc_density's batches sent 1,000,000 bytes, the others 5,000.
    sent = ["–", "1000000", "253750", "10000", "100000", "27027"]
    assert column(table, "bytes sent a batch") == sent
    assert column(table, "of a gradient") == ["–", "1.00", "1/4", "1/100", "1/10", "1/37"]
    assert column(table, "in the last pass") == ["–", "1.00", "1/200", "1/100", "1/10", "1/38"]


def test_losses_and_rates_are_beside_those_of_one_process(folders: list[Path]) -> None:
    table = convergence_table(folders, TESTS, "")
    losses = ["2.000", "2.000 +0.0 %", "2.100 +5.0 %", "2.020 +1.0 %", "1.900 −5.0 %"]
    assert column(table, "dev loss") == [*losses, "2.500 +25.0 %"]
    assert column(table, "dev frame accuracy") == ["50.0 %"] * 6
    rates = [cell.split(" ", 1)[0] for cell in column(table, "all")]
    assert rates == ["30.0", "30.0", "31.5", "30.5", "27.0", "45.0"]
    assert [cell.split("] ")[-1] for cell in column(table, "noisy")][2:] == [
        *("+2.5 %", "+0.0 %", "−10.0 %", "+50.0 %")
    ]


def test_the_benchmark_writes_the_table_without_scores(
    tmp_path: Path,
    folders: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "CONVERGENCE.md"
    options = ["--command", "x", "--output", str(output), *map(str, folders)]
    monkeypatch.setattr(sys, "argv", [str(BENCHMARK), *options])
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    table = output.read_text()
    assert capsys.readouterr().out.strip() == table.strip()
    assert list(cells_of(table)["ddp_2"])[-1] == "in the last pass"


def test_other_data_or_an_unfinished_row_are_named(folders: list[Path]) -> None:
    summary = json.loads((folders[2] / "summary.json").read_text())
    write_json(folders[2] / "summary.json", summary | {"frames": FRAMES + 1})
    with pytest.raises(InputError, match=r"gtc_density: trained on 6001 frames, .*on 6000; train"):
        convergence_table(folders, TESTS, "")
    (folders[1] / "done.json").unlink()
    with pytest.raises(InputError, match="ddp_2: no finished training"):
        convergence_table(folders[:2], TESTS, "")
