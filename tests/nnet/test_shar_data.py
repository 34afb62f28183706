"""Batches from shards: every cut once, the same order again, going on in the middle."""

import collections
import itertools
import os
import shutil
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.nnet.data import BatchingSettings, LabelledCuts
from am.nnet.length_batches import batches_of_lengths
from am.nnet.shar_data import ShardedCuts
from am.parallel.sharing import Share
from am.shar.labels import LabelsBesideShards, LabelsInShards
from am.shar.link import link_shar
from am.shar.read import SharData
from am.shar.shard_files import SharSettings
from am.shar.write import write_shar
from am.storage import RaggedStore
from tests.nnet.small_data import SmallTask
from tests.shar.shar_cases import file_server, make_soft_labels

NUM_CUTS = 40
SHARD_SIZE = 5
SECONDS = 2.0


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """40 labelled cuts in 8 shards, with hard and soft labels."""
    task = SmallTask(tmp_path_factory.mktemp("task"), num_labeled=NUM_CUTS)
    task.soft = make_soft_labels(task.folder / "soft", task.labeled, cuts_per_shard=SHARD_SIZE)
    task.shar = task.output("shar")
    stores = [task.labels / "labeled", task.soft]
    write_shar(task.labeled, task.shar, SharSettings(shard_size=SHARD_SIZE), stores)
    return task


def sharded(task, workers=0, open_shards=4, seconds=SECONDS, kind="pdf-ids", positions=None):
    data = SharData(task.shar)
    batching = BatchingSettings(seconds, 2, workers, open_shards)
    return ShardedCuts("labeled", data, LabelsInShards(data, kind), batching, None, positions)


def order(cuts, seed=1, **options):
    return [batch.cut_ids for batch in cuts.batches(seed, **options)]


@pytest.mark.filterwarnings("ignore:We have exceeded the max_duration")
@pytest.mark.parametrize("kind", ["pdf-ids", "soft labels"])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_what_a_folder_s_batches_hold(task, kind, workers):
    store = RaggedStore(task.soft if kind == "soft labels" else task.labels / "labeled")
    folder = LabelledCuts("labeled", task.labeled / "cuts.jsonl.gz", store, BatchingSettings(0.1))
    expected = {batch.cut_ids[0]: batch for batch in folder.batches(0)}
    assert len(expected) == NUM_CUTS
    cuts = sharded(task, workers, kind=kind)
    assert (cuts.num_cuts, cuts.num_frames) == (folder.num_cuts, folder.num_frames)
    frames = 0
    for batch in cuts.batches(seed=3):
        starts = np.cumsum([0, *(-(-batch.lengths // 3)).tolist()])
        for row, cut_id in enumerate(batch.cut_ids):
            alone, length = expected[cut_id], int(batch.lengths[row])
            np.testing.assert_array_equal(batch.features[row, :length], alone.features[0])
            assert (batch.features[row, length:] == 0).all()
            labels = slice(starts[row], starts[row + 1])
            np.testing.assert_array_equal(batch.pdf_ids[labels], alone.pdf_ids)
            if kind == "soft labels":
                np.testing.assert_array_equal(batch.stored_logits[labels], alone.stored_logits)
        assert sum(batch.lengths) / 100 <= SECONDS or len(batch.cut_ids) == 1
        frames += batch.num_frames
    assert frames == cuts.num_frames


def test_labels_may_stand_beside_the_shards(task, tmp_path):
    data = SharData(task.shar)
    batching = BatchingSettings(SECONDS)
    inside = ShardedCuts("x", data, LabelsInShards(data, "soft labels"), batching)
    beside = ShardedCuts("x", data, LabelsBesideShards(task.soft), batching)
    for one, other in zip(inside.batches(1), beside.batches(1), strict=True):
        np.testing.assert_array_equal(one.pdf_ids, other.pdf_ids)
        np.testing.assert_array_equal(one.stored_logits, other.stored_logits)
    wrong = make_soft_labels(tmp_path / "soft", task.labeled, cuts_per_shard=SHARD_SIZE + 1)
    with pytest.raises(InputError, match=r"soft/shard-0000\d.safetensors: not the labels of the s"):
        list(ShardedCuts("x", data, LabelsBesideShards(wrong), batching).batches(1))
    path = wrong / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"shard-00000.safetensors: altered or truncated"):
        LabelsBesideShards(wrong).of(0, [])


@settings(deadline=None, max_examples=25)
@given(
    size=st.integers(1, 9),
    open_shards=st.integers(1, 9),
    seconds=st.sampled_from([0.3, 2.0, 100.0]),
    seed=st.integers(0, 10**6),
    shuffle=st.booleans(),
)
def test_every_cut_comes_once_over_all_processes(task, size, open_shards, seconds, seed, shuffle):
    cuts = sharded(task, open_shards=open_shards, seconds=seconds)
    seen, rounds = [], []
    for rank in range(size):
        batches = list(cuts.rounds(seed, Share(rank, size), shuffle))
        rounds.append(len(batches))
        # A process without batches waits for the others at the end alone.
        left = list(itertools.dropwhile(lambda batch: batch is not None, batches))
        assert left == [None] * len(left)
        seen += [cut_id for batch in batches if batch for cut_id in batch.cut_ids]
    assert collections.Counter(seen) == dict.fromkeys(
        (cut.id for cut in open_feature_data(task.labeled)), 1
    )
    assert len(set(rounds)) == 1


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(("workers", "open_shards"), [(2, 4), (3, 2)])
def test_each_shard_is_read_by_one_worker_of_one_process(
    task, tmp_path, monkeypatch, workers, open_shards
):
    original = SharData.read_shard
    record = tmp_path / "read.txt"

    def recording_read(self, position):
        with record.open("a") as stream:
            stream.write(f"{position} {os.getpid()}\n")
        return original(self, position)

    monkeypatch.setattr(SharData, "read_shard", recording_read)
    seen = []
    for rank in range(2):
        cuts = sharded(task, workers, open_shards)
        for batch in cuts.rounds(5, Share(rank, 2)):
            seen += batch.cut_ids if batch else []
    assert sorted(seen) == [cut.id for cut in open_feature_data(task.labeled)]
    read = [line.split() for line in record.read_text().splitlines()]
    assert sorted(int(position) for position, _ in read) == list(range(8))
    assert len({process for _, process in read}) == 2 * workers


def test_the_order_depends_on_the_seed_and_not_on_the_workers(task):
    cuts = sharded(task)
    assert order(cuts) == order(cuts)
    assert order(cuts) != order(cuts, 2)
    assert order(cuts) == order(sharded(task, workers=2)) != order(sharded(task, open_shards=3))
    unshuffled = order(cuts, shuffle=False)
    assert unshuffled == order(cuts, 7, shuffle=False) != order(cuts)
    # The first lane begins with the first shard.
    first = [cut.id for cut in SharData(task.shar).read_shard(0)]
    assert set(unshuffled[0]) <= set(first)


@settings(deadline=None, max_examples=25)
@given(data=st.data(), size=st.integers(1, 3), open_shards=st.integers(1, 5))
def test_a_pass_goes_on_anywhere_as_if_it_had_not_stopped(task, data, size, open_shards):
    cuts = sharded(task, open_shards=open_shards, seconds=0.5)
    share = Share(data.draw(st.integers(0, size - 1)), size)
    ids = [batch and batch.cut_ids for batch in cuts.rounds(3, share)]
    skip = data.draw(st.integers(0, len(ids)))
    assert ids[skip:] == [batch and batch.cut_ids for batch in cuts.rounds(3, share, skip=skip)]


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_reads_no_shard_before(task, tmp_path, monkeypatch, workers):
    original = SharData.read_shard
    record = tmp_path / "read.txt"

    def recording_read(self, position):
        with record.open("a") as stream:
            stream.write(f"{position}\n")
        return original(self, position)

    cuts = sharded(task, workers, open_shards=2, seconds=0.5)
    straight = order(cuts)
    monkeypatch.setattr(SharData, "read_shard", recording_read)
    skip = 3 * len(straight) // 4
    assert order(cuts, skip=skip) == straight[skip:]
    assert len(record.read_text().split()) <= 4


def one_by_one(lengths, max_frames):
    """The same batches, a cut at a time."""
    batches, current = [], []
    for limit in (limit for limit, count in lengths for _ in range(count)):
        if current and sum(current) + limit > max_frames:
            batches.append(current)
            current = []
        current.append(limit)
    return [(len(one), one[-1]) for one in [*batches, current] if one]


@given(st.dictionaries(st.integers(1, 60), st.integers(1, 30), max_size=8), st.integers(1, 100))
def test_batches_of_lengths_are_those_made_cut_by_cut(counts, max_frames):
    lengths = sorted(counts.items())
    found = [(one.size, one.longest) for one in batches_of_lengths(lengths, max_frames)]
    assert found == one_by_one(lengths, max_frames)


def test_the_size_is_told_without_reading(task, monkeypatch):
    cuts = sharded(task)
    batches = list(cuts.batches(1))
    monkeypatch.setattr(SharData, "read_shard", None)
    assert (cuts.size().frames, cuts.size().updates) == (cuts.num_frames, len(batches))
    chunks = sum(-(-int(batch.lengths.max()) // 30) for batch in batches)
    assert chunks <= cuts.size(0.3).updates <= 1.3 * chunks


def test_parts_share_the_shards_out(task):
    parts = [sharded(task, positions=range(8)[part::3]) for part in range(3)]
    ids = [sorted(itertools.chain(*order(part))) for part in parts]
    assert [part.num_cuts for part in parts] == [len(part) for part in ids] == [15, 15, 10]
    assert len(set(itertools.chain(*ids))) == NUM_CUTS


@pytest.fixture
def served(task, tmp_path, monkeypatch):
    """A copy of the shards on a server: its folder, its URL, and a folder that names it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder, linked = tmp_path / "served", tmp_path / "linked"
    shutil.copytree(task.shar, folder)
    linked.mkdir()
    with file_server(folder) as url:
        link_shar(url, linked)
        yield folder, url, linked


def cuts_from(linked, workers=0):
    there = SharData(linked)
    labels = LabelsInShards(there, "soft labels")
    return ShardedCuts("labeled", there, labels, BatchingSettings(SECONDS, 2, workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_from_a_server(task, served, workers):
    _, _, linked = served
    local = sharded(task, workers, kind="soft labels")
    batches = cuts_from(linked, workers).batches(1)
    for ours, theirs in zip(batches, local.batches(1), strict=True):
        assert ours.cut_ids == theirs.cut_ids
        np.testing.assert_array_equal(ours.features, theirs.features)
        np.testing.assert_array_equal(ours.stored_logits, theirs.stored_logits)


def test_a_shard_that_the_server_lacks_is_named(served):
    folder, url, linked = served
    cuts = cuts_from(linked)
    for path in (folder / "shar").glob("features.*"):
        path.unlink()
    with pytest.raises(InputError, match=rf"^{url}/shar/features[^\n]*: HTTP 404 [^\n]*$"):
        list(cuts.batches(2))


def test_a_damaged_shard_is_named_even_from_a_worker(task, monkeypatch):
    def damaged(self, position, original=SharData.read_shard):
        if position == 5:
            raise InputError("shar/features.000005.tar: altered")
        return original(self, position)

    monkeypatch.setattr(SharData, "read_shard", damaged)
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"^shar/features.000005.tar: altered$"):
            order(sharded(task, workers))


def test_memory_holds_open_shards_alone(task, monkeypatch):
    """Cuts of a shard can be forgotten once its last batch is made."""
    alive = []
    original = SharData.read_shard

    def watched(self, position):
        cuts = original(self, position)
        alive.extend(weakref.ref(cut.features) for cut in cuts)
        return cuts

    monkeypatch.setattr(SharData, "read_shard", watched)
    most = 0
    for _ in sharded(task, open_shards=2, seconds=0.5).batches(1):
        most = max(most, sum(reference() is not None for reference in alive))
    assert 0 < most <= 2 * SHARD_SIZE
