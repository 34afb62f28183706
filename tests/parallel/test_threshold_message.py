"""GTC's messages: what is encoded is what the others add, in no more words than need be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from am.parallel.threshold_message import HEADER_WORDS, add_messages, encode

THRESHOLD = 0.37


@st.composite
def changed_elements(draw, max_size=300):
    """(n,) values in −1, 0, 1."""
    size = draw(st.integers(1, max_size))
    share = draw(st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    is_sent = torch.rand(size, generator=generator) < share
    return is_sent * (torch.randint(2, (size,), generator=generator) * 2 - 1)


def message_of(signs, threshold=THRESHOLD):
    indices = signs.nonzero().squeeze(1)
    return encode(indices, signs[indices] < 0, threshold, len(signs))


@settings(deadline=None, max_examples=60)
@given(st.lists(changed_elements(), min_size=1, max_size=4))
def test_buckets_come_back(buckets):
    message = torch.cat([message_of(signs) for signs in buckets])
    assert message.dtype == torch.int32
    vectors = [torch.ones(len(signs)) for signs in buckets]
    add_messages(message, vectors)
    threshold = torch.tensor(THRESHOLD)
    for vector, signs in zip(vectors, buckets, strict=True):
        torch.testing.assert_close(vector, 1.0 + signs * threshold, rtol=0, atol=1e-7)


@settings(deadline=None, max_examples=60)
@given(changed_elements())
def test_a_message_is_the_shorter_of_list_and_bitmap(signs):
    sent = int(signs.abs().sum())
    bitmap = -(-len(signs) // 32) + -(-sent // 32)
    assert len(message_of(signs)) == HEADER_WORDS + min(sent, bitmap)


@pytest.mark.parametrize(("sign", "word"), [(1, 5 * 2), (-1, 5 * 2 + 1)])
def test_a_word_is_an_index_and_a_sign(sign, word):
    signs = torch.zeros(1000, dtype=torch.int64)
    signs[5] = sign
    message = message_of(signs, 1.0)
    assert message.tolist() == [1, 0x3F800000, word]  # 1.0 as a float32


def test_the_highest_index_fits():
    message = encode(torch.tensor([2**30 - 1]), torch.tensor([True]), 1.0, 2**30)
    assert message[-1].item() == 2**31 - 1
