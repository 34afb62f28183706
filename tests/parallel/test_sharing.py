"""Batches dealt out to processes: each to one of them, about the same hours for all."""

from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import CutSet, MonoCut

from am.nnet.data import LabelledCuts
from am.parallel.sharing import Share
from am.storage import RaggedStore
from tests.nnet.small_data import BATCHING, SmallTask


def batch(index, durations):
    cuts = [MonoCut(f"{index}-{i}", 0, duration, 0) for i, duration in enumerate(durations)]
    return CutSet.from_cuts(cuts)


def rounds_of(batches, size, seed=1):
    """Round → batch of each process."""
    shares = [list(Share(rank, size).of(batches, seed)) for rank in range(size)]
    return list(zip(*shares, strict=True))


BATCHES = st.lists(
    st.lists(st.integers(1, 30).map(float), min_size=1, max_size=4), max_size=60
).map(lambda all_durations: [batch(i, some) for i, some in enumerate(all_durations)])


@settings(deadline=None, max_examples=40)
@given(BATCHES, st.integers(2, 5))
def test_every_cut_is_used_once_and_all_have_as_many_rounds(batches, size):
    rounds = rounds_of(batches, size)
    used = sorted(cut.id for one in rounds for share in one if share is not None for cut in share)
    assert used == sorted(cut.id for one in batches for cut in one)
    assert all(any(share is not None for share in one) for one in rounds)
    assert sum(any(share is None for share in one) for one in rounds) <= 1
    assert len(rounds) == -(-len(batches) // size)


def test_hours_come_out_equal():
    batches = [batch(i, [1.0 + i % 13] * (1 + i % 3)) for i in range(400)]
    totals = [0.0, 0.0, 0.0]
    for one in rounds_of(batches, 3):
        for rank, share in enumerate(one):
            totals[rank] += sum(cut.duration for cut in share or [])
    assert max(totals) - min(totals) <= 39.0  # one batch
    assert min(totals) > 1000.0


def test_the_batches_of_a_round_are_of_similar_length():
    batches = [batch(i, [1.0 + i * 37 % 100]) for i in range(96)]
    spreads = [
        max(share[0].duration for share in one) - min(share[0].duration for share in one)
        for one in (tuple(list(share) for share in one) for one in rounds_of(batches, 2))
    ]
    assert max(spreads) <= 5.0  # at random it would be about 33


def test_one_process_has_what_there_was_without_sharing():
    batches = [batch(i, [1.0 + i * 7 % 5]) for i in range(20)]
    assert list(Share().of(batches, 1)) == batches


def test_torchrun_s_variables_do_not_make_lhotse_share_again(tmp_path, monkeypatch):
    task = SmallTask(tmp_path, num_labeled=9)
    store = RaggedStore(task.labels / "labeled")
    source = LabelledCuts("labeled", task.labeled / "cuts.jsonl.gz", store, BATCHING)
    alone = [one.cut_ids for one in source.batches(seed=1)]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert [one.cut_ids for one in source.batches(seed=1)] == alone
    shared = [
        [one.cut_ids for one in source.rounds(1, Share(rank, 2)) if one is not None]
        for rank in range(2)
    ]
    assert sorted(shared[0] + shared[1]) == sorted(alone)
    rest = [one.cut_ids for one in source.rounds(1, Share(0, 2), skip=1) if one is not None]
    assert rest == shared[0][1:]
