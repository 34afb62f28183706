"""Soft labels, senone labels and log posteriors as Kaldi reads them."""

import gzip
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
import scipy.special

from am.errors import InputError
from am.kaldi.archives import MatrixArchiveWriter
from am.kaldi.posteriors import export_posteriors
from am.storage import write_shard, write_store_description


def posteriors_of(folder: Path) -> dict[str, list[list[tuple[int, float]]]]:
    plain = folder / "plain.ark"
    plain.write_bytes(gzip.decompress((folder / "post.1.gz").read_bytes()))
    with kaldi_native_io.SequentialPosteriorReader(f"ark:{plain}") as reader:
        return dict(iter(reader))


def make_store(folder: Path, kind: str, records: list[tuple[str, dict[str, np.ndarray]]]) -> Path:
    folder.mkdir()
    write_shard(folder, 0, records[:1])
    write_shard(folder, 1, records[1:])
    fields = list(records[0][1])
    write_store_description(
        folder, {"kind": kind, "frame_shift": 0.03, "fields": fields, "num_shards": 2}
    )
    return folder


def soft_labels() -> list[tuple[str, dict[str, np.ndarray]]]:
    generator = np.random.default_rng(0)
    return [
        (
            name,
            {
                "pdf_ids": generator.integers(0, 3000, (frames, 4)).astype(np.uint16),
                "logits": -np.sort(generator.exponential(3, (frames, 4))).astype(np.float16),
            },
        )
        for name, frames in (("two", 5), ("one", 3), ("zero", 0))
    ]


def test_soft_labels_are_normalised_posteriors(tmp_path, out):
    store = make_store(tmp_path / "store", "soft labels", soft_labels())
    export_posteriors(store, out)
    found = posteriors_of(out)
    assert list(found) == ["one", "two", "zero"]
    for name, record in soft_labels():
        assert len(found[name]) == len(record["pdf_ids"])
        for frame, pdf_ids, logits in zip(
            found[name], record["pdf_ids"], record["logits"], strict=True
        ):
            assert [pdf_id for pdf_id, _ in frame] == pdf_ids.tolist()
            expected = scipy.special.softmax(logits.astype(np.float64))
            np.testing.assert_allclose([weight for _, weight in frame], expected, rtol=1e-5)
    assert (out / "frame_shift").read_text() == "0.03\n"


def test_senone_labels_have_weight_one(tmp_path, out):
    records = [("a", {"pdf_ids": np.array([3, 0], np.int32)}), ("b", {"pdf_ids": np.array([7])})]
    export_posteriors(make_store(tmp_path / "store", "pdf-ids", records), out)
    assert posteriors_of(out) == {"a": [[(3, 1.0)], [(0, 1.0)]], "b": [[(7, 1.0)]]}


def test_other_stores_are_refused(tmp_path, out):
    records = [("a", {"x": np.array([3])}), ("b", {"x": np.array([7])})]
    store = make_store(tmp_path / "store", "transition-ids", records)
    with pytest.raises(InputError, match="holds transition-ids; give soft labels"):
        export_posteriors(store, out)


def test_a_damaged_store_is_refused(tmp_path, out):
    store = make_store(tmp_path / "store", "soft labels", soft_labels())
    path = store / "shard-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"shard-00001.*checksum"):
        export_posteriors(store, out)


def test_the_index_of_matrices_points_to_their_final_place(tmp_path, out):
    final = tmp_path / "final"
    matrices = {name: np.random.default_rng(0).normal(size=(3, 2)) for name in ("a", "b")}
    with MatrixArchiveWriter(out / "m.ark", out / "m.scp", final / "m.ark") as writer:
        for name, matrix in matrices.items():
            writer.write(name, matrix)
    out.rename(final)
    with kaldi_native_io.SequentialFloatMatrixReader(f"scp:{final / 'm.scp'}") as reader:
        found = {name: np.array(matrix) for name, matrix in reader}
    assert list(found) == ["a", "b"]
    for name, matrix in matrices.items():
        np.testing.assert_allclose(found[name], matrix, rtol=1e-6)
