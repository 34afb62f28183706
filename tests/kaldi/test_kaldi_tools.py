"""The two tools: what they make, and one line where something is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kaldi_cases import make_kaldi_folder

from am.alignment.alignment_folder import AlignmentFolder
from am.gmm.model_folder import GmmHmm

ROOT = Path(__file__).parents[2]


def run(tool: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "utils" / tool, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_model_comes_in_goes_out_and_gives_its_alignment_folder(lang, tmp_path):
    kaldi = make_kaldi_folder(tmp_path / "kaldi")
    result = run("from_kaldi.py", "--kind", "model", lang.folder, kaldi, tmp_path / "tri")
    assert result.returncode == 0, result.stderr
    assert GmmHmm.load(tmp_path / "tri").gmms.num_pdfs == 8
    result = run("to_kaldi.py", "--kind", "model", "--text", tmp_path / "tri", tmp_path / "there")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "there" / "final.mdl").read_text().startswith("<TransitionModel>")
    (kaldi / "ali.1.txt").write_text("utterance 2 1 4 3 6 5\n")
    result = run("from_kaldi.py", "--kind", "alignment", lang.folder, kaldi, tmp_path / "ali")
    assert result.returncode == 0, result.stderr
    assert AlignmentFolder.open(tmp_path / "ali").store.num_frames("utterance") == 6


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (("--kind", "model", "LANG", "OUT"), 2, "--kind model takes LANG KALDI_DIR OUT"),
        (("--kind", "model", "LANG", "KALDI", "OUT"), 1, "final.mdl: byte"),
        (("--kind", "alignment", "LANG", "KALDI", "OUT"), 1, "holds no ali.1.gz"),
        (("--kind", "model", "LANG", "nowhere", "OUT"), 1, "nowhere: no such file or folder"),
    ],
)
def test_what_is_wrong_is_one_line(lang, tmp_path, arguments, status, problem):
    kaldi = make_kaldi_folder(tmp_path / "kaldi")
    (kaldi / "final.mdl").write_bytes((kaldi / "final.mdl").read_bytes()[:300])
    places = {"LANG": lang.folder, "KALDI": kaldi, "OUT": tmp_path / "made"}
    result = run("from_kaldi.py", *(places.get(argument, argument) for argument in arguments))
    assert result.returncode == status
    lines = [line for line in result.stderr.splitlines() if line.startswith("from_kaldi.py:")]
    assert len(lines) == 1 and problem in lines[0]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "made").exists()
