"""A small made-up experiment: two systems, two test sets with audio, logs, soft labels, a tree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from am.hmm.topology import Topology
from am.lang.lang import Lang
from am.lang.prepare import LangSettings, prepare_lang
from am.nnet.schedule import ScheduleSettings, scheduled_plan
from am.report.sources import ReportSources
from am.scoring.score import score_decoding
from am.storage import write_shard, write_store_description
from am.tree.context_tree import monophone_tree

ALONE, MIXED = "student, <alone>", "student & mixed"
TESTS = ("test_clean", "test_noisy")
NUM_CUTS, SECONDS, RATE = 8, 0.5, 8000
ATTACK = "<script>alert(1)</script>"
FACTOR = 1.5


def make_experiment(folder: Path) -> ReportSources:
    data, exp = folder / "data", folder / "exp"
    for number, test in enumerate(TESTS):
        make_test_set(data / test, test, number)
    # Wrong words of the first, second, ... cut of a test set.
    make_system(exp / "alone", data, {"test_clean": [2, 1, 0], "test_noisy": [4, 4, 2]})
    make_system(exp / "mixed", data, {"test_clean": [1, 0, 0], "test_noisy": [3, 1, 2]})
    make_network_log(exp / "alone", "segregated", passes_without=True)
    make_network_log(exp / "mixed", "interleaved")
    make_gmm(exp / "mono")
    make_tree(exp / "senones", make_lang(data))
    make_soft_labels(data / "unlabeled" / "soft_labels")
    timings = exp / "timings.tsv"
    timings.write_text("0\t61\tcorpus\n7\t3725\tteacher\n")
    return ReportSources(
        systems={ALONE: exp / "alone", MIXED: exp / "mixed"},
        test_sets=TESTS,
        baseline=ALONE,
        timings=timings,
        exp=exp,
        data=data,
    )


def make_test_set(folder: Path, test: str, number: int) -> None:
    folder.mkdir(parents=True)
    samples = 0.3 * np.sin(np.arange(int(SECONDS * RATE)) / 5)
    with CutSet.open_writer(folder / "cuts.jsonl.gz") as writer:
        for index in range(NUM_CUTS):
            cut_id = f"{test}-{index}"
            path = folder / f"{cut_id}.wav"
            soundfile.write(path, samples, RATE)
            supervision = SupervisionSegment(
                cut_id,
                cut_id,
                0.0,
                SECONDS,
                text=f"a&b {ATTACK} c d",
                speaker=f"<speaker {index % 2}>",
                custom={"condition": "child" if number and index % 2 else "adult"},
            )
            recording = Recording.from_file(path, recording_id=cut_id)
            writer.write(MonoCut(cut_id, 0.0, SECONDS, 0, [supervision], recording=recording))


def make_system(folder: Path, data: Path, wrong: dict[str, list[int]]) -> None:
    for test, counts in wrong.items():
        decoded, scored = folder / f"decode_{test}", folder / f"score_{test}"
        decoded.mkdir(parents=True)
        scored.mkdir()
        lines = []
        for index in range(NUM_CUTS):
            errors = counts[index] if index < len(counts) else 0
            words = ["x"] * errors + ["a&b", ATTACK, "c", "d"][errors:]
            lines.append(f"{test}-{index} {' '.join(words)}\n")
        (decoded / "hypotheses.txt").write_text("".join(lines))
        score_decoding(data / test, decoded, scored)
    write_json(folder / "summary.json", {"parameters": 985844, "senones": 500})


def make_network_log(folder: Path, schedule: str, passes_without: bool = False) -> None:
    """A log as of :class:`am.nnet.trainer.Trainer`, with the learning rate that it would use."""
    settings = ScheduleSettings("interleaved", 2, 2, FACTOR)
    plan = scheduled_plan(settings)
    if passes_without:
        plan = [one for one in plan if one.source == "labeled"]
    rows = []
    for index, one in enumerate(plan):
        rows.append(
            {
                "updates": 100 * (index + 1),
                "pass": index + 1,
                "source": one.source,
                "train_loss": 5.0 - 0.3 * index,
                "dev_loss": 5.2 - 0.25 * index,
                "dev_frame_accuracy": 0.2 + 0.02 * index,
                "learning_rate": 0.002
                * 0.1 ** ((index + 1) / len(plan))
                * (FACTOR if one.source == "labeled" else 1.0),
            }
        )
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    done: dict[str, Any] = {"trainer": {"warm_up_updates": 50, "learning_rate": 0.002}}
    if not passes_without:
        done["schedule"] = {
            "schedule": schedule,
            "epochs": 2,
            "parts": 2,
            "labeled_learning_rate_factor": FACTOR,
        }
    write_json(folder / "done.json", {"settings": done, "command": f"steps/x.py {ATTACK}"})


def make_gmm(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = [
        {"iteration": i + 1, "log_likelihood_per_frame": -100.0 + i, "gaussians": 100 + i}
        for i in range(5)
    ]
    rows[2]["unaligned"] = 0
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def make_lang(data: Path) -> Lang:
    lexicon = data / "lexicon.txt"
    lexicon.write_text("a AH0\nbe B IY1\nbus B AH1 S\n")
    lang = data / "lang"
    lang.mkdir()
    prepare_lang(lexicon, LangSettings(), lang)
    return Lang.load(lang)


def make_tree(folder: Path, lang: Lang) -> None:
    folder.mkdir(parents=True)
    topology: Topology = lang.topology
    monophone_tree([list(root) for root in lang.roots], topology).save(folder / "tree.json")
    topology.save(folder / "topology.json")
    shutil.copyfile(lang.folder / "phones.txt", folder / "phones.txt")
    write_json(folder / "senones.json", {"num_pdfs": 3})


def make_soft_labels(folder: Path) -> None:
    description = {
        "kind": "soft labels",
        "frame_shift": 0.03,
        "fields": ["pdf_ids"],
        "num_pdfs": 500,
        "codec": {"name": "packed", "version": 1, "top_k": 20},
        "tree_sha256": "0" * 64,
    }
    write_json(folder / "summary.json", {"mass_kept": 0.98765})
    records = [(f"cut{i}", {"pdf_ids": np.zeros((40, 20), np.uint16)}) for i in range(3)]
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: value for name, value in description.items() if name != "codec"}
    write_store_description(folder, plain)
    write_shard(folder, 0, records)
    write_store_description(folder, description)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
