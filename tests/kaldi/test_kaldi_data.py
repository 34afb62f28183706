"""Data folders out and in, and Kaldi's features in."""

from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from am.errors import InputError
from am.features.feature_data import describe_features, open_feature_data
from am.kaldi.alignments import FrameRules
from am.kaldi.data_directory import export_data
from am.kaldi.feature_archives import import_features
from am.manifests.make_cuts import make_cuts
from am.manifests.settings import DataRules
from am.manifests.validate import problems_of_folder

RATE = 16000
FRAMES = {"one": 100, "two": 150, "zwei-é": 57}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three recordings of their own; a speaker's utterances do not lie together."""
    folder = tmp_path / "source"
    folder.mkdir()
    generator = np.random.default_rng(0)
    wav, text, speakers = [], [], []
    for number, (name, frames) in enumerate(FRAMES.items()):
        path = folder / f"{number}.wav"
        soundfile.write(path, generator.normal(0, 0.1, frames * RATE // 100), RATE)
        wav.append(f"{name} {path}\n")
        text.append(f"{name} words of {name}\n")
        speakers.append(f"{name} speaker{number % 2}\n")
    for name, lines in (("wav.scp", wav), ("text", text), ("utt2spk", speakers)):
        (folder / name).write_text("".join(lines), encoding="utf-8")
    return folder


def cuts_of(source: Path, output: Path, rules: DataRules | None = None) -> list[dict]:
    output.mkdir()
    make_cuts(source, output, rules or DataRules(), 1)
    return [cut.to_dict() for cut in CutSet.from_jsonl_lazy(output / "cuts.jsonl.gz")]


def test_out_and_in_again_is_the_same_data(source, tmp_path, out):
    (source / "utt2condition").write_text("two noisy\n")
    first = cuts_of(source, tmp_path / "first")
    export_data(tmp_path / "first", out)
    names = ["spk2utt", "text", "utt2condition", "utt2spk", "wav.scp"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "spk2utt").read_text() == "speaker0 one zwei-é\nspeaker1 two\n"
    assert cuts_of(out, tmp_path / "second") == first


def test_segments_go_out_and_in(source, tmp_path, out):
    (source / "segments").write_text("b one 0.25 0.75\na one 0.0 0.5 0\nc two 0.1 -1\n")
    for name, rows in (("text", "a x\nb y z\nc x\n"), ("utt2spk", "a s\nb s\nc t\n")):
        (source / name).write_text(rows)
    first = cuts_of(source, tmp_path / "first")
    assert [(cut["id"], cut["start"], cut["duration"]) for cut in first] == [
        ("a", 0.0, 0.5),
        ("b", 0.25, 0.5),
        ("c", 0.1, 1.4),
    ]
    export_data(tmp_path / "first", out)
    assert (out / "segments").read_text().splitlines()[1] == "b one 0.250000 0.750000"
    assert len((out / "wav.scp").read_text().splitlines()) == 2
    assert cuts_of(out, tmp_path / "second") == first


def test_data_without_transcripts_go_out_without_text(source, tmp_path, out):
    cuts_of(source, tmp_path / "first", DataRules(needs_text=False))
    export_data(tmp_path / "first", out)
    assert not (out / "text").exists()


def test_a_second_channel_is_refused(source, tmp_path):
    (source / "segments").write_text("a one 0 0.5 1\n")
    with pytest.raises(InputError, match=r"segments:1: 'a' is of channel 1"):
        cuts_of(source, tmp_path / "first")


def test_a_command_is_refused(source, tmp_path):
    (source / "wav.scp").write_text("one sph2pipe -f wav one.sph |\n")
    with pytest.raises(InputError, match=r"wav.scp:1: 'one' is a command"):
        cuts_of(source, tmp_path / "first")


def test_no_cuts_are_refused(tmp_path, out):
    with pytest.raises(InputError, match="no such file"):
        export_data(tmp_path, out)


@pytest.fixture
def kaldi_data(source, tmp_path) -> Path:
    """``feats.scp`` of four values a frame, one matrix compressed as make_mfcc.sh does."""
    folder = tmp_path / "kaldi_data"
    folder.mkdir()
    cuts_of(source, tmp_path / "data")
    specifier = f"ark,scp:{folder}/raw.ark,{folder}/feats.scp"
    with kaldi_native_io.CompressedMatrixWriter(specifier) as writer:
        for name, matrix in matrices().items():
            writer.write(name, matrix, kaldi_native_io.CompressionMethod.kSpeechFeature)
    return folder


def matrices(snipped: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    return {
        name: generator.normal(0, 3, (frames - snipped, 4)).astype(np.float32)
        for name, frames in FRAMES.items()
    }


def test_kaldis_features_become_a_feature_data_folder(kaldi_data, tmp_path, out):
    import_features(kaldi_data, tmp_path / "data", out, out, "mfcc", FrameRules())
    assert list(problems_of_folder(out)) == []
    description = describe_features(out)
    assert (description.kind, description.dimension, description.frame_shift) == ("mfcc", 4, 0.01)
    for cut in open_feature_data(out):
        np.testing.assert_allclose(cut.load_features(), matrices()[cut.id], atol=0.1)
    assert (out / "rejected.tsv").read_text() == ""


def test_snipped_features_get_their_edges_back(kaldi_data, tmp_path, out):
    specifier = f"ark,scp:{kaldi_data}/raw.ark,{kaldi_data}/feats.scp"
    with kaldi_native_io.FloatMatrixWriter(specifier) as writer:
        for name, matrix in matrices(snipped=2).items():
            writer.write(name, matrix)
    with pytest.raises(InputError, match=r"3 of 3 cuts .* --snip-edges"):
        import_features(kaldi_data, tmp_path / "data", out, out, "mfcc", FrameRules())
    rules = FrameRules(snip_edges=True)
    import_features(kaldi_data, tmp_path / "data", out, out, "mfcc", rules)
    for cut in open_feature_data(out):
        expected = np.pad(matrices(snipped=2)[cut.id], ((1, 1), (0, 0)), mode="edge")
        np.testing.assert_allclose(cut.load_features(), expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("one copy-feats ark:x ark:- |\n", "feats.scp:1: 'one' is a command"),
        ("one x.ark:3[0:10]\n", "feats.scp:1: 'one' is a command or a range"),
        ("two x.ark:3\none x.ark:3\n", "no such file|'one' is not sorted"),
        ("one\n", "expected 'utterance archive:offset'"),
        ("one /nowhere/x.ark:3\n", "/nowhere/x.ark: no such file"),
        ("zzz x.ark:3\n", "3 of 3 cuts have no features"),
    ],
)
def test_bad_indices_are_refused(kaldi_data, tmp_path, out, lines, problem):
    (kaldi_data / "feats.scp").write_text(lines)
    with pytest.raises(InputError, match=problem):
        import_features(kaldi_data, tmp_path / "data", out, out, "mfcc", FrameRules())


def test_damaged_features_are_refused(kaldi_data, tmp_path, out):
    archive = kaldi_data / "raw.ark"
    archive.write_bytes(archive.read_bytes()[:-50])
    with pytest.raises(InputError, match="damaged or no matrix"):
        import_features(kaldi_data, tmp_path / "data", out, out, "mfcc", FrameRules())
