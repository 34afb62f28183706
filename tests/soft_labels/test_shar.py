"""Soft labels in Shar: lhotse reads back what the store holds."""

import numpy as np
import pytest
from lhotse import CutSet

from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.features.low_frame_rate import num_low_rate_frames
from am.nnet.data import load_features
from am.soft_labels.codec import SoftLabelCodec
from am.soft_labels.shar import write_shar
from am.storage import RaggedStore, shard_paths, write_shard, write_store_description
from tests.nnet.small_data import NUM_PDFS, make_features, make_labels, make_senones


@pytest.fixture
def unlabeled(tmp_path):
    make_features(tmp_path / "unlabeled", 7)
    return tmp_path / "unlabeled"


@pytest.fixture
def soft_labels(tmp_path, unlabeled):
    """Random soft labels of all cuts but the last."""
    random = np.random.default_rng(0)
    codec = SoftLabelCodec(4)
    description = {"kind": "soft labels", "frame_shift": 0.03, "fields": ["pdf_ids", "logits"]}
    facts = {"codec": codec.describe(), "temperature": 1.0, "num_pdfs": NUM_PDFS}
    write_store_description(tmp_path / "store", {**description, **facts})
    records = []
    for cut in list(open_feature_data(unlabeled))[:-1]:
        size = (num_low_rate_frames(cut.num_frames), NUM_PDFS)
        logits = -np.sort(random.exponential(2.0, size))[:, :4]
        pdf_ids = random.permuted(np.tile(np.arange(NUM_PDFS), (size[0], 1)), axis=1)[:, :4]
        record = {"pdf_ids": pdf_ids.astype(np.uint16), "logits": logits}
        records.append((cut.id, record))
    write_shard(tmp_path / "store", 0, records, codec)
    return tmp_path / "store"


def test_lhotse_reads_the_same(tmp_path, unlabeled, soft_labels):
    write_shar(unlabeled, soft_labels, tmp_path / "shar", cuts_per_shard=4)
    assert len(list((tmp_path / "shar").glob("cuts.*"))) == 2
    store = RaggedStore(soft_labels)
    cuts = CutSet.from_shar(in_dir=tmp_path / "shar")
    originals = {cut.id: cut for cut in open_feature_data(unlabeled)}
    read = []
    for cut in cuts:
        read.append(cut.id)
        expected = store[cut.id]
        pdf_ids, logits = cut.load_soft_label_pdf_ids(), cut.load_soft_label_logits()
        assert (pdf_ids.dtype, logits.dtype) == (np.uint16, np.float32)
        np.testing.assert_array_equal(pdf_ids, expected["pdf_ids"])
        np.testing.assert_array_equal(logits, expected["logits"])
        np.testing.assert_array_equal(cut.load_features(), load_features(originals[cut.id]))
        assert cut.soft_label_frame_shift == 0.03
    assert read == list(store)


def test_bad_input_is_named(tmp_path, unlabeled, soft_labels):
    make_features(tmp_path / "other", 2)
    with pytest.raises(InputError, match="has labels for no cut of"):
        write_shar(tmp_path / "other", soft_labels, tmp_path / "shar-1", 4)
    make_labels(tmp_path / "hard", {}, make_senones(tmp_path / "senones"))
    with pytest.raises(InputError, match="holds pdf-ids where soft labels are needed"):
        write_shar(unlabeled, tmp_path / "hard", tmp_path / "shar-2", 4)
    path = shard_paths(soft_labels, 0)[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="checksum differs"):
        write_shar(unlabeled, soft_labels, tmp_path / "shar-3", 4)
