"""Pictures of alignments and of trainings: their types, their texts, their errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from inspection_cases import UTTERANCES, make_data, make_senone_labels, num_frames

from am.errors import InputError
from am.inspection.alignment_picture import draw_alignments
from am.inspection.cuts import find_cuts
from am.inspection.pictures import check_picture_name
from am.inspection.training_curves import TrainingHistory, draw_histories

Run = Callable[..., tuple[int, str, str]]


def texts(path: Path) -> list[str]:
    """What stands in an SVG, text by text."""
    found = ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()) for text in found]


def test_an_alignment(folders: Any, tmp_path: Path) -> None:
    path = tmp_path / "two.svg"
    draw_alignments(folders.lang.folder, folders.data, folders.alignment, ["two"], path)
    shown = texts(path)
    for text in ("two, speaker anne, 0.25 s", "words", "phones", "states", "senones", "seconds"):
        assert text in shown
    for name, _ in UTTERANCES["two"]:
        assert shown.count(name) == 1
    for word in ("bus", "a"):
        assert shown.count(word) == 1
    assert path.read_text().count("<image") == 1


def test_words_are_shown_as_they_are_written(folders: Any, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", UTTERANCES, {"three": "$h_1$ abe"})
    path = tmp_path / "three.svg"
    draw_alignments(folders.lang.folder, data, folders.alignment, ["three"], path)
    assert "$h_1$" in texts(path)


def test_a_part_of_several_cuts(folders: Any, tmp_path: Path) -> None:
    path = tmp_path / "cuts.svg"
    arguments = folders.lang.folder, folders.data, folders.alignment, ["two", "one/1"], path
    draw_alignments(*arguments, start=0.0, end=0.1)
    shown = texts(path)
    assert "one/1, speaker anne, 0.33 s" in shown
    assert shown.count("SIL") == 1
    # The words that begin after 0.1 s are not drawn; "a" is the last of either cut.
    assert shown.count("a") == 0
    with pytest.raises(InputError, match="nothing lies between"):
        draw_alignments(*arguments, start=0.2, end=0.1)


def test_types(folders: Any, tmp_path: Path) -> None:
    for name, magic in (("x.png", b"\x89PNG"), ("x.pdf", b"%PDF"), ("x.svg", b"<?xml")):
        draw_alignments(
            folders.lang.folder, folders.data, folders.alignment, ["two"], tmp_path / name
        )
        assert (tmp_path / name).read_bytes().startswith(magic)
    with pytest.raises(InputError, match=r"x.gif: not a picture's name; end it with one of"):
        check_picture_name(Path("x.gif"))


def test_senone_labels(folders: Any, tmp_path: Path) -> None:
    labels = make_senone_labels(tmp_path / "labels", {"two": [401, 401, 12]}, "tree")
    path = tmp_path / "two.svg"
    draw_alignments(folders.lang.folder, folders.data, labels, ["two"], path)
    shown = texts(path)
    assert {"401", "12", "senones"} <= set(shown)
    assert "phones" not in shown


def test_bad_input(folders: Any, tmp_path: Path, run_tool: Run) -> None:
    lang, data, alignment = folders.lang.folder, folders.data, folders.alignment
    labels = make_senone_labels(tmp_path / "labels", {"two": [1]}, "tree")
    picture = tmp_path / "x.png"
    for cut_id, data_folder, aligned, message in (
        ("four", data, alignment, f"{data / 'cuts.jsonl.gz'}: no cut four; give the id"),
        ("three", data, labels, f"{labels}: three is not aligned"),
        ("two", lang, alignment, "features.json: no such file"),
        ("two", data, lang, f"{lang}: not an alignment"),
    ):
        status, _, shown = run_tool(
            "show_alignment.py", "--cut", cut_id, lang, data_folder, aligned, picture
        )
        assert status == 1
        assert message in shown
        assert "Traceback" not in shown
        assert not picture.exists()
    status, _, _ = run_tool("show_alignment.py", "--cut", "two", lang, data, alignment, picture)
    assert status == 0
    assert picture.is_file()


def test_cuts_come_in_the_order_asked_for(folders: Any) -> None:
    found = find_cuts(folders.data, ["three", "one/1"])
    assert [cut.id for cut in found] == ["three", "one/1"]
    assert found[0].num_frames == num_frames(UTTERANCES["three"])


GMM_ROWS = [
    {"iteration": 1, "log_likelihood_per_frame": -50.25, "gaussians": 880, "seconds": 0.2},
    {"iteration": 2, "unaligned": 3, "log_likelihood_per_frame": -49.5, "gaussians": 1164},
]
NETWORK_ROWS = [
    {
        "updates": 10 * number,
        "pass": number,
        "source": "labeled",
        "train_loss": 4.5 / number,
        "dev_loss": 3.25,
        "dev_frame_accuracy": 0.5,
        "learning_rate": 1e-3,
        "frames_per_second": 1964.4,
        "skipped_batches": 0,
    }
    for number in (1, 2)
]


def write_log(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_curves_of_gmms(tmp_path: Path, run_tool: Run) -> None:
    mono, tri = write_log(tmp_path / "mono", GMM_ROWS), write_log(tmp_path / "tri", GMM_ROWS[:1])
    picture = tmp_path / "gmm.svg"
    status, printed, _ = run_tool("show_training.py", mono, tri, picture)
    assert status == 0
    shown = texts(picture)
    for text in ("log-likelihood a frame", "Gaussians", "iteration", str(mono), str(tri)):
        assert text in shown
    assert shown.count("aligned anew") == 1
    lines = printed.splitlines()
    assert lines[0] == f"{mono}:"
    assert lines[1] == "iteration  log likelihood per frame  gaussians  seconds  unaligned"
    assert lines[2].split() == ["1", "-50.2500", "880", "0.20"]
    assert lines[3].split() == ["2", "-49.5000", "1164", "3"]
    assert lines[4:6] == ["", f"{tri}:"]


def test_curves_of_networks(tmp_path: Path, run_tool: Run) -> None:
    folder = write_log(tmp_path / "net", NETWORK_ROWS)
    picture = tmp_path / "net.svg"
    status, printed, _ = run_tool("show_training.py", folder, picture)
    assert status == 0
    shown = texts(picture)
    for text in ("loss", "dev frame accuracy", "learning rate", "updates", f"{folder}, dev loss"):
        assert text in shown
    row = printed.splitlines()[3].split()
    assert row == ["20", "2", "labeled", "2.2500", "3.2500", "0.5000", "1.00e-03", "1964", "0"]


def test_labelled_and_unlabelled_data_are_drawn_apart(tmp_path: Path) -> None:
    sources = ("unlabeled-000", "labeled", "unlabeled-001", "labeled")
    rows = [
        {**NETWORK_ROWS[0], "updates": number, "source": source, "train_loss": float(number)}
        for number, source in enumerate(sources)
    ]
    history = TrainingHistory.load(write_log(tmp_path / "net", rows))
    assert history.curves("train_loss") == {
        "unlabeled": ([0, 2], [0.0, 2.0]),
        "labeled": ([1, 3], [1.0, 3.0]),
    }
    assert history.curves("dev_loss") == {"": ([0, 1, 2, 3], [3.25] * 4)}
    draw_histories([history], tmp_path / "net.svg")
    assert f"{tmp_path / 'net'}, train loss, unlabeled" in texts(tmp_path / "net.svg")


def test_logs_that_are_none(tmp_path: Path, run_tool: Run) -> None:
    gmm, network = write_log(tmp_path / "a", GMM_ROWS), write_log(tmp_path / "b", NETWORK_ROWS)
    picture = tmp_path / "x.svg"
    for folders, message in (
        ([gmm, network], f"{network}: counts in updates, {gmm} in iteration; show"),
        ([tmp_path], "log.jsonl: no such file; give the folder of a trained GMM or network"),
    ):
        status, printed, shown = run_tool("show_training.py", *folders, picture)
        assert (status, printed) == (1, "")
        assert message in shown
        assert not picture.exists()
    for number, text in enumerate(("not json\n", "", "[1]\n", '{"step": 1}\n')):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "log.jsonl").write_text(text)
        with pytest.raises(InputError, match=r"log.jsonl: (not lines|holds no iterations)"):
            TrainingHistory.load(folder)
