"""The table of ablations from made-up scores, beside computations by hand."""

import json
import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from lhotse import CutSet, MonoCut

from am.errors import InputError
from am.report.ablation_pictures import ablation_files, curve_points
from am.scoring.ablations import ROW_COLUMNS, ablation_table, compare_rows, read_rows
from am.scoring.bootstrap import wer_interval
from am.scoring.score import ScoredUtterance, write_utterances
from am.scoring.word_errors import WordErrors
from am.soft_labels.codec import SoftLabelCodec
from am.soft_labels.statistics import store_statistics
from am.storage import write_shard, write_store_description

ROOT = Path(__file__).resolve().parents[2]
NUM_CUTS, WORDS = 50, 4
TESTS = ("clean", "noisy")
ALONE, SOFT, HARD = "alone | labelled", "soft labels", "hard labels"
# Errors in all of each run, by test set.
RUNS = {
    ALONE: [(80, 120), (100, 140)],
    SOFT: [(40, 90), (60, 70), (50, 80)],
    HARD: [(70, 110)],
}


def make_run(folder: Path, errors: tuple[int, int], seed: int) -> None:
    """A system's folder with scores: the first utterances are all wrong."""
    for test, wrong in zip(TESTS, errors, strict=True):
        scored = folder / f"score_{test}"
        scored.mkdir(parents=True)
        utterances = []
        for index in range(NUM_CUTS):
            of_this = min(WORDS, max(0, wrong - WORDS * index))
            counted = WordErrors(words=WORDS, substitutions=of_this)
            utterances.append(ScoredUtterance(f"{test}{index:02d}", "s", test, counted))
        write_utterances(scored / "per_utterance.tsv", utterances)
        (scored / "scores.json").write_text("{}")
    (folder / "summary.json").write_text(json.dumps({"parameters": 1_500_000}))
    done = {"settings": {"trainer": {"seed": seed}}, "command": f"/a/steps/x.py {folder.name}"}
    (folder / "done.json").write_text(json.dumps(done))


def make_unlabeled(folder: Path, num_cuts: int) -> Path:
    """Half an hour of speech a cut."""
    folder.mkdir()
    with CutSet.open_writer(folder / "cuts.jsonl.gz") as writer:
        for index in range(num_cuts):
            writer.write(MonoCut(f"cut{index}", 0.0, 1800.0, 0))
    return folder


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    """Three systems, one alone, one with soft and one with hard labels."""
    unlabeled = make_unlabeled(tmp_path / "unlabeled", 3)
    labels = {ALONE: "-"}
    for name, codec in ((SOFT, {"codec": {"top_k": 20}}), (HARD, {"kind": "pdf-ids"})):
        folder = tmp_path / f"labels{len(labels)}"
        folder.mkdir()
        (folder / "store.json").write_text(json.dumps(codec))
        (folder / "done.json").write_text(
            json.dumps({"command": f"/a/steps/make.py {folder.name}"})
        )
        labels[name] = str(folder)
    lines = ["\t".join(ROW_COLUMNS)]
    for name, runs in RUNS.items():
        for seed, errors in enumerate(runs, 1):
            folder = tmp_path / f"{name.split()[0]}-{seed}"
            make_run(folder, errors, seed)
            data = "-" if name == ALONE else str(unlabeled)
            curves = {ALONE: "hours", SOFT: "hours,top_k", HARD: "-"}[name]
            lines.append("\t".join([name, curves, data, labels[name], str(folder)]))
    path = tmp_path / "rows.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


def cells(table: str, *first: str) -> list[str]:
    """The only row of the table's sections that begins with these cells."""
    rows = [re.split(r"(?<!\\) ?\| ", line)[1:] for line in table.splitlines() if line[:1] == "|"]
    found = [row for row in rows if tuple(row[: len(first)]) == first]
    assert len(found) == 1, (first, found)
    return [cell.removesuffix(" |") for cell in found[0]]


def section(table: str, heading: str) -> str:
    """What stands under a heading."""
    return table.partition(f"\n## {heading}")[2].partition("\n## ")[0]


def test_rates_are_means_over_runs_and_changes_are_of_the_means(rows_file: Path) -> None:
    table = ablation_table(read_rows(rows_file, TESTS), TESTS, [ALONE], {})
    rates = table.partition("\n## ")[0]
    # 200 words a test set: (80 + 100) / 2 = 90, (120 + 140) / 2 = 130, together 220 of 400.
    alone = cells(rates, r"alone \| labelled")
    assert alone[1:5] == ["1.5 M", "2", "–", "–"]
    assert [cell.split()[0] for cell in alone[5:]] == ["45.0", "65.0", "55.0"]
    assert "−" not in "".join(alone)
    soft = cells(rates, SOFT)
    assert soft[2:5] == ["3", "1.50", "soft, k = 20"]
    assert [cell.split()[0] for cell in soft[5:]] == ["25.0", "40.0", "32.5"]
    assert [cell.split("] ")[1] for cell in soft[5:]] == ["−44.4 %", "−38.5 %", "−40.9 %"]
    assert cells(rates, HARD)[4] == "hard"


def test_labels_of_all_senones_are_told_apart(rows_file: Path) -> None:
    store = rows_file.parent / "labels1" / "store.json"
    store.write_text(json.dumps({"kind": "soft labels", "codec": {"num_pdfs": 500}}))
    row = read_rows(rows_file, TESTS)[1]
    assert row.labels_for_people() == "soft, all"
    assert curve_points([row], "top_k", TESTS) == {}


def test_the_interval_of_one_run_is_the_plain_bootstrap(rows_file: Path) -> None:
    row = read_rows(rows_file, TESTS)[2]
    errors, words = row.errors(["clean"])
    assert errors.shape == (1, NUM_CUTS) and errors.sum() == 70
    assert row.rate(["clean"], seed=3)[1] == wer_interval(errors[0], words, seed=3)


def test_the_interval_has_the_variance_of_utterances_and_of_runs() -> None:
    generator = np.random.default_rng(0)
    skill = np.array([[0.2], [0.3], [0.25], [0.35]])
    errors = generator.binomial(10, skill, (4, 300))
    words = np.full(300, 10)
    interval = wer_interval(errors, words, seed=1, replications=40_000)
    rates = errors.sum(axis=1) / words.sum()
    # Independent parts: the mean of 4 drawn runs, and the utterances' sampling of their mean.
    of_runs = rates.var() / 4
    of_utterances = np.mean([(e / 10).var() / 300 / 4 for e in errors])
    expected = 2 * 1.96 * np.sqrt(of_runs + of_utterances)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.08)
    assert interval.low < rates.mean() < interval.high


def test_significance_against_each_named_system(rows_file: Path) -> None:
    rows = read_rows(rows_file, TESTS)
    table = ablation_table(rows, TESTS, [ALONE, HARD], {})
    against_alone = section(table, f"Against “{ALONE}”")
    assert cells(against_alone, SOFT, "all")[2].startswith("−22.50 [")
    assert cells(against_alone, SOFT, "all")[4] == "< 0.001"
    assert cells(section(table, f"Against “{HARD}”"), SOFT, "clean")[2].startswith("−10.00 [")
    comparison = compare_rows(rows[2], rows[1], ["clean"], seed=1)
    assert comparison is not None
    assert comparison.difference == pytest.approx(-0.1)
    assert comparison.interval.low < -0.1 < comparison.interval.high


def test_every_run_has_its_seed_and_its_command(rows_file: Path) -> None:
    table = ablation_table(read_rows(rows_file, TESTS), TESTS, [], {})
    assert cells(section(table, "Every run"), SOFT, "2")[2:] == ["30.00", "35.00", "32.50"]
    commands = section(table, "Commands").splitlines()
    start = commands.index(f"# {SOFT}")
    assert commands[start + 1 : start + 5] == [
        "steps/make.py labels1",
        *(f"steps/x.py soft-{i}" for i in (1, 2, 3)),
    ]


def test_curves_are_drawn_where_they_have_two_points(rows_file: Path) -> None:
    rows = read_rows(rows_file, TESTS)
    assert list(curve_points(rows, "hours", TESTS)) == [0.0, 1.5]
    assert list(curve_points(rows, "top_k", TESTS)) == [20.0]
    files = ablation_files(rows, TESTS, [ALONE], seed=1)
    assert list(files) == ["ABLATIONS.md", "hours.svg"]
    assert "](hours.svg)" in files["ABLATIONS.md"]
    root = ElementTree.fromstring(files["hours.svg"])
    svg = "{http://www.w3.org/2000/svg}"
    texts = [node.text for node in root.iter(f"{svg}text")]
    assert {"clean, %", "noisy, %", "all, %", "0", "1.5", "hours of unlabelled speech"} <= set(
        texts
    )
    lines = [line.get("points", "").split() for line in root.iter(f"{svg}polyline")]
    assert [len(points) for points in lines] == [2, 2, 2]
    for line in lines:
        (_, before), (_, after) = (map(float, point.split(",")) for point in line)
        assert after > before  # a lower rate stands lower, y growing downwards
    assert sum(line.get("class") == "interval" for line in root.iter(f"{svg}line")) == 6


def write_soft_labels(folder: Path, probabilities: list[float]) -> int:
    """A store of one cut of three equal frames, k of these; its size in bytes."""
    codec = SoftLabelCodec(len(probabilities))
    description = {"kind": "soft labels", "frame_shift": 0.03, "fields": ["pdf_ids", "logits"]}
    write_store_description(folder, description | {"codec": codec.describe()})
    record = {
        "pdf_ids": np.tile(np.arange(len(probabilities), dtype=np.uint16), (3, 1)),
        "logits": np.tile(np.log(np.array(probabilities, np.float32)), (3, 1)),
    }
    write_shard(folder, 0, [("cut", record)], codec)
    return sum(path.stat().st_size for path in folder.glob("shard-*"))


def test_stored_logits_have_their_size_and_probability(rows_file: Path) -> None:
    alone, soft, hard = read_rows(rows_file, TESTS)
    assert "Stored logits" not in ablation_table([alone, soft], TESTS, [], {})
    rows = []
    sizes = {}
    for row, probabilities in ((soft, [0.5, 0.25]), (hard, [0.6])):
        folder = rows_file.parent / f"soft{len(probabilities)}"
        sizes[len(probabilities)] = write_soft_labels(folder, probabilities)
        rows.append(replace(row, labels=folder, curves=("top_k",)))
    table = section(ablation_table([alone, *rows], TESTS, [], {}), "Stored logits")
    two = cells(table, "2")
    assert two[1] == f"{sizes[2] / 3:.1f}"
    # Each logit is stored to 0.05.
    assert float(two[2]) == pytest.approx(0.75, rel=0.05)
    assert two[3].startswith("25.0 [")
    assert table.index("\n| 1 |") < table.index("\n| 2 |")
    assert float(cells(table, "1")[2]) == pytest.approx(0.6, rel=0.05)


def test_a_store_without_frames_is_named(tmp_path: Path) -> None:
    write_store_description(
        tmp_path, {"kind": "soft labels", "frame_shift": 0.03, "fields": ["pdf_ids", "logits"]}
    )
    with pytest.raises(InputError, match="has no frames"):
        store_statistics(tmp_path)


def test_a_system_without_a_test_set_has_a_gap(rows_file: Path) -> None:
    folder = rows_file.parent / "hard-1" / "score_noisy"
    for path in folder.iterdir():
        path.unlink()
    table = ablation_table(read_rows(rows_file, TESTS), TESTS, [ALONE], {})
    assert cells(table.partition("\n## ")[0], HARD)[6:] == ["–", "–"]
    assert cells(section(table, "Every run"), HARD, "1")[2:] == ["35.00", "–", "–"]


def test_the_tool_writes_the_table_and_prints_its_rates(
    rows_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = rows_file.parent / "output"
    options = ["--test-sets", " ".join(TESTS), "--against", SOFT, str(rows_file), str(output)]
    monkeypatch.setattr(sys, "argv", ["utils/ablations.py", *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "utils" / "ablations.py"), run_name="__main__")
    assert ended.value.code == 0
    table = (output / "ABLATIONS.md").read_text()
    assert f"Against “{SOFT}”" in table and (output / "hours.svg").is_file()
    printed = capsys.readouterr().out
    assert printed.strip() == table.partition("\n## ")[0].strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must name the columns"),
        ("\t".join(ROW_COLUMNS) + "\n", "names no system"),
        ("\t".join(ROW_COLUMNS) + "\na\tb\n", "line 2: expected 5 columns"),
        ("\t".join(ROW_COLUMNS) + "\na\t-\t-\t-\t/none\n", "/none: no such folder"),
    ],
)
def test_bad_lists_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_rows(path, TESTS)


def test_an_unknown_system_to_compare_with_is_an_error(rows_file: Path) -> None:
    with pytest.raises(InputError, match="--against nobody: is none of"):
        ablation_table(read_rows(rows_file, TESTS), TESTS, ["nobody"], {})
