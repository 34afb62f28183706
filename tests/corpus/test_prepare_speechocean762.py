"""The preparation of speechocean762 on a corpus of eight speakers in its public layout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from am.manifests.source_folder import read_table, write_table

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "egs/speechocean762/local/prepare_data.py"
TRAIN, TEST = ["0001", "0002", "0003", "0004", "0005", "0006"], ["0007", "0008"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two utterances a speaker; odd speakers are 8 years old, even ones 30."""
    folder = tmp_path / "speechocean762"
    for part, speakers in (("train", TRAIN), ("test", TEST)):
        audio, text, utt2spk = {}, {}, {}
        for speaker in speakers:
            for number in range(2):
                key = f"{speaker}{number:05d}"
                path = f"WAVE/SPEAKER{speaker}/{key}.WAV"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / path, np.full(1600, 0.1), 16000, format="WAV")
                audio[key], text[key], utt2spk[key] = path, f"WORDS OF {part.upper()}", speaker
        ages = {speaker: "8" if int(speaker) % 2 else "30" for speaker in speakers}
        tables = {"wav.scp": audio, "text": text, "utt2spk": utt2spk, "spk2age": ages}
        for name, table in tables.items():
            write_table(folder / part / name, table.items())
    write_table(folder / "resource" / "lexicon.txt", [("WORDS", "W ER1 D Z"), ("OF", "AH0 V")])
    (tmp_path / "labeled_speakers").write_text("0001\n0002\n0005\n")
    return folder


def run(corpus: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *options, str(corpus), str(corpus.parent / "local")]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_splits(corpus: Path) -> None:
    options = ["--labeled-speakers", str(corpus.parent / "labeled_speakers"), "--dev-speakers", "1"]
    done = run(corpus, *options)
    assert done.returncode == 0, done.stderr
    local = corpus.parent / "local"
    speakers = {
        name: set(read_table(local / name / "utt2spk").values())
        for name in ("labeled", "dev", "unlabeled", "test")
    }
    assert speakers == {
        "labeled": {"0002", "0005"},
        "dev": {"0001"},
        "unlabeled": {"0003", "0004", "0006"},
        "test": set(TEST),
    }
    assert not (local / "unlabeled" / "text").exists()
    assert len(read_table(local / "scoring_only" / "unlabeled_text")) == 6
    assert set(read_table(local / "test" / "utt2condition").items()) == {
        ("000700000", "child"),
        ("000700001", "child"),
        ("000800000", "adult"),
        ("000800001", "adult"),
    }
    assert all(Path(path).is_file() for path in read_table(local / "test" / "wav.scp").values())
    assert (local / "lm_text.txt").read_text() == "WORDS OF TRAIN\n" * 4
    assert (local / "lexicon.txt").read_text() == (corpus / "resource/lexicon.txt").read_text()


def test_bad_input_is_one_line(corpus: Path) -> None:
    speaker_list = corpus.parent / "labeled_speakers"
    options = ("--labeled-speakers", str(speaker_list))
    cases = []
    cases.append((run(corpus, *options), "only 3 speakers"))
    speaker_list.write_text("0001\n9999\n")
    cases.append((run(corpus, *options), "9999"))
    speaker_list.write_text("0001\n0002\n0003\n0004\n0005\n")
    (corpus / "WAVE/SPEAKER0003/000300001.WAV").unlink()
    cases.append((run(corpus, *options), "000300001"))
    (corpus / "train" / "spk2age").unlink()
    cases.append((run(corpus, *options), "spk2age"))
    for done, named in cases:
        assert done.returncode == 1
        (line,) = [x for x in done.stderr.splitlines() if x.startswith("prepare_data.py: ")]
        assert named in line
        assert "Traceback" not in done.stderr
    assert not (corpus.parent / "local").exists()
