"""Coded soft labels of all senones: logits within half a step, damage noticed."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from am.soft_labels.dense_codec import MAX_LEVEL, DenseSoftLabelCodec
from am.soft_labels.quantisation import DEFAULT_LOGIT_STEP
from am.storage import RaggedStore, write_shard, write_store_description

Record = dict[str, np.ndarray]


def record_of(logits: np.ndarray) -> Record:
    every = np.arange(logits.shape[1], dtype=np.uint16)
    return {"pdf_ids": np.tile(every, (len(logits), 1)), "logits": logits}


def random_record(seed: int, num_frames: int, num_pdfs: int, spread: float = 3.0) -> Record:
    scores = np.random.default_rng(seed).normal(0, spread, (num_frames, num_pdfs))
    log_posteriors = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return record_of(log_posteriors.astype(np.float32))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([DEFAULT_LOGIT_STEP, 0.1, 2.0]))
def test_round_trip(data: st.DataObject, step: float) -> None:
    shape = data.draw(st.tuples(st.integers(0, 9), st.integers(1, 9)))
    lowest = -float(np.float32(min(MAX_LEVEL * step, 3000.0)))
    values = st.floats(lowest, 0.0, width=32)
    record = record_of(data.draw(arrays.arrays(np.float32, shape, elements=values)))
    codec = DenseSoftLabelCodec(shape[1], step)
    found = codec.decode(codec.encode(record), shape[0])
    assert (found["pdf_ids"].dtype, found["logits"].dtype) == (np.uint16, np.float32)
    np.testing.assert_array_equal(found["pdf_ids"], record["pdf_ids"])
    np.testing.assert_allclose(found["logits"], record["logits"], rtol=1e-6, atol=step / 2 + 1e-6)
    levels = found["logits"].astype(np.float64) / step
    np.testing.assert_allclose(levels, np.rint(levels), atol=0.01)


def test_the_bytes_of_a_block() -> None:
    logits = np.array([[-0.1, -1.0], [0.0, -300.0], [-0.74, -299.5]], np.float32)
    content = zlib.decompress(DenseSoftLabelCodec(2, 0.5).encode(record_of(logits)))
    # Levels 0 0 1 and 2 600 599; changes 0 0 1 and 2 598 -1.
    folded = [0, 0, 2, 4, 1196, 1]
    assert list(content) == [*(n % 256 for n in folded), *(n // 256 for n in folded)]


@pytest.mark.parametrize("num_pdfs", [256, 257, 3183])
def test_many_senones(num_pdfs: int) -> None:
    record = random_record(0, 3, num_pdfs)
    codec = DenseSoftLabelCodec(num_pdfs)
    found = codec.decode(codec.encode(record), 3)
    assert np.abs(found["logits"] - record["logits"]).max() < 0.05


def test_what_it_cannot_hold_is_refused() -> None:
    codec, record = DenseSoftLabelCodec(5), random_record(0, 4, 5)
    for value in (np.inf, -np.inf, np.nan):
        broken = record["logits"].copy()
        broken[2, 1] = value
        with pytest.raises(ValueError, match="infinite or not a number"):
            codec.encode(record_of(broken))
    for shift in (20, -4000):
        with pytest.raises(ValueError, match="between 0 and 32767 steps"):
            codec.encode(record_of(record["logits"] + shift))
    with pytest.raises(ValueError, match="in order"):
        codec.encode({**record, "pdf_ids": record["pdf_ids"][:, ::-1]})
    with pytest.raises(ValueError, match="5 senones"):
        codec.encode(random_record(0, 4, 6))
    for num_pdfs, step in ((0, 0.1), ((1 << 16) + 1, 0.1), (5, 0.0), (5, np.nan)):
        with pytest.raises(ValueError, match="must be"):
            DenseSoftLabelCodec(num_pdfs, step)
    for change in ({"version": 2}, {"name": "other"}, {"num_pdfs": 0}):
        with pytest.raises(ValueError, match=r"known is|must be"):
            DenseSoftLabelCodec.from_description(codec.describe() | change)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_blocks_are_refused(data: st.DataObject) -> None:
    codec = DenseSoftLabelCodec(8)
    payload = bytearray(codec.encode(random_record(1, 30, 8)))
    with pytest.raises(ValueError, match=r"zlib|fit"):
        codec.decode(bytes(payload[: data.draw(st.integers(0, len(payload) - 1))]), 30)
    with pytest.raises(ValueError, match="fit"):
        codec.decode(bytes(payload), data.draw(st.integers(0, 60).filter(lambda n: n != 30)))
    intact = codec.decode(bytes(payload), 30)["logits"]
    payload[data.draw(st.integers(2, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        # A changed header may describe the same Huffman codes.
        np.testing.assert_array_equal(codec.decode(bytes(payload), 30)["logits"], intact)
    except ValueError as error:
        assert re.search("zlib|fit", str(error))


def test_cuts_of_a_store(tmp_path: Path) -> None:
    codec = DenseSoftLabelCodec(40)
    description = {"kind": "soft labels", "frame_shift": 0.03, "fields": ["pdf_ids", "logits"]}
    write_store_description(tmp_path, {**description, "codec": codec.describe()})
    cuts = [(f"cut-{n}", random_record(n, n, 40)) for n in (0, 400, 300, 7)]
    write_shard(tmp_path, 0, cuts, codec)
    store = RaggedStore(tmp_path)
    for cut_id, expected in reversed(cuts):
        found = store[cut_id]
        found["pdf_ids"][:1] += 0  # what was read may be changed
        np.testing.assert_array_equal(found["pdf_ids"], expected["pdf_ids"])
        np.testing.assert_allclose(found["logits"], expected["logits"], atol=0.05)
