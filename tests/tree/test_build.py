"""From folders to a senone folder and its labels, with the tools as they are called."""

from __future__ import annotations

import json
import logging
import runpy
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tree_folders import Folders, write_alignment, write_data

import commandline
from am.alignment.alignment_folder import AlignmentFolder
from am.alignment.convert import pdf_ids_of_windows
from am.alignment.senone_labels import write_senone_labels
from am.config import load_settings
from am.errors import InputError
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.outputs import sha256_of_file
from am.storage import RaggedStore, write_store_description
from am.tree.context_tree import ContextTree
from am.tree.grow import TreeSettings

ROOT = Path(commandline.__file__).parent


@pytest.fixture(scope="module")
def senones(made: Folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("exp") / "senones"
    made.build(output)
    return output


def test_senone_folder(made: Folders, senones: Path) -> None:
    tree = ContextTree.load(senones / "tree.json")
    topology = Topology.load(senones / "topology.json")
    transitions = TransitionModel.load(senones / "transitions.json")
    facts = json.loads((senones / "senones.json").read_text())
    assert topology.states_of_phone == dict.fromkeys(range(1, 8), 1)
    assert tree.num_pdfs == transitions.num_pdfs == facts["num_pdfs"] == 20
    assert facts["frame_shift"] == 0.03
    assert facts["tree_sha256"] == sha256_of_file(senones / "tree.json")
    assert (senones / "phones.txt").read_text() == (made.lang / "phones.txt").read_text()
    aligned = list(made.utterances.items())[1:-2]
    assert facts["frames"] == sum(-(-len(one.frames) // 3) for _, one in aligned)
    states = {state[:3] for _, one in aligned for state in one.states()[1::3]}
    states |= {one.states()[-1][:3] for _, one in aligned if len(one.frames) % 3 == 1}
    assert facts["seen_triphone_states"] == len(states)
    assert "20 leaves" in facts["summary"]


def test_statistics_are_of_each_third_normalised_frame(made: Folders, senones: Path) -> None:
    """The likelihood at the roots, from frames as they were written."""
    frames = {cut_id: one.frames.astype(np.float16) for cut_id, one in made.utterances.items()}
    everything = np.concatenate([frames[cut_id] for cut_id in list(frames)[1:]])
    mean = everything.astype(np.float64).mean(0)
    by_root: dict[int, list[np.ndarray]] = {}
    for cut_id in list(frames)[1:-2]:
        states = made.utterances[cut_id].states()
        for vector in range(-(-len(states) // 3)):
            frame = min(3 * vector + 1, len(states) - 1)
            root = {3: 2, 5: 4}.get(states[frame][1], states[frame][1])
            by_root.setdefault(root, []).append((frames[cut_id][frame] - mean)[:3])
    total, count = 0.0, 0
    for group in by_root.values():
        stacked = np.stack(group)
        variance = stacked.var(0)
        total -= 0.5 * len(stacked) * float(np.sum(np.log(2 * np.pi * variance) + 1))
        count += len(stacked)
    facts = json.loads((senones / "senones.json").read_text())
    assert facts["log_likelihood_per_frame_at_roots"] == pytest.approx(total / count, rel=1e-5)


def low_rate_walk(one: Any) -> list[tuple[int, tuple[int, int, int]]]:
    """Phone's place in the utterance and triphone of each 30 ms vector."""
    places = [
        place for place, lengths in enumerate(one.durations) for length in lengths
        for _ in range(length)
    ]  # fmt: skip
    states = one.states()
    frames = [min(3 * vector + 1, len(states) - 1) for vector in range(-(-len(states) // 3))]
    return [(places[frame], states[frame][:3]) for frame in frames]


def test_transitions_are_fitted_on_low_rate_durations(made: Folders, senones: Path) -> None:
    tree = ContextTree.load(senones / "tree.json")
    transitions = TransitionModel.load(senones / "transitions.json")
    visits, frames = Counter(), Counter()
    for one in list(made.utterances.values())[:-2]:
        walk = low_rate_walk(one)
        for index, (place, triphone) in enumerate(walk):
            key = triphone[1], tree.triphone_pdf_ids(*triphone, 1)[0]
            frames[key] += 1
            visits[key] += index == 0 or walk[index - 1][0] != place
    for (phone, pdf_id), count in frames.items():
        if count >= 5:
            stays = np.clip(1 - visits[phone, pdf_id] / count, 0.01, 0.99)
            place = transitions.transition_state(phone, 0, pdf_id) - 1
            assert transitions.self_loop[place] == pytest.approx(stays)


def test_labels(made: Folders, senones: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("am.alignment.senone_labels.CUTS_PER_SHARD", 11)
    write_senone_labels(made.alignment, senones, tmp_path / "labels")
    store = RaggedStore(tmp_path / "labels")
    assert (store.kind, store.frame_shift) == ("pdf-ids", 0.03)
    assert store.description["num_pdfs"] == 20
    assert store.description["tree_sha256"] == sha256_of_file(senones / "tree.json")
    assert list(store) == list(made.utterances)[:-2]
    tree = ContextTree.load(senones / "tree.json")
    for cut_id in store:
        labels = store[cut_id]["pdf_ids"]
        walk = low_rate_walk(made.utterances[cut_id])
        assert labels.dtype == np.int32
        assert labels.tolist() == [tree.triphone_pdf_ids(*window, 1)[0] for _, window in walk]


def test_a_tree_at_the_alignment_s_own_rate(made: Folders, language: Any, tmp_path: Path) -> None:
    made.build(tmp_path / "tree", TreeSettings(num_leaves=30), low_frame_rate=False)
    tree = ContextTree.load(tmp_path / "tree" / "tree.json")
    facts = json.loads((tmp_path / "tree" / "senones.json").read_text())
    topology = Topology.load(tmp_path / "tree" / "topology.json")
    assert topology.states_of_phone == language.topology.states_of_phone
    assert facts["frame_shift"] == 0.01
    assert facts["frames"] == sum(len(one.frames) for one in list(made.utterances.values())[1:-2])
    pdf_ids = [
        pdf_ids_of_windows(tree, np.array(one.states()).T) for one in made.utterances.values()
    ]
    assert {pdf_id for ids in pdf_ids for pdf_id in ids.tolist()} <= set(range(tree.num_pdfs))


def test_foreign_phones_are_refused(copied: Folders, senones: Path, tmp_path: Path) -> None:
    for folder in (copied.model, copied.alignment):
        path = folder / "phones.txt"
        kept = path.read_text()
        path.write_text(kept.replace("P3", "Q3"))
        with pytest.raises(InputError, match=str(path)):
            copied.build(tmp_path / f"senones of {folder.name}")
        if folder == copied.alignment:
            with pytest.raises(InputError, match=str(path)):
                write_senone_labels(folder, senones, tmp_path / "labels")
        path.unlink()
        with pytest.raises(InputError, match=str(path)):
            copied.build(tmp_path / f"senones without {folder.name}")
        path.write_text(kept)


def test_an_alignment_of_other_frames_is_refused(copied: Folders, tmp_path: Path) -> None:
    changed = dict(copied.utterances)
    longer = changed["cut-3"]
    longer = type(longer)(
        longer.phones, longer.durations, longer.transition_ids, np.zeros((500, 4))
    )
    shutil.rmtree(copied.data)
    write_data(copied.data, {**changed, "cut-3": longer})
    with pytest.raises(InputError, match=r"cut-3: \d+ frames aligned, 500 frames of features"):
        copied.build(tmp_path / "senones")


def test_an_alignment_of_other_data_is_refused(
    copied: Folders, language: Any, tmp_path: Path
) -> None:
    shutil.rmtree(copied.alignment)
    write_alignment(copied.alignment, language, {"x": copied.utterances["cut-1"]})
    shutil.copyfile(copied.lang / "phones.txt", copied.alignment / "phones.txt")
    with pytest.raises(InputError, match="none of the 29 cuts"):
        copied.build(tmp_path / "senones")


def test_wrong_alignment_folders(copied: Folders, tmp_path: Path) -> None:
    store = json.loads((copied.alignment / "store.json").read_text())
    (copied.alignment / "store.json").write_text(json.dumps({**store, "kind": "pdf-ids"}))
    with pytest.raises(InputError, match="holds pdf-ids, not transition-ids"):
        AlignmentFolder.open(copied.alignment)
    write_store_description(tmp_path / "empty", store)
    with pytest.raises(InputError, match="holds no alignment"):
        AlignmentFolder.open(tmp_path / "empty")
    (copied.alignment / "store.json").write_text(json.dumps(store))
    few = TransitionModel.from_triples([(1, 0, 0), (2, 0, 1)], 0.5)
    few.save(copied.alignment / "transitions.json")
    alignment = AlignmentFolder.open(copied.alignment)
    with pytest.raises(InputError, match="lies outside 1 … 4"):
        alignment.transition_ids("cut-1")


def test_labels_want_one_state_a_phone(made: Folders, tmp_path: Path) -> None:
    made.build(tmp_path / "tree", low_frame_rate=False)
    with pytest.raises(InputError, match="more than one state a phone"):
        write_senone_labels(made.alignment, tmp_path / "tree", tmp_path / "labels")


class Tools:
    """Runs a tool as its command line would, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: Any):
        self.monkeypatch, self.capsys, self.caplog = monkeypatch, capsys, caplog
        caplog.set_level(logging.INFO)

    def run(self, tool: str, *arguments: object) -> tuple[int, str]:
        """Exit status, and all that was printed or logged."""
        self.caplog.clear()
        with self.monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(sys, "argv", [f"steps/{tool}", *map(str, arguments)])
            runpy.run_path(str(ROOT / "steps" / tool), run_name="__main__")
        printed = self.capsys.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err + self.caplog.text


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: Any) -> Tools:
    return Tools(monkeypatch, capsys, caplog)


def test_the_tools(made: Folders, tools: Tools, tmp_path: Path) -> None:
    inputs = [made.data, made.lang, made.model, made.alignment]
    exp = tmp_path / "exp"
    config = ["--config", ROOT / "conf" / "senones.yaml", "--set", "min_count=5"]
    cluster = ["cluster_senones.py", *config, "--set", "num_leaves=15", *inputs, exp / "senones"]
    status, _ = tools.run(*cluster)
    assert status == 0
    assert "15 leaves" in (exp / "senones" / "log.txt").read_text()
    assert "is up to date" in tools.run(*cluster)[1]
    labels = exp / "senone_labels" / "labeled"
    status, _ = tools.run("make_senone_labels.py", made.alignment, exp / "senones", labels)
    assert status == 0
    assert len(RaggedStore(labels)) == 28
    config = ["--config", ROOT / "conf" / "tree.yaml"]
    status, _ = tools.run("build_tree.py", *config, *inputs, exp / "tree")
    assert status == 0
    status, shown = tools.run(
        "cluster_senones.py", *config, "--set", "num_leaves=3", *inputs, exp / "few"
    )
    assert status == 1
    assert "cluster_senones.py: num_leaves: 3 is fewer than the 5 leaves" in shown
    assert "Traceback" not in shown
    assert not (exp / "few").exists()


@pytest.mark.parametrize("tool", ["cluster_senones.py", "build_tree.py", "make_senone_labels.py"])
def test_the_tools_explain_themselves(tools: Tools, tool: str) -> None:
    status, shown = tools.run(tool)
    assert status == 1
    for part in ("reads:", "writes:", f"steps/{tool}"):
        assert part in shown


@pytest.mark.parametrize("name", ["senones", "tree", "tiny/senones", "paper/senones"])
def test_settings_files_are_right(name: str) -> None:
    assert load_settings(TreeSettings, ROOT / "conf" / f"{name}.yaml").num_leaves > 0
