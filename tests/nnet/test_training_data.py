"""Batches: every cut once a pass, padding, order, resuming in the middle."""

import json

import numpy as np
import pytest
import torch
from lhotse import CutSet, Features, MonoCut

from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.nnet.cross_entropy import CrossEntropySettings, train_cross_entropy
from am.nnet.data import (
    BatchingSettings,
    LabelledCuts,
    check_feature_kind,
    load_features,
    split_into_parts,
)
from am.storage import RaggedStore
from tests.nnet.small_data import (
    BATCHING,
    LSTM,
    TRAINER,
    SmallTask,
    low_rate,
    make_features,
    make_labels,
)


@pytest.fixture
def task(tmp_path):
    return SmallTask(tmp_path, num_labeled=40)


def labelled_cuts(task, settings=BATCHING):
    store = RaggedStore(task.labels / "labeled")
    return LabelledCuts("labeled", task.labeled / "cuts.jsonl.gz", store, settings)


@pytest.mark.parametrize("num_buckets", [1, 2, 5])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_cut_comes_once_a_pass(task, num_buckets, shuffle):
    cuts = labelled_cuts(task, BatchingSettings(3.0, num_buckets))
    for seed in range(20):
        seen = [cut_id for batch in cuts.batches(seed, shuffle) for cut_id in batch.cut_ids]
        assert len(seen) == 40
        assert set(seen) == {cut.id for cut in open_feature_data(task.labeled)}


def test_a_batch_holds_its_cuts_features_and_labels(task):
    cuts = labelled_cuts(task)
    by_id = {cut.id: cut for cut in cuts.cuts()}
    frames = 0
    for batch in cuts.batches(seed=3):
        labels = batch.pdf_ids.split((-(-batch.lengths // 3)).tolist())
        for row, cut_id in enumerate(batch.cut_ids):
            expected = load_features(by_id[cut_id])
            length = int(batch.lengths[row])
            np.testing.assert_array_equal(batch.features[row, :length], expected)
            assert (batch.features[row, length:] == 0).all()
            stored = cuts.labels[cut_id]["pdf_ids"]
            np.testing.assert_array_equal(labels[row], stored)
        frames += batch.num_frames
        assert sum(by_id[cut_id].duration for cut_id in batch.cut_ids) <= 4.0
    assert frames == cuts.num_frames


def test_order_depends_on_the_seed_and_can_begin_in_the_middle(task):
    cuts = labelled_cuts(task)
    order = [batch.cut_ids for batch in cuts.batches(seed=1)]
    assert order == [batch.cut_ids for batch in cuts.batches(seed=1)]
    assert order != [batch.cut_ids for batch in cuts.batches(seed=2)]
    assert order[2:] == [batch.cut_ids for batch in cuts.batches(seed=1, skip=2)]


def test_batches_do_not_touch_the_global_random_state(task):
    state = torch.get_rng_state()
    list(labelled_cuts(task).batches(seed=1))
    assert torch.equal(state, torch.get_rng_state())


def test_parts_share_the_cuts_out(task, tmp_path):
    parts = split_into_parts(task.labeled / "cuts.jsonl.gz", tmp_path / "parts", 3)
    store = RaggedStore(task.labels / "labeled")
    ids = [[cut.id for cut in LabelledCuts("part", part, store, BATCHING).cuts()] for part in parts]
    assert [len(part) for part in ids] == [14, 13, 13]
    assert len({cut_id for part in ids for cut_id in part}) == 40


def test_unreadable_features_name_the_cut_even_from_a_worker(task):
    (task.labeled / "features.f16").write_bytes(b"")
    for workers in (0, 1):
        cuts = labelled_cuts(task, BatchingSettings(4.0, 2, workers))
        with pytest.raises(InputError, match=r"^.*features.f16: cut labeled-0-0\d\d: "):
            list(cuts.batches(seed=0))


def test_features_of_two_kinds_do_not_mix(task, tmp_path):
    other = tmp_path / "other"
    make_features(other, 2)
    path = other / "features.json"
    path.write_text(path.read_text().replace('"lfbe"', '"mfcc"'))
    assert check_feature_kind([task.labeled, task.dev]) == 12
    with pytest.raises(InputError, match="other: mfcc of 12 values"):
        check_feature_kind([task.labeled, other])


def test_labels_of_the_small_task_are_at_the_middle_frame(tmp_path, task):
    frames = np.array([0, 1, 2, 3, 4, 5, 0])
    store = RaggedStore(make_labels(tmp_path / "x", {"cut": frames}, task.senones))
    assert store["cut"]["pdf_ids"].tolist() == low_rate(frames).tolist() == [1, 4, 0]


def write_lengths(folder, seconds):
    """A manifest and labels of cuts that have a length and nothing else."""
    manifest = folder / "cuts.jsonl.gz"
    with CutSet.open_writer(manifest) as writer:
        for index, duration in enumerate(seconds):
            num_frames = round(duration * 100)
            cut = MonoCut(f"cut-{index:05d}", 0, num_frames / 100, channel=0)
            cut.features = Features(
                "none",
                num_frames,
                64,
                0.01,
                16000,
                0,
                cut.duration,
                "none",
                "none",
                "0",
                channels=0,
            )
            writer.write(cut)
    return manifest


@pytest.mark.filterwarnings("ignore:We have exceeded the max_duration")
@pytest.mark.parametrize(
    "settings",
    [BatchingSettings(), BatchingSettings(20, 10), BatchingSettings(200, 30)],
    ids=["default", "conf", "conf/paper"],
)
@pytest.mark.parametrize(("median", "spread"), [(3.5, 0.5), (12.0, 0.6)], ids=["short", "long"])
def test_little_of_a_batch_is_padding(tmp_path, settings, median, spread):
    generator = np.random.default_rng(4)
    seconds = np.clip(median * np.exp(spread * generator.normal(size=4000)), 0.5, 35.0)
    manifest = write_lengths(tmp_path, seconds)
    everything = {f"cut-{index:05d}": None for index in range(4000)}
    cuts = LabelledCuts("made up", manifest, everything, settings)
    lengths = [[cut.num_frames for cut in batch] for batch in cuts.sampler(seed=1)]
    frames = sum(map(sum, lengths))
    assert sum(map(len, lengths)) == 4000
    assert frames / sum(len(batch) * max(batch) for batch in lengths) > 0.9


def test_the_log_tells_the_padding(task, tmp_path, caplog):
    output = task.output("network")
    settings = CrossEntropySettings(LSTM, TRAINER, BATCHING, epochs=1)
    with caplog.at_level("INFO"):
        train_cross_entropy(*task.inputs(), output, settings, "cpu")
    line = json.loads((output / "log.jsonl").read_text())
    seed = TRAINER.seed * 1_000_003
    lengths = [-(-batch.lengths // 3) for batch in labelled_cuts(task).batches(seed)]
    held = sum(len(batch) * int(batch.max()) for batch in lengths)
    share = 1 - sum(int(batch.sum()) for batch in lengths) / held
    assert line["padding"] == pytest.approx(share, abs=1e-4)
    assert f"padding {100 * share:.1f} %" in caplog.text
