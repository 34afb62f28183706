"""Coded soft labels: pdf-ids exact, logits within half a step, damage noticed."""

from __future__ import annotations

import json
import tempfile
import zlib
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import am.coded_shards
from am.errors import InputError
from am.soft_labels.codec import MAX_TOP_K, NEW, SoftLabelCodec
from am.soft_labels.quantisation import DEFAULT_LOGIT_STEP
from am.storage import (
    RaggedStore,
    check_store,
    shard_fault,
    shard_paths,
    write_shard,
    write_store_description,
)

Record = dict[str, np.ndarray]


def random_record(
    seed: int, num_frames: int, top_k: int, num_pdfs: int, keep: float = 0.9, spread: float = 2.0
) -> Record:
    """Scores that drift from frame to frame by a share 1 - ``keep``; small spreads make ties."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, spread, num_pdfs)
    pdf_ids = np.empty((num_frames, top_k), np.uint16)
    logits = np.empty((num_frames, top_k), np.float32)
    for frame in range(num_frames):
        scores = keep * scores + (1 - keep) * random.normal(0, 5 * spread, num_pdfs)
        log_posteriors = (scores - np.logaddexp.reduce(scores)).astype(np.float32)
        pdf_ids[frame] = np.argsort(-log_posteriors, kind="stable")[:top_k]
        logits[frame] = log_posteriors[pdf_ids[frame]]
    return {"pdf_ids": pdf_ids, "logits": logits}


@st.composite
def records(draw: st.DrawFn) -> Record:
    num_pdfs = draw(st.sampled_from([1, 2, 30, 256, 257, 3183, 1 << 16]))
    return random_record(
        draw(st.integers(0, 999)),
        draw(st.sampled_from([0, 1, 2, 3, 50]) if num_pdfs < 1 << 16 else st.integers(0, 3)),
        min(num_pdfs, draw(st.sampled_from([1, 2, 3, 20, MAX_TOP_K]))),
        num_pdfs,
        draw(st.sampled_from([0.0, 0.9, 1.0])),
        draw(st.sampled_from([0.0, 0.02, 2.0, 10.0])),
    )


@settings(max_examples=150, deadline=None)
@given(records(), st.sampled_from([DEFAULT_LOGIT_STEP, 0.1, 0.01, 2.0]))
def test_round_trip(record: Record, step: float) -> None:
    num_frames, top_k = record["logits"].shape
    codec = SoftLabelCodec(top_k, step)
    found = codec.decode(codec.encode(record), num_frames)
    assert found["pdf_ids"].dtype == np.uint16
    assert found["logits"].dtype == np.float32
    np.testing.assert_array_equal(found["pdf_ids"], record["pdf_ids"])
    np.testing.assert_allclose(found["logits"], record["logits"], rtol=1e-6, atol=step / 2 + 1e-6)
    if step == DEFAULT_LOGIT_STEP and num_frames:
        assert np.abs(found["logits"] - record["logits"]).max() < 0.05


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_pdf_ids_in_any_order(data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, 6))
    frame = st.lists(st.integers(0, 9), min_size=top_k, max_size=top_k, unique=True)
    frames = data.draw(st.lists(frame, max_size=12))
    record = {
        "pdf_ids": (np.array(frames).reshape(-1, top_k) * 7281).astype(np.uint16),
        "logits": np.zeros((len(frames), top_k), np.float32),
    }
    codec = SoftLabelCodec(top_k)
    found = codec.decode(codec.encode(record), len(frames))
    np.testing.assert_array_equal(found["pdf_ids"], record["pdf_ids"])
    np.testing.assert_array_equal(found["logits"], record["logits"])


def test_the_bytes_of_a_block() -> None:
    record = {
        "pdf_ids": np.array([[7, 300, 2], [2, 7, 5], [5, 2, 7]], np.uint16),
        "logits": np.array([[-0.1, -1, -2], [0, 0, -300], [-0.26, -0.74, -1.1]], np.float32),
    }
    content = zlib.decompress(SoftLabelCodec(3, 0.5).encode(record))
    # Ranks before frames.  Frame 1: 2 is the last of 7, 300, 2; 7 the first of what is left.
    positions = [NEW, 2, 2, NEW, 0, 0, NEW, NEW, 0]
    gaps = [0, 0, 1, 2, 0, 0, 2, 600, 1]
    new = [7, 300, 2, 5]
    expected = [*positions, *(gap % 256 for gap in gaps), *(gap // 256 for gap in gaps)]
    expected += [*(pdf_id % 256 for pdf_id in new), *(pdf_id // 256 for pdf_id in new)]
    assert list(content) == expected


def test_neighbouring_frames_make_it_compact() -> None:
    codec = SoftLabelCodec(20)
    alike, unlike = (random_record(0, 600, 20, 3183, keep) for keep in (0.99, 0.0))
    assert len(codec.encode(alike)) < 0.6 * len(codec.encode(unlike))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinite_logits_are_refused(value: float) -> None:
    record = random_record(0, 4, 3, 9)
    record["logits"][2, 1] = value
    with pytest.raises(ValueError, match="infinite or not a number"):
        SoftLabelCodec(3).encode(record)


def test_what_it_cannot_hold_is_refused() -> None:
    codec = SoftLabelCodec(3)
    record = random_record(0, 4, 3, 9)
    for logits in (record["logits"][:, ::-1], record["logits"] + 20, record["logits"] - 7000):
        with pytest.raises(ValueError, match="must be sorted"):
            codec.encode({**record, "logits": logits})
    with pytest.raises(ValueError, match="twice"):
        codec.encode({**record, "pdf_ids": np.zeros((4, 3), np.uint16)})
    with pytest.raises(ValueError, match="not uint16"):
        codec.encode({**record, "pdf_ids": record["pdf_ids"].astype(np.int64)})
    with pytest.raises(ValueError, match="k 3"):
        codec.encode(random_record(0, 4, 2, 9))
    for top_k, step in ((0, 0.1), (MAX_TOP_K + 1, 0.1), (3, 0.0), (3, np.nan), (3, np.inf)):
        with pytest.raises(ValueError, match="must be"):
            SoftLabelCodec(top_k, step)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_blocks_are_refused(data: st.DataObject) -> None:
    codec = SoftLabelCodec(4)
    payload = bytearray(codec.encode(random_record(1, 30, 4, 50)))
    with pytest.raises(ValueError, match=r"zlib|fit"):
        codec.decode(bytes(payload[: data.draw(st.integers(0, len(payload) - 1))]), 30)
    with pytest.raises(ValueError, match="fit"):
        codec.decode(bytes(payload), data.draw(st.integers(0, 60).filter(lambda n: n != 30)))
    # The first byte's window size and its check say nothing about the content.
    payload[data.draw(st.integers(2, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"zlib|fit"):
        codec.decode(bytes(payload), 30)


def make_store(folder: Path, lengths: list[list[int]], top_k: int = 5) -> dict[str, Record]:
    """A store with a shard for each list of lengths; returns what was put in."""
    codec = SoftLabelCodec(top_k)
    description = {"kind": "soft labels", "frame_shift": 0.03, "fields": ["pdf_ids", "logits"]}
    write_store_description(
        folder, {**description, "codec": codec.describe(), "num_shards": len(lengths)}
    )
    put_in: dict[str, Record] = {}
    for index, of_shard in enumerate(lengths):
        cuts = [
            (f"cut-{index}-{place}", random_record(place, length, top_k, 40))
            for place, length in enumerate(of_shard)
        ]
        write_shard(folder, index, cuts, codec)
        put_in.update(cuts)
    return put_in


def assert_holds(store: RaggedStore, cut_id: str, expected: Record) -> None:
    found = store[cut_id]
    np.testing.assert_array_equal(found["pdf_ids"], expected["pdf_ids"])
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=0.05)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=3), st.randoms())
def test_cuts_of_a_store_in_any_order(lengths: list[list[int]], random: object) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(am.coded_shards, "BLOCK_FRAMES", 25)
        put_in = make_store(Path(name), lengths)
        check_store(Path(name))
        store = RaggedStore(Path(name))
        assert list(store) == list(put_in)
        shuffled = list(put_in)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        for cut_id in [*put_in, *shuffled]:
            assert store.num_frames(cut_id) == len(put_in[cut_id]["logits"])
            assert_holds(store, cut_id, put_in[cut_id])


def test_what_was_read_may_be_changed(tmp_path: Path) -> None:
    put_in = make_store(tmp_path, [[10, 10]])
    store = RaggedStore(tmp_path)
    store["cut-0-0"]["logits"][:] = 7
    assert_holds(store, "cut-0-0", put_in["cut-0-0"])


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    put_in = make_store(tmp_path, [[40, 40], [40, 40]])
    path = shard_paths(tmp_path, 1)[0]
    original = path.read_bytes()
    # The blocks stand last.
    altered = original[:-20] + bytes([original[-20] ^ 1]) + original[-19:]
    for content in (original[:-10], altered):
        path.write_bytes(content)
        assert shard_fault(tmp_path, 1) == "altered or truncated (checksum differs)"
        store = RaggedStore(tmp_path)
        assert_holds(store, "cut-0-1", put_in["cut-0-1"])
        with pytest.raises(InputError, match=r"shard-00001\.safetensors: .*this shard alone"):
            store["cut-1-0"]


def test_a_shard_coded_otherwise_is_named(tmp_path: Path) -> None:
    make_store(tmp_path, [[4], [4]])
    write_shard(tmp_path, 1, [("cut-1-0", random_record(0, 4, 6, 40))], SoftLabelCodec(6))
    with pytest.raises(InputError, match=r"shard-00001.*not coded as the store's description"):
        RaggedStore(tmp_path)["cut-1-0"]


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"name": "other"}, {"top_k": 0}, {"top_k": None}, {"logit_step": -1}],
)
def test_an_unknown_codec_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    make_store(tmp_path, [[4]])
    path = tmp_path / "store.json"
    description = json.loads(path.read_text())
    description["codec"] |= change
    path.write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"store\.json: codec .* cannot be read"):
        RaggedStore(tmp_path)


def test_the_reader_in_the_documentation(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    start = text.index("```python\n", text.index("Soft labels")) + len("```python\n")
    code = text[start : text.index("```", start)]
    assert len(code.splitlines()) <= 32
    lengths = [[0, 400, 300, 7], [120]]
    put_in = make_store(tmp_path, lengths, top_k=20)
    names: dict = {}
    exec(code, names)
    store = RaggedStore(tmp_path)
    for index in range(len(lengths)):
        for cut_id, pdf_ids, logits in names["read_shard"](tmp_path, index):
            expected = put_in.pop(cut_id)
            np.testing.assert_array_equal(pdf_ids, expected["pdf_ids"])
            np.testing.assert_array_equal(logits, store[cut_id]["logits"])
    assert not put_in
