"""Ragged stores give back what was put in, and notice what was done to them since."""

from __future__ import annotations

import json
import pickle
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

import am.storage
from am.errors import InputError
from am.storage import (
    RaggedStore,
    check_store,
    count_shards,
    shard_fault,
    shard_paths,
    write_shard,
    write_store_description,
)

Records = list[tuple[str, dict[str, np.ndarray]]]
DESCRIPTION = {"kind": "soft labels", "frame_shift": 0.03, "fields": ["ids", "scores"]}


@st.composite
def shards_of_records(draw: st.DrawFn) -> list[Records]:
    """Up to three shards; ids are any distinct text, records have 0 to 5 frames of 2 fields."""
    sizes = draw(st.lists(st.integers(0, 4), max_size=3))
    characters = st.characters(exclude_categories=["Cs"])
    cut_id = st.text(characters, min_size=1, max_size=5)
    ids = iter(draw(st.lists(cut_id, unique=True, min_size=sum(sizes), max_size=sum(sizes))))

    def record() -> dict[str, np.ndarray]:
        frames = draw(st.integers(0, 5))
        return {
            "ids": draw(arrays(np.uint16, (frames, 3))),
            "scores": draw(arrays(np.float32, (frames,))),
        }

    return [[(next(ids), record()) for _ in range(size)] for size in sizes]


def written(folder: Path, shards: list[Records], **facts: object) -> Path:
    write_store_description(folder, {**DESCRIPTION, **facts})
    for index, records in enumerate(shards):
        write_shard(folder, index, records)
    return folder


def small_store(folder: Path, num_shards: int = 3, **facts: object) -> Path:
    random = np.random.default_rng(0)
    shards: list[Records] = [
        [
            (
                f"cut-{shard}-{cut}",
                {
                    "ids": random.integers(0, 99, (4, 3), dtype=np.uint16),
                    "scores": random.random(4, dtype=np.float32),
                },
            )
            for cut in range(2)
        ]
        for shard in range(num_shards)
    ]
    return written(folder, shards, **facts)


@settings(max_examples=60, deadline=None)
@given(shards_of_records())
def test_round_trip(shards: list[Records]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = written(Path(name), shards, num_shards=len(shards))
        check_store(folder)
        store = RaggedStore(folder)
        records = {cut_id: record for shard in shards for cut_id, record in shard}
        assert list(store) == list(records)
        assert len(store) == len(records)
        for cut_id in reversed(list(records)):
            assert cut_id in store
            assert store.num_frames(cut_id) == len(records[cut_id]["ids"])
            found = store[cut_id]
            assert found.keys() == {"ids", "scores"}
            for field, array in records[cut_id].items():
                assert found[field].dtype == array.dtype
                assert found[field].tobytes() == array.tobytes()
                assert found[field].shape == array.shape


def test_description(tmp_path: Path) -> None:
    store = RaggedStore(small_store(tmp_path, k=20))
    assert (store.kind, store.frame_shift, store.description["k"]) == ("soft labels", 0.03, 20)
    assert "other" not in store
    with pytest.raises(KeyError):
        store["other"]


def test_a_store_survives_pickling_after_use(tmp_path: Path) -> None:
    store = RaggedStore(small_store(tmp_path))
    expected = store["cut-1-0"]["ids"]
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again["cut-1-0"]["ids"], expected)


def test_only_some_shards_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(am.storage, "MAX_OPEN_SHARDS", 2)
    store = RaggedStore(small_store(tmp_path, num_shards=5))
    for _ in range(2):
        for cut_id in store:
            assert len(store[cut_id]["ids"]) == 4
    assert len(store._open) == 2


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_changed_byte_is_found_and_the_shard_named(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = small_store(Path(name))
        path = shard_paths(folder, 1)[0]
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        with pytest.raises(InputError, match=path.name) as caught:
            check_store(folder)
        assert "shard-00000" not in str(caught.value)
        assert "shard-00002" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_truncation_is_found_when_read(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = small_store(Path(name))
        path = shard_paths(folder, 1)[0]
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        assert shard_fault(folder, 1) == "altered or truncated (checksum differs)"
        store = RaggedStore(folder)
        assert len(store["cut-0-0"]["ids"]) == 4
        with pytest.raises(InputError, match=path.name):
            store["cut-1-0"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cuts": []}', "\xff"])
def test_a_damaged_index_is_named(tmp_path: Path, text: str) -> None:
    folder = small_store(tmp_path)
    shard_paths(folder, 1)[1].write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"shard-00001.*index"):
        check_store(folder)
    if "cuts" not in text:
        with pytest.raises(InputError, match=r"shard-00001\.json"):
            RaggedStore(folder)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_an_unfinished_shard_is_named(tmp_path: Path, suffix: str) -> None:
    folder = small_store(tmp_path)
    (folder / f"shard-00001{suffix}").unlink()
    assert shard_fault(folder, 1) == "unfinished"
    with pytest.raises(InputError, match="shard-00001"):
        check_store(folder)
    with pytest.raises(InputError, match="shard-00001"):
        RaggedStore(folder)["cut-1-0"]


def test_a_shard_missing_at_the_end(tmp_path: Path) -> None:
    folder = small_store(tmp_path, num_shards=2, num_shards_note=0)
    check_store(folder)
    write_store_description(folder, {**DESCRIPTION, "num_shards": 3})
    assert count_shards(folder) == 2
    for use in (check_store, RaggedStore):
        with pytest.raises(InputError, match="shard-00002"):
            use(folder)


def test_a_shard_written_again_replaces_the_damaged_one_alone(tmp_path: Path) -> None:
    folder = small_store(tmp_path)
    digests = [shard_paths(folder, index)[1].read_text() for index in range(3)]
    kept = RaggedStore(folder)
    records = [(cut_id, kept[cut_id]) for cut_id in ("cut-1-0", "cut-1-1")]
    shard_paths(folder, 1)[0].write_bytes(b"damaged")
    write_shard(folder, 1, records)
    check_store(folder)
    assert [shard_paths(folder, index)[1].read_text() for index in range(3)] == digests


def test_a_cut_in_two_shards_is_an_error(tmp_path: Path) -> None:
    folder = small_store(tmp_path)
    index = shard_paths(folder, 2)[1]
    stored = json.loads(index.read_text())
    stored["cuts"][1][0] = "cut-0-1"
    index.write_text(json.dumps(stored))
    with pytest.raises(InputError, match=r"shard-00002.*cut-0-1.*twice"):
        RaggedStore(folder)


def test_wrong_records(tmp_path: Path) -> None:
    ids, scores = np.zeros((3, 2), np.uint16), np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="different lengths"):
        write_shard(tmp_path, 0, [("a", {"ids": ids, "scores": scores})])
    with pytest.raises(ValueError, match="b: fields"):
        write_shard(tmp_path, 0, [("a", {"ids": ids}), ("b", {"scores": scores})])
    assert count_shards(tmp_path) == 0


def test_no_store(tmp_path: Path) -> None:
    for use in (check_store, RaggedStore):
        with pytest.raises(InputError, match=r"holds no store\.json"):
            use(tmp_path)
