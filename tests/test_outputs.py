"""Outputs are whole or absent, and are done again when what they were made of has changed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import pytest

from am import outputs


def finished(output: Path, mark: str, text: str = "x") -> None:
    partial = outputs.start_partial(output, mark, is_folder=True)
    (partial / "result.txt").write_text(text)
    outputs.finish(output, mark, {"seconds": 1})


def finished_file(output: Path, mark: str, text: str = "x") -> None:
    outputs.start_partial(output, mark, is_folder=False).write_text(text)
    outputs.finish(output, mark, {})


def test_fingerprint_sees_tool_settings_and_inputs(tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("a")
    marks = {
        outputs.fingerprint("tool", [source], {"a": 1}),
        outputs.fingerprint("other", [source], {"a": 1}),
        outputs.fingerprint("tool", [source], {"a": 2}),
        outputs.fingerprint("tool", [], {"a": 1}),
    }
    assert len(marks) == 4
    assert outputs.fingerprint("tool", [source], {"a": 1}) in marks
    source.write_text("b")
    assert outputs.fingerprint("tool", [source], {"a": 1}) not in marks


def test_fingerprint_does_not_depend_on_the_order_of_settings(tmp_path: Path) -> None:
    first = outputs.fingerprint("tool", [], {"a": 1, "b": 2})
    assert first == outputs.fingerprint("tool", [], {"b": 2, "a": 1})


def test_fingerprint_sees_any_file_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text("a")
    marks = [outputs.fingerprint("tool", [folder], {})]
    (folder / "inner" / "file").write_text("b")
    marks.append(outputs.fingerprint("tool", [folder], {}))
    (folder / "inner" / "other").write_text("b")
    marks.append(outputs.fingerprint("tool", [folder], {}))
    (folder / "inner" / "other").rename(folder / "inner" / "renamed")
    marks.append(outputs.fingerprint("tool", [folder], {}))
    assert len(set(marks)) == 4
    (folder / "partial.model").mkdir()
    (folder / "partial.model" / "half").write_text("x")
    assert outputs.fingerprint("tool", [folder], {}) == marks[-1]


def test_large_files_are_told_apart_without_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "MAX_HASHED_BYTES", 3)
    path = tmp_path / "large"
    path.write_text("12345")
    os.utime(path, ns=(1, 1))
    first = outputs.fingerprint("tool", [path], {})
    path.write_text("54321")
    os.utime(path, ns=(1, 1))
    assert outputs.fingerprint("tool", [path], {}) == first
    os.utime(path, ns=(2, 2))
    assert outputs.fingerprint("tool", [path], {}) != first


def test_an_input_made_anew_counts_as_changed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    finished(source, "mark")
    first = outputs.fingerprint("tool", [source], {})
    assert outputs.fingerprint("tool", [source], {}) == first
    time.sleep(0.01)
    finished(source, "mark")
    assert outputs.fingerprint("tool", [source], {}) != first


def test_done_marker_of_a_folder(tmp_path: Path) -> None:
    output = tmp_path / "exp" / "model"
    assert not outputs.is_done(output, "mark")
    finished(output, "mark")
    assert outputs.is_done(output, "mark")
    assert not outputs.is_done(output, "other")
    assert sorted(path.name for path in output.iterdir()) == ["done.json", "result.txt"]
    assert [path.name for path in output.parent.iterdir()] == ["model"]
    marker = json.loads((output / "done.json").read_text())
    assert marker["fingerprint"] == "mark"
    assert marker["seconds"] == 1


def test_done_marker_of_a_file(tmp_path: Path) -> None:
    output = tmp_path / "lm.arpa.gz"
    assert outputs.partial_path(output).name.endswith(output.name)
    finished_file(output, "mark", "first")
    assert outputs.is_done(output, "mark")
    output.unlink()
    assert not outputs.is_done(output, "mark")
    finished_file(output, "other", "second")
    assert not outputs.is_done(output, "mark")
    assert output.read_text() == "second"


def test_a_marker_that_was_cut_short_is_not_done(tmp_path: Path) -> None:
    output = tmp_path / "model"
    finished(output, "mark")
    (output / "done.json").write_text('{"fingerpr')
    assert not outputs.is_done(output, "mark")


def test_an_output_is_replaced_whole(tmp_path: Path) -> None:
    output = tmp_path / "model"
    finished(output, "first")
    (output / "left.txt").write_text("of the first")
    finished(output, "second", "y")
    assert sorted(path.name for path in output.iterdir()) == ["done.json", "result.txt"]
    assert (output / "result.txt").read_text() == "y"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_replaces_a_file_and_back(tmp_path: Path) -> None:
    output = tmp_path / "thing"
    finished_file(output, "file")
    finished(output, "folder")
    assert outputs.is_done(output, "folder")
    finished_file(output, "file again")
    assert outputs.is_done(output, "file again")


def test_partial_is_kept_for_the_same_work_only(tmp_path: Path) -> None:
    output = tmp_path / "model"
    partial = outputs.start_partial(output, "mark", is_folder=True)
    (partial / "checkpoint").write_text("epoch 3")
    assert not output.exists()
    again = outputs.start_partial(output, "mark", is_folder=True)
    assert (again / "checkpoint").read_text() == "epoch 3"
    other = outputs.start_partial(output, "other", is_folder=True)
    assert not (other / "checkpoint").exists()


def test_leftover_of_the_wrong_kind_is_removed(tmp_path: Path) -> None:
    output = tmp_path / "thing"
    outputs.partial_path(output).mkdir()
    finished_file(output, "mark")
    outputs.partial_path(output).write_text("x")
    finished(output, "other")
    assert outputs.is_done(output, "other")


@pytest.mark.parametrize("is_folder", [True, False])
@pytest.mark.parametrize("killed_at", range(6))
def test_killed_while_finishing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int, is_folder: bool
) -> None:
    """Stopped before any of its renames and removals, what is marked as done is done."""
    output = tmp_path / "model"
    make = finished if is_folder else finished_file
    make(output, "first", "first")
    partial = outputs.start_partial(output, "second", is_folder=is_folder)
    (partial / "result.txt" if is_folder else partial).write_text("second")
    steps = 0

    class Killed(Exception):
        pass

    def counted(function):  # type: ignore[no-untyped-def]
        def wrapper(*arguments, **named):  # type: ignore[no-untyped-def]
            nonlocal steps
            steps += 1
            if steps > killed_at:
                raise Killed
            return function(*arguments, **named)

        return wrapper

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "unlink"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        patch.setattr(outputs.shutil, "rmtree", counted(outputs.shutil.rmtree))
        with contextlib.suppress(Killed):
            outputs.finish(output, "second", {})
    result = output / "result.txt" if is_folder else output
    for mark in ("first", "second"):
        if outputs.is_done(output, mark):
            assert result.read_text() == mark
    make(output, "second", "second")
    assert outputs.is_done(output, "second")
    assert {path.name for path in tmp_path.iterdir()} <= {"model", ".model.done.json"}


def test_a_file_written_aside_is_the_old_one_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), outputs.written_aside(path) as aside:
        aside.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    with outputs.written_aside(path) as aside:
        aside.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_sha256_of_file(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert outputs.sha256_of_file(path) == known
