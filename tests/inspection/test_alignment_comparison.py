"""Agreement of alignments against values worked out by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inspection_cases import (
    SIL,
    UTTERANCES,
    Phone,
    make_alignment,
    make_lang,
    make_senone_labels,
    num_frames,
)

from am.errors import InputError
from am.inspection.alignment_comparison import compare_alignments
from am.inspection.boundaries import BoundaryShifts, ShiftDistribution, boundary_shifts
from am.inspection.labelled_cuts import LabelledCut
from am.lang.prepare import LangSettings

Run = Callable[..., tuple[int, str, str]]


def compare(folders: Any, alignment: Path, reference: Path, output: Path) -> dict[str, Any]:
    output.mkdir()
    compare_alignments(folders.lang.folder, alignment, reference, output)
    facts: dict[str, Any] = json.loads((output / "comparison.json").read_text())
    return facts


def tsv(path: Path) -> list[dict[str, str]]:
    head, *lines = (line.split("\t") for line in path.read_text().splitlines())
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_an_alignment_agrees_with_itself(folders: Any, tmp_path: Path) -> None:
    facts = compare(folders, folders.alignment, folders.alignment, tmp_path / "out")
    assert facts["agreement"] == {"phone": 1.0, "base phone": 1.0, "senone": 1.0}
    assert facts["frames"] == sum(map(num_frames, UTTERANCES.values()))
    boundaries = facts["boundaries"]
    assert boundaries["boundaries"] == sum(len(phones) - 1 for phones in UTTERANCES.values())
    assert boundaries["unmatched"] == boundaries["mean_distance_ms"] == 0
    assert boundaries["within_10_ms"] == 1
    rows = tsv(tmp_path / "out" / "phones.tsv")
    assert {row["agreement"] for row in rows} == {"1.0000"}
    assert sum(int(row["frames"]) for row in rows) == facts["frames"]


def shifted(phones: Sequence[Phone]) -> list[Phone]:
    """Every inner boundary 2 frames later: the first phone is longer, the last shorter."""
    (first, first_states), *middle, (last, last_states) = phones
    *others, end = last_states
    return [(first, (first_states[0] + 2, *first_states[1:])), *middle, (last, (*others, end - 2))]


def test_a_shifted_copy(folders: Any, tmp_path: Path) -> None:
    reference = {"one": [("B_B", (2, 2, 2)), ("AH1_I", (3, 3, 3)), ("S_E", (2, 2, 5))]}
    alignment = {"one": shifted(reference["one"])}
    make_alignment(tmp_path / "reference", folders.lang, reference)
    make_alignment(tmp_path / "alignment", folders.lang, alignment)
    out = tmp_path / "out"
    facts = compare(folders, tmp_path / "alignment", tmp_path / "reference", out)
    # Of 24 frames, 2 after each of the two boundaries are still the phone before.
    assert facts["agreement"]["base phone"] == pytest.approx(20 / 24)
    assert facts["agreement"]["phone"] == pytest.approx(20 / 24)
    # States: of B 000011 11, of AH 222 333 444, S 55 66 77777, all 2 later: 2 of each run are
    # wrong, in 8 boundaries of states.
    assert facts["agreement"]["senone"] == pytest.approx(8 / 24)
    boundaries = facts["boundaries"]
    assert boundaries["boundaries"] == 2
    assert boundaries["mean_distance_ms"] == pytest.approx(20)
    assert boundaries["median_distance_ms"] == pytest.approx(20)
    assert boundaries["mean_shift_ms"] == pytest.approx(20)
    limits = [boundaries[f"within_{limit}_ms"] for limit in (10, 20, 50)]
    assert limits == [0, 1, 1]
    rows = {row["phone"]: row for row in tsv(out / "phones.tsv")}
    assert rows["AH"]["agreement"] == f"{7 / 9:.4f}"
    assert (rows["AH"]["instead"], rows["AH"]["instead_share"]) == ("B", f"{2 / 9:.4f}")
    assert (rows["B"]["begin_distance_ms"], rows["B"]["end_distance_ms"]) == ("", "20.00")
    backwards = compare(folders, tmp_path / "reference", tmp_path / "alignment", tmp_path / "b")
    assert backwards["boundaries"]["mean_shift_ms"] == pytest.approx(-20)


def test_base_phones_put_variants_together(folders: Any, tmp_path: Path) -> None:
    first = make_alignment(tmp_path / "a", folders.lang, {"x": [("AH0_S", (1, 1, 1))]})
    second = make_alignment(tmp_path / "b", folders.lang, {"x": [("AH1_I", (1, 1, 1))]})
    facts = compare(folders, first, second, tmp_path / "out")
    assert facts["agreement"] == {"phone": 0.0, "base phone": 1.0, "senone": 1.0}
    assert facts["boundaries"] == {"boundaries": 0, "unmatched": 0}


def test_cuts_that_only_one_has_and_unlike_lengths(folders: Any, tmp_path: Path) -> None:
    states = (1, 1, 1)
    ours = {"a": [("B_B", states)], "both": [("B_B", states), ("S_E", states)]}
    theirs = {"both": [("B_B", states), ("S_E", (1, 1, 2))], "b": [SIL], "c": [SIL]}
    first = make_alignment(tmp_path / "first", folders.lang, ours)
    second = make_alignment(tmp_path / "second", folders.lang, theirs)
    facts = compare(folders, first, second, tmp_path / "out")
    counted = {key: facts[key] for key in ("cuts", "only_in_alignment", "only_in_reference")}
    assert counted == {"cuts": 1, "only_in_alignment": 1, "only_in_reference": 2}
    assert (facts["of_unlike_length"], facts["frames"]) == (1, 6)
    assert facts["agreement"]["base phone"] == 1
    assert "1 cuts of unlike length" in (tmp_path / "out" / "report.txt").read_text()


def test_boundaries_need_equal_neighbours() -> None:
    def cut(phones: list[int], bounds: list[float]) -> LabelledCut:
        return LabelledCut({}, np.array(phones), np.array(bounds))

    ours = cut([1, 2, 3, 4], [0.0, 0.1, 0.2, 0.3, 0.4])
    theirs = cut([1, 2, 9, 3, 4], [0.0, 0.13, 0.18, 0.22, 0.29, 0.4])
    shifts = boundary_shifts(ours, theirs)
    assert shifts is not None
    # 1|2 and 3|4 are in both; 2|9 and 9|3 are the reference's alone.
    assert shifts.left.tolist() == [1, 3]
    assert shifts.right.tolist() == [2, 4]
    assert shifts.milliseconds == pytest.approx([-30, 10])
    assert shifts.unmatched == 2
    assert shifts.mean_distance == pytest.approx(20)
    assert boundary_shifts(ours, LabelledCut({})) is None


def test_distribution_against_all_values() -> None:
    random = np.random.default_rng(2)
    distribution = ShiftDistribution()
    everything = np.zeros(0)
    for size in (0, 1, 7, 30):
        values = np.round(random.normal(scale=25, size=size), 1)
        everything = np.append(everything, values)
        phones = np.zeros(size, dtype=int)
        distribution.add(BoundaryShifts(phones, phones, values, 1))
        facts = distribution.facts()
        assert facts["boundaries"] == len(everything)
        if len(everything):
            assert facts["mean_distance_ms"] == pytest.approx(np.abs(everything).mean())
            assert facts["median_distance_ms"] == pytest.approx(np.median(np.abs(everything)))
            assert facts["mean_shift_ms"] == pytest.approx(everything.mean())
            assert facts["within_20_ms"] == pytest.approx((np.abs(everything) <= 20).mean())
    assert distribution.unmatched == 4


def write_ctm_of(path: Path, utterances: dict[str, list[Phone]], later: float, base: bool) -> Path:
    """Speech alone, by base phone or phone, everything a little later."""
    lines = []
    for cut_id, phones in utterances.items():
        time = 0
        for name, states in phones:
            shown = name.split("_")[0].rstrip("012") if base else name
            if name != "SIL":
                start = time / 100 + later * (time > 0)
                end = (time + sum(states)) / 100 + later
                lines.append(f"{cut_id} 1 {start:.3f} {end - start:.3f} {shown}\n")
            time += sum(states)
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("base", [True, False])
def test_against_a_ctm(folders: Any, tmp_path: Path, base: bool) -> None:
    exact = write_ctm_of(tmp_path / "exact.ctm", UTTERANCES, 0.0, base)
    facts = compare(folders, folders.alignment, exact, tmp_path / "exact")
    levels = ["base phone"] if base else ["phone", "base phone"]
    assert facts["agreement"] == dict.fromkeys(levels, 1.0)
    assert facts["boundaries"]["mean_distance_ms"] == 0
    assert facts["boundaries"]["unmatched"] == 0
    late = write_ctm_of(tmp_path / "late.ctm", UTTERANCES, 0.004, base)
    facts = compare(folders, folders.alignment, late, tmp_path / "late")
    # A frame's middle is 5 ms from its beginning: 4 ms change no frame.
    assert facts["agreement"]["base phone"] == 1
    assert facts["boundaries"]["mean_shift_ms"] == pytest.approx(-4)


def test_ctm_of_other_phones(folders: Any, tmp_path: Path, run_tool: Run) -> None:
    path = tmp_path / "x.ctm"
    path.write_text("two 1 0.0 0.1 QX\n")
    arguments = [folders.lang.folder, folders.alignment, path, tmp_path / "out"]
    status, _, shown = run_tool("compare_alignments.py", *arguments)
    assert status == 1
    assert f"{path}: {folders.lang.folder / 'phones.txt'}: no phone 'QX'; give" in shown


def test_senone_labels(folders: Any, tmp_path: Path) -> None:
    first = make_senone_labels(tmp_path / "a", {"x": [1, 2, 3, 4], "y": [1]}, "tree")
    second = make_senone_labels(tmp_path / "b", {"x": [1, 2, 5, 4], "y": [1]}, "tree")
    facts = compare(folders, first, second, tmp_path / "out")
    assert facts["agreement"] == {"senone": pytest.approx(4 / 5)}
    rows = tsv(tmp_path / "out" / "utterances.tsv")
    assert [row["senone_agreement"] for row in rows] == ["0.7500", "1.0000"]
    report = (tmp_path / "out" / "report.txt").read_text().splitlines()
    worst = report[report.index("cuts that agree least:") + 2 :]
    assert [line.split()[0] for line in worst] == ["x", "y"]
    assert not any("nan" in line for line in report)


def test_what_cannot_be_compared(folders: Any, tmp_path: Path, run_tool: Run) -> None:
    labels = make_senone_labels(tmp_path / "labels", {"two": [1]}, "tree")
    of_another_tree = make_senone_labels(tmp_path / "others", {"two": [1]}, "another")
    strange = make_alignment(tmp_path / "strange", folders.lang, {"z": [SIL]})
    for alignment, reference, message in (
        (labels, of_another_tree, "senones compare only within one tree"),
        (labels, folders.alignment, "a frame every 0.01 s, but 0.03 s in"),
        (folders.alignment, strange, f"{strange}: none of the cuts of {folders.alignment}"),
        (folders.alignment, folders.data, f"{folders.data}: not an alignment"),
        (tmp_path / "none", folders.alignment, "none: no such file or folder"),
    ):
        out = tmp_path / "out"
        status, printed, shown = run_tool(
            "compare_alignments.py", folders.lang.folder, alignment, reference, out
        )
        assert status == 1
        assert message in shown
        assert "Traceback" not in shown
        assert (printed, out.exists()) == ("", False)
    (tmp_path / "other").mkdir()
    other = make_lang(tmp_path / "other", LangSettings(position_dependent_phones=False))
    with pytest.raises(InputError, match=r"phones.txt: differs from"):
        compare_alignments(other.folder, folders.alignment, folders.alignment, tmp_path)


def test_the_tool_prints_its_report(folders: Any, tmp_path: Path, run_tool: Run) -> None:
    out = tmp_path / "out"
    arguments = [folders.lang.folder, folders.alignment, folders.alignment, out]
    status, printed, _ = run_tool("compare_alignments.py", *arguments)
    assert status == 0
    assert printed == (out / "report.txt").read_text()
    words = Counter(printed.split())
    assert words["100.00"] >= 3
    assert not math.isnan(float(tsv(out / "utterances.tsv")[0]["mean_distance_ms"]))
