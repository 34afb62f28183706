"""Data folders to cuts: good utterances kept as they are, each kind of fault listed."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from am.errors import InputError
from am.manifests.make_cuts import make_cuts
from am.manifests.settings import DataRules
from am.manifests.source_folder import SourceRow, write_source_folder

RATE = 16000
ANY = DataRules(max_rejected=1.0)


def sound(seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, int(seconds * RATE))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twenty good utterances, u00 to u19, of two speakers, half a second each."""
    rows = []
    for index in range(20):
        path = tmp_path / f"u{index:02d}.wav"
        soundfile.write(path, sound(seed=index), RATE)
        condition = "clean" if index % 2 else None
        rows.append(SourceRow(f"u{index:02d}", f"s{index % 2}", path, "HELLO WORLD", condition))
    write_source_folder(tmp_path / "source", rows)
    return tmp_path / "source"


def build(source: Path, rules: DataRules = ANY, jobs: int = 1) -> tuple[CutSet, dict[str, str]]:
    """The cuts made, and id → reason of what was rejected."""
    output = source.parent / "output"
    output.mkdir()
    make_cuts(source, output, rules, jobs)
    rejected = {}
    for line in (output / "rejected.tsv").read_text().splitlines():
        utterance_id, reason, detail = line.split("\t")
        assert detail
        rejected[utterance_id] = reason
    return CutSet.from_file(output / "cuts.jsonl.gz").to_eager(), rejected


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_good_data_come_through_whole(source: Path) -> None:
    cuts, rejected = build(source, DataRules())
    assert not rejected
    assert [cut.id for cut in cuts] == [f"u{index:02d}" for index in range(20)]
    for index, cut in enumerate(cuts):
        (supervision,) = cut.supervisions
        assert supervision.id == cut.id
        assert supervision.speaker == f"s{index % 2}"
        assert supervision.text == "HELLO WORLD"
        assert (supervision.custom or {}).get("condition") == ("clean" if index % 2 else None)
        assert (supervision.start, supervision.duration) == (0.0, 0.5)
        samples = cut.load_audio()[0]
        np.testing.assert_allclose(samples, sound(seed=index), atol=1e-4)


def test_the_outcome_does_not_depend_on_jobs_or_on_the_tables_order(source: Path) -> None:
    first = [cut.to_dict() for cut in build(source)[0]]
    for table in ("wav.scp", "text", "utt2spk"):
        lines = (source / table).read_text().splitlines(keepends=True)
        (source / table).write_text("".join(reversed(lines)))
    (source.parent / "output").rename(source.parent / "before")
    assert [cut.to_dict() for cut in build(source, jobs=3)[0]] == first


def replace_audio(source: Path, samples: np.ndarray, rate: int = RATE) -> None:
    soundfile.write(source.parent / "u03.wav", samples, rate)


FAULTS = {
    "unreadable audio": lambda s: (s.parent / "u03.wav").write_bytes(b"no audio at all"),
    "empty audio": lambda s: replace_audio(s, sound(0.0)),
    "silent audio": lambda s: replace_audio(s, np.zeros(8000)),
    "wrong sampling rate": lambda s: replace_audio(s, sound(), 8000),
    "not mono": lambda s: replace_audio(s, np.stack([sound(), sound()], axis=1)),
    "too short": lambda s: replace_audio(s, sound(0.05)),
    "missing transcript": lambda s: edit(s / "text", "u03 HELLO WORLD\n", ""),
    "empty transcript": lambda s: edit(s / "text", "u03 HELLO WORLD", "u03"),
    "no speaker": lambda s: edit(s / "utt2spk", "u03 s1\n", ""),
    "no audio": lambda s: edit(s / "wav.scp", f"u03 {s.parent}/u03.wav\n", ""),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_each_fault_is_listed_and_left_out(reason: str, source: Path) -> None:
    FAULTS[reason](source)
    cuts, rejected = build(source)
    assert rejected == {"u03": reason}
    assert len(cuts) == 19
    assert "u03" not in set(cuts.ids)


def test_a_missing_file_is_unreadable_audio(source: Path) -> None:
    (source.parent / "u03.wav").unlink()
    assert build(source)[1] == {"u03": "unreadable audio"}


def test_a_truncated_file_is_unreadable_audio(source: Path) -> None:
    path = source.parent / "u03.flac"
    soundfile.write(path, sound(2.0), RATE)
    path.write_bytes(path.read_bytes()[:-8000])
    edit(source / "wav.scp", "u03.wav", "u03.flac")
    assert build(source)[1] == {"u03": "unreadable audio"}


def test_samples_that_are_no_numbers(source: Path) -> None:
    samples = sound()
    samples[100] = np.nan
    soundfile.write(source.parent / "u03.wav", samples, RATE, subtype="FLOAT")
    assert build(source)[1] == {"u03": "unreadable audio"}


@pytest.mark.parametrize("table", ["wav.scp", "text", "utt2spk", "utt2condition"])
def test_a_duplicate_id_in_any_table(table: str, source: Path) -> None:
    with (source / table).open("a") as stream:
        stream.write(f"u03 {source.parent / 'u01.wav'}\n")
    cuts, rejected = build(source)
    assert rejected == {"u03": "duplicate id"}
    assert len(cuts) == 19


def test_an_utterance_in_text_alone(source: Path) -> None:
    with (source / "text").open("a") as stream:
        stream.write("ghost BOO\n")
    cuts, rejected = build(source)
    assert rejected == {"ghost": "no audio"}
    assert len(cuts) == 20


def test_words_outside_the_lexicon(source: Path) -> None:
    lexicon = source.parent / "lexicon.txt"
    lexicon.write_text("HELLO HH AH0 L OW1\nWORLD W ER1 L D\n")
    edit(source / "text", "u03 HELLO WORLD", "u03 HELLO MARS")
    assert build(source, DataRules(lexicon=lexicon))[1] == {"u03": "word outside the lexicon"}
    (source.parent / "output").rename(source.parent / "before")
    cuts, rejected = build(source, DataRules(lexicon=lexicon, unknown_words="keep"))
    assert not rejected
    assert cuts["u03"].supervisions[0].text == "HELLO MARS"


def test_without_text(source: Path) -> None:
    (source / "text").unlink()
    with pytest.raises(InputError, match="--no-text"):
        build(source)
    (source.parent / "output").rmdir()
    cuts, _ = build(source, DataRules(needs_text=False))
    assert all(cut.supervisions[0].text is None for cut in cuts)


def test_segments(source: Path) -> None:
    soundfile.write(source.parent / "long.wav", sound(3.0, seed=9), RATE)
    (source / "wav.scp").write_text(f"long {source.parent / 'long.wav'}\n")
    (source / "segments").write_text(
        "a long 0.5 1.25\nb long 2.0 -1\nc long 2.5 3.5\nd nowhere 0 1\ne long 1.0 1.05\n"
    )
    (source / "text").write_text("a ONE\nb TWO\nc THREE\nd FOUR\ne FIVE\n")
    (source / "utt2spk").write_text("a s\nb s\nc s\nd s\ne s\n")
    (source / "utt2condition").unlink()
    cuts, rejected = build(source)
    assert rejected == {"c": "past its recording", "d": "no audio", "e": "too short"}
    assert [(cut.id, cut.start, cut.duration) for cut in cuts] == [
        ("a", 0.5, 0.75),
        ("b", 2.0, 1.0),
    ]
    assert all(cut.recording_id == "long" for cut in cuts)
    np.testing.assert_allclose(cuts["a"].load_audio()[0], sound(3.0, seed=9)[8000:20000], atol=1e-4)


def test_too_many_rejected_stop_the_stage(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit(source / "text", "u03 HELLO WORLD", "u03")
    with caplog.at_level(logging.WARNING):
        build(source, DataRules(max_rejected=0.05))  # exactly 5 %
    assert "1 of 20 utterances rejected" in caplog.text
    edit(source / "text", "u04 HELLO WORLD", "u04")
    (source.parent / "output").rename(source.parent / "before")
    with pytest.raises(InputError, match=r"2 of 20 .*empty transcript 2.*rejected\.tsv"):
        build(source, DataRules(max_rejected=0.05))


@pytest.mark.parametrize(
    ("table", "line", "named"),
    [
        ("wav.scp", "u99", "wav.scp:21"),
        ("wav.scp", "u99 sox in.wav -t wav - |", "command"),
        ("wav.scp", "", "wav.scp:21"),
        ("utt2spk", "u99", "utt2spk:21"),
        ("utt2spk", "u99 s0 s1", "utt2spk:21"),
        ("utt2condition", "u99", "utt2condition:11"),
        ("segments", "a b 1.0", "segments:1"),
        ("segments", "a b one two", "segments:1"),
        ("segments", "a b 2.0 1.0", "segments:1"),
        ("segments", "a b nan 1.0", "segments:1"),
    ],
)
def test_malformed_lines_are_named(table: str, line: str, named: str, source: Path) -> None:
    with (source / table).open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(InputError, match=named):
        build(source)


def test_bytes_that_are_no_text(source: Path) -> None:
    with (source / "text").open("ab") as stream:
        stream.write(b"u99 caf\xe9\n")
    with pytest.raises(InputError, match=r"text:21: not UTF-8"):
        build(source)


@pytest.mark.parametrize("table", ["wav.scp", "utt2spk"])
def test_a_missing_table_is_named(table: str, source: Path) -> None:
    (source / table).unlink()
    with pytest.raises(InputError, match=table):
        build(source)


def test_an_empty_folder_is_refused(source: Path) -> None:
    for table in ("wav.scp", "utt2spk", "text", "utt2condition"):
        (source / table).write_text("")
    with pytest.raises(InputError, match="no utterances"):
        build(source)


def test_opus_lasts_as_long_as_it_decodes(source: Path) -> None:
    # Opus runs at 48 kHz inside; the header's 16 kHz is what every reader must go by.
    path = source.parent / "u03.opus"
    time = np.arange(20011) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * time), RATE, "OPUS", format="OGG")
    edit(source / "wav.scp", "u03.wav", "u03.opus")
    cuts, rejected = build(source)
    assert not rejected
    cut = cuts["u03"]
    assert (cut.sampling_rate, cut.num_samples) == (RATE, 20011)
    decoded = cut.load_audio()[0]
    np.testing.assert_array_equal(decoded, soundfile.read(path, dtype="float32")[0])
    spectrum = np.abs(np.fft.rfft(decoded))
    assert np.argmax(spectrum) * RATE / len(decoded) == pytest.approx(440, abs=1)
