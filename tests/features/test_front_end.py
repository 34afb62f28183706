"""The front end: against a loop, and streaming against whole utterances."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from am.errors import InputError
from am.features.low_frame_rate import (
    LowFrameRateFrontEnd,
    StreamingFrontEnd,
    estimate_front_end,
    num_low_rate_frames,
)

DIMENSION = 4


def make_front_end(prior_frames=5.0):
    generator = torch.Generator().manual_seed(2)
    return LowFrameRateFrontEnd(
        torch.randn(DIMENSION, generator=generator) - 5.0,
        torch.randn(DIMENSION, generator=generator) * 0.1,
        torch.rand(DIMENSION, generator=generator) + 0.5,
        prior_frames,
    )


def by_a_loop(front_end, features):
    """The module's three formulas, frame by frame."""
    total = front_end.prior_frames * front_end.global_mean.double()
    frames = []
    for t, frame in enumerate(features.double()):
        total = total + frame
        causal = frame - total / (front_end.prior_frames + t + 1)
        frames.append((causal - front_end.mean) / front_end.standard_deviation)
    vectors = []
    for i in range(-(-len(frames) // 3)):
        vectors.append(torch.cat([frames[min(3 * i + j, len(frames) - 1)] for j in range(3)]))
    return torch.stack(vectors).float()


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_padded_batch_equals_a_loop(lengths, seed):
    front_end = make_front_end()
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(lengths), max(lengths), DIMENSION, generator=generator) - 5.0
    vectors, low_rate_lengths = front_end(features, torch.tensor(lengths))
    assert low_rate_lengths.tolist() == [-(-length // 3) for length in lengths]
    for row, length in enumerate(lengths):
        expected = by_a_loop(front_end, features[row, :length])
        torch.testing.assert_close(vectors[row, : len(expected)], expected)
        assert (vectors[row, len(expected) :] == 0).all()


@given(
    pieces=st.lists(st.integers(0, 7), min_size=1, max_size=12),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_streaming_equals_the_whole_utterance(pieces, seed):
    front_end = make_front_end()
    streaming = StreamingFrontEnd(front_end)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(2):  # the second utterance must not remember the first
        features = torch.randn(sum(pieces), DIMENSION, generator=generator)
        outputs = [streaming.accept(piece) for piece in features.split(pieces)]
        streamed = torch.cat([*outputs, streaming.flush()])
        if len(features) == 0:
            assert len(streamed) == 0
            continue
        whole, _ = front_end(features[None], torch.tensor([len(features)]))
        torch.testing.assert_close(streamed, whole[0])


def test_a_vector_comes_as_soon_as_its_last_frame():
    streaming = StreamingFrontEnd(make_front_end())
    counts = [len(streaming.accept(torch.zeros(1, DIMENSION))) for _ in range(7)]
    assert counts == [0, 0, 1, 0, 0, 1, 0]
    assert len(streaming.flush()) == 1


def test_statistics_make_training_data_of_mean_0_and_variance_1():
    generator = np.random.default_rng(0)
    utterances = [
        (generator.normal(size=(n, DIMENSION)) * [1, 2, 3, 0.1] - 7).astype(np.float32)
        for n in (30, 50, 71)
    ]
    front_end = estimate_front_end(utterances, prior_frames=10.0, frame_shift=0.01)
    np.testing.assert_allclose(front_end.global_mean, np.concatenate(utterances).mean(0), rtol=1e-4)
    normalised = np.concatenate(
        [front_end.normalise(torch.from_numpy(u)[None])[0][0].numpy() for u in utterances]
    )
    np.testing.assert_allclose(normalised.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(0), 1, rtol=1e-4)


def test_long_utterances_lose_no_precision():
    front_end = make_front_end()
    features = torch.randn(20000, DIMENSION) - 12.0
    vectors, _ = front_end(features[None], torch.tensor([20000]))
    expected = by_a_loop(front_end, features)
    torch.testing.assert_close(vectors[0], expected, rtol=1e-4, atol=1e-5)


def test_it_comes_back_from_disk(tmp_path):
    front_end = make_front_end(prior_frames=33.0)
    front_end.save(tmp_path)
    loaded = LowFrameRateFrontEnd.load(tmp_path)
    assert (loaded.prior_frames, loaded.frame_shift) == (33.0, 0.01)
    features, lengths = torch.randn(1, 10, DIMENSION), torch.tensor([10])
    assert torch.equal(loaded(features, lengths)[0], front_end(features, lengths)[0])


def test_one_count_of_frames_for_all_kinds_of_numbers():
    assert [num_low_rate_frames(n) for n in (0, 1, 3, 4)] == [0, 1, 1, 2]
    assert num_low_rate_frames(np.array([5, 6])).tolist() == [2, 2]
    assert num_low_rate_frames(torch.tensor([7])).tolist() == [3]


def test_bad_input_is_named(tmp_path):
    with pytest.raises(InputError, match=r"front_end.safetensors: no such file"):
        LowFrameRateFrontEnd.load(tmp_path)
    with pytest.raises(InputError, match="no features"):
        estimate_front_end([], 10.0, 0.01)
