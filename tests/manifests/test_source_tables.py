"""The disk-backed join against a join in dictionaries."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from am.manifests.source_tables import SourceTables

names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=4)
tables = st.dictionaries(names, names, max_size=6)


@settings(max_examples=40, deadline=None)
@given(audio=tables, speakers=tables, texts=tables)
def test_join(audio: dict[str, str], speakers: dict[str, str], texts: dict[str, str]) -> None:
    audio = {key: value + ".wav" for key, value in audio.items()}
    with tempfile.TemporaryDirectory() as name:
        for table, rows in (("wav.scp", audio), ("utt2spk", speakers), ("text", texts)):
            lines = (f"{key} {value}\n" for key, value in rows.items())
            (Path(name) / table).write_text("".join(lines), encoding="utf-8", newline="\n")
        with SourceTables(Path(name)) as joined:
            found = list(joined)
            assert len(joined) == len(found)
    ids = sorted({*audio, *speakers, *texts}, key=str.encode)
    assert [utterance.utterance_id for utterance in found] == ids
    for utterance in found:
        key = utterance.utterance_id
        assert utterance.audio == audio.get(key)
        assert utterance.speaker == speakers.get(key)
        assert utterance.text == texts.get(key)
        assert utterance.duplicated_in == ()
