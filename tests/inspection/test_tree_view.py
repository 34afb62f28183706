"""A tree as text and as a picture, against the tree itself and the statistics it was grown on."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from inspection_cases import make_lang

from am.errors import InputError
from am.inspection.tree_picture import draw_tree, lay_out, num_rows
from am.inspection.tree_view import TreeView
from am.lang.lang import Lang
from am.lang.prepare import LangSettings
from am.tree.context_tree import PDF_CLASS, ContextTree
from am.tree.grow import TreeSettings, grow_tree
from am.tree.statistics import TriphoneStatistics

DIM = 2
FLOOR = 0.01
Run = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Grown:
    lang: Lang
    folder: Path
    statistics: TriphoneStatistics
    tree: ContextTree


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """A tree of some sixty leaves on made-up statistics."""
    folder = tmp_path_factory.mktemp("tree")
    lang = make_lang(folder)
    random = np.random.default_rng(4)
    phones = np.array(lang.real_phones)
    effect = random.normal(size=(4, len(phones) + 1, DIM))
    statistics = TriphoneStatistics(DIM)
    for _ in range(400):
        left, centre, right = random.choice(np.append(phones, 0), 3).tolist()
        centre = centre or 20
        state = int(random.integers(lang.topology.num_states(centre)))
        window = np.array([left, centre, right, state])
        mean = effect[np.arange(4), window].sum(axis=0)
        frames = mean + random.normal(size=(int(random.integers(1, 6)), DIM))
        statistics.add(frames, np.tile(window[:, None], len(frames)))
    settings = TreeSettings(num_leaves=60, min_gain=0.0, variance_floor=FLOOR)
    tree, _ = grow_tree(
        statistics,
        lang.topology,
        lang.roots,
        lang.silence_phones,
        lang.extra_questions,
        settings,
    )
    model = folder / "model"
    model.mkdir()
    tree.save(model / "tree.json")
    lang.topology.save(model / "topology.json")
    shutil.copyfile(lang.folder / "phones.txt", model / "phones.txt")
    return Grown(lang, model, statistics, ContextTree.load(model / "tree.json"))


class TextTree:
    """The printed tree, read by somebody who has only the text and phones.txt."""

    def __init__(self, text: str):
        self.lines = []
        for line in text.splitlines()[1:]:
            found = re.fullmatch(r"((?:│  |   )*)(?:[├└]─ (yes|no): )?(.*)", line)
            assert found
            depth = len(found[1]) // 3 + (found[2] is not None)
            self.lines.append((depth, found[2], found[3]))

    def senone(self, names: list[str], state: int) -> int:
        """Follow the questions for left, centre and right phone by name."""
        place = 0
        while (
            found := re.fullmatch(r"\[senone (\d+), \d+ frames\]", self.lines[place][2])
        ) is None:
            depth, _, text = self.lines[place]
            answer = "yes" if self.answer(text.split("? [")[0], names, state) else "no"
            place = next(
                later
                for later in range(place + 1, len(self.lines))
                if self.lines[later][:2] == (depth + 1, answer)
            )
        return int(found[1])

    @staticmethod
    def answer(question: str, names: list[str], state: int) -> bool:
        asked = re.fullmatch(r"(left phone|phone itself|right phone|HMM state) is (.*)", question)
        assert asked, question
        about, said = asked.groups()
        if about == "HMM state":
            return str(state) in said.removeprefix("one of: ").split(" ")
        name = names[("left phone", "phone itself", "right phone").index(about)]
        if said == "any, so not the utterance's edge":
            return name != "<eps>"
        silence = name.startswith(("SIL", "SPN"))
        place = {"_B": "begin", "_I": "internal", "_E": "end", "_S": "singleton"}.get(name[-2:])
        number = name[:-2][-1:] if not silence and name[:-2][-1:].isdigit() else ""
        kind = re.fullmatch(
            r"a (silence|speech) phone(.*) \((extra|stress|position) question\)", said
        )
        if kind:
            if name == "<eps>" or silence != (kind[1] == "silence"):
                return False
            return kind[2] in (
                "",
                f" with word position {place}" if place else " outside words",
                f" with number {number}" if number else " without a number",
            )
        listed = said.removeprefix("one of: ").split()
        base = name[:-2] if place else name
        # A base phone's name stands for all its variants: AH for AH0_B; EY1 is one by itself.
        return name in listed or base in listed or base.rstrip("012") in listed


def test_following_the_text_leads_to_the_senone(grown: Grown) -> None:
    view = TreeView(grown.folder, grown.lang.folder)
    names = {number: name for name, number in grown.lang.phones.items()}
    random = np.random.default_rng(8)
    phones = [0, *grown.lang.real_phones]
    texts: dict[int, TextTree] = {}
    shown_questions = set()
    for _ in range(600):
        left, right = random.choice(phones, 2).tolist()
        centre = int(random.choice(phones[1:]))
        state = int(random.integers(grown.lang.topology.num_states(centre)))
        if centre not in texts:
            text = view.text(view.root(centre), view.title(centre))
            texts[centre] = TextTree(text)
            shown_questions.update(re.findall(r"is one of|extra|stress|position q|HMM state", text))
        (expected,) = grown.tree.pdf_ids(*(np.array([v]) for v in (left, centre, right, state)))
        triphone = [names[phone] for phone in (left, centre, right)]
        assert texts[centre].senone(triphone, state) == expected, (triphone, state)
    assert len(shown_questions) >= 4


def direct_log_likelihood(rows: np.ndarray) -> float:
    """Of the frames behind rows of count, sums and squares under one Gaussian of their own."""
    count = rows[:, 0].sum()
    total = 0.0
    for dimension in range(DIM):
        mean = rows[:, 1 + dimension].sum() / count
        variance = rows[:, 1 + DIM + dimension].sum() / count - mean**2
        floored = max(variance, FLOOR)
        total -= 0.5 * count * (math.log(2 * math.pi * floored) + variance / floored)
    return total


def test_frames_and_gains_are_those_of_the_statistics(grown: Grown) -> None:
    tree, rows = grown.tree, grown.statistics.rows
    assert tree.frames is not None and tree.gain is not None
    windows = grown.statistics.windows
    checked = 0
    reached = [
        (int(root), np.flatnonzero(tree.roots[windows[1]] == root))
        for root in np.unique(tree.roots[tree.roots >= 0])
    ]
    while reached:
        node, states = reached.pop()
        assert tree.frames[node] == pytest.approx(rows[states, 0].sum())
        if tree.position[node] < 0:
            assert math.isnan(tree.gain[node])
            continue
        answer = tree.members[node, windows[tree.position[node], states]]
        parts = states[answer], states[~answer]
        reached += [(int(tree.yes[node]), parts[0]), (int(tree.no[node]), parts[1])]
        centre = windows[1, states]
        if np.isin(centre, grown.lang.silence_phones).any() or len(states) == 0:
            assert math.isnan(tree.gain[node])
            continue
        gain = sum(direct_log_likelihood(rows[part]) for part in parts)
        gain -= direct_log_likelihood(rows[states])
        assert tree.gain[node] == pytest.approx(gain, abs=1e-6)
        checked += 1
    assert checked > 20


def test_the_text_shows_these_frames_and_gains(grown: Grown) -> None:
    view = TreeView(grown.folder, grown.lang.folder)
    phone = view.names.phone_of("AH")
    text = view.text(view.root(phone), view.title(phone))
    root = int(grown.tree.roots[phone])
    assert grown.tree.frames is not None and grown.tree.gain is not None
    facts = f"[{grown.tree.frames[root]:.0f} frames, gain {grown.tree.gain[root]:.1f}]"
    assert text.splitlines()[0].startswith("AH, all states of 3: ")
    assert text.splitlines()[1].endswith(facts)
    silence = view.names.phone_of("SIL")
    shown = view.text(view.root(silence), view.title(silence))
    assert "gain" not in shown
    assert shown.count("senone") == 5 + 1


def test_one_state(grown: Grown) -> None:
    view = TreeView(grown.folder, grown.lang.folder)
    phone = view.names.phone_of("B")
    everyone = np.array([0, *grown.lang.real_phones])
    variants = np.flatnonzero(grown.tree.roots == grown.tree.roots[phone])
    for state in range(3):
        root = view.root(phone, state)
        grid = np.meshgrid(everyone, variants, everyone, indexing="ij")
        used = grown.tree.pdf_ids(*(axis.ravel() for axis in grid), np.array([state]))
        assert set(used.tolist()) <= root.senones
        text = view.text(root, view.title(phone, state))
        assert text.startswith(f"B, state {state} of 3: {root.num_leaves} leaves")
        assert "HMM state" not in text
    all_states = view.root(phone)
    assert all_states.senones == frozenset().union(*(view.root(phone, s).senones for s in range(3)))


def test_limited_depth(grown: Grown) -> None:
    view = TreeView(grown.folder, grown.lang.folder)
    phone = view.names.phone_of("AH")
    whole, limited = view.root(phone), view.root(phone, max_depth=2)
    assert whole.depth > 2
    assert limited.depth == 2
    assert limited.num_leaves == whole.num_leaves == sum(x.num_leaves for x in limited.leaves())
    assert limited.senones == whole.senones
    assert "leaves below]" in view.text(limited, "AH")


def test_summary(grown: Grown) -> None:
    lines = TreeView(grown.folder, grown.lang.folder).summary().splitlines()
    total = float(grown.statistics.count.sum())
    head = f"7 roots, {(grown.tree.position < 0).sum()} leaves, {grown.tree.num_pdfs} senones"
    assert lines[0].startswith(f"{head}, {total:.0f} frames; ")
    rows = [re.split(r"  +", line) for line in lines[2:]]
    assert [row[0] for row in rows] == ["SIL", "SPN", "AH", "B", "EY1", "IY1", "S"]
    leaves, senones, _, frames = (
        sum(map(int, column)) for column in list(zip(*rows, strict=True))[1:]
    )
    assert (leaves, senones) == ((grown.tree.position < 0).sum(), grown.tree.num_pdfs)
    assert frames == pytest.approx(total)


def test_a_tree_from_before_is_shown_without_frames(grown: Grown, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(grown.folder, old)
    stored = json.loads((old / "tree.json").read_text())
    for node in stored["nodes"]:
        node.pop("frames")
        node.pop("gain", None)
    (old / "tree.json").write_text(json.dumps(stored))
    view = TreeView(old, grown.lang.folder)
    assert view.tree.frames is None and view.tree.gain is None
    assert "frames and gains are not stored" in view.summary()
    text = view.text(view.root(view.names.phone_of("AH")), "AH")
    assert "frames" not in text
    view.tree.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == stored


def test_layout_keeps_boxes_apart(grown: Grown) -> None:
    view = TreeView(grown.folder, grown.lang.folder)
    for name in view.names.base_names:
        places = list(lay_out(view.root(view.names.phone_of(name))).all())
        leaves = [place for place in places if not place.children]
        assert [place.row for place in leaves] == list(range(len(leaves)))
        for column in {place.column for place in places}:
            beside = [place for place in places if place.column == column]
            rows = sorted((place.row, bool(place.children)) for place in beside)
            for (row, is_split), (next_row, next_is_split) in itertools.pairwise(rows):
                assert next_row - row >= 1 + (is_split + next_is_split) / 2
        for place in places:
            assert all(child.column == place.column + 1 for child in place.children)


def test_splits_that_end_a_branch_have_room(grown: Grown) -> None:
    view = TreeView(grown.folder, grown.lang.folder)
    limited = view.root(view.names.phone_of("AH"), max_depth=1)
    ends = [place for place in lay_out(limited).all() if not place.children]
    assert len(ends) == 2
    gap = ends[1].row - ends[0].row
    assert gap == pytest.approx(num_rows(limited) / 2)
    assert gap > 1.5


def test_pictures(grown: Grown, tmp_path: Path) -> None:
    view = TreeView(grown.folder, grown.lang.folder)
    phone = view.names.phone_of("AH")
    root = view.root(phone)
    draw_tree(root, view.title(phone), tmp_path / "tree.svg")
    drawn = "".join(ElementTree.parse(tmp_path / "tree.svg").getroot().itertext())
    assert view.title(phone) in drawn
    for leaf in root.leaves():
        assert f"senone {leaf.pdf_id}," in drawn
    assert f"gain {root.gain:.1f}" in drawn
    assert drawn.count("yes") == drawn.count("no\n") == root.num_leaves - 1
    draw_tree(view.root(phone, 0, 1), "x", tmp_path / "tree.png")
    assert (tmp_path / "tree.png").read_bytes().startswith(b"\x89PNG")
    again = tmp_path / "again"
    again.mkdir()
    draw_tree(root, view.title(phone), again / "tree.svg")
    assert (again / "tree.svg").read_bytes() == (tmp_path / "tree.svg").read_bytes()


def test_the_tool(grown: Grown, tmp_path: Path, run_tool: Run) -> None:
    places = [grown.lang.folder, grown.folder]
    status, printed, _ = run_tool("show_tree.py", *places)
    assert status == 0
    assert "7 roots" in printed
    picture = tmp_path / "tree.svg"
    status, printed, _ = run_tool(
        "show_tree.py", "--phone", "AH", "--state", 1, "--picture", picture, *places
    )
    assert status == 0
    assert printed.startswith("AH, state 1 of 3")
    assert picture.is_file()


def test_bad_input(grown: Grown, tmp_path: Path, run_tool: Run) -> None:
    (tmp_path / "other").mkdir()
    other = make_lang(tmp_path / "other", LangSettings(position_dependent_phones=False))
    lang, folder = grown.lang.folder, grown.folder
    for options, lang_folder, model, message in (
        (["--phone", "QX"], lang, folder, f"{lang / 'phones.txt'}: no phone 'QX'; give a phone"),
        (["--phone", "AH", "--state", 3], lang, folder, "AH0_B has no HMM state 3; give 0 to 2"),
        (["--phone", "AH", "--picture", "x.jpg"], lang, folder, "x.jpg: not a picture's name"),
        (["--state", 1], lang, folder, "give --phone too"),
        ([], lang, lang, f"{lang / 'tree.json'}: no such tree"),
        ([], other.folder, folder, f"{folder / 'phones.txt'}: differs from"),
    ):
        status, printed, shown = run_tool("show_tree.py", *options, lang_folder, model)
        assert (status, printed) == (1, "")
        assert message in shown
        assert "Traceback" not in shown
    assert grown.tree.position[grown.tree.roots[1]] == PDF_CLASS


def test_states_count_from_0(grown: Grown) -> None:
    with pytest.raises(InputError, match="has no HMM state -1"):
        TreeView(grown.folder, grown.lang.folder).root(1, -1)
