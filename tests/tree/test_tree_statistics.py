"""Triphone statistics against sums over lists of frames."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import am.tree.statistics as module
from am.errors import InputError
from am.tree.statistics import TriphoneStatistics, encode, triphone_windows


def by_state(utterances: list[Any]) -> dict[tuple[int, ...], np.ndarray]:
    """All frames of each triphone state."""
    frames = defaultdict(list)
    for made in utterances:
        for state, frame in zip(made.states(), made.frames, strict=True):
            frames[state].append(frame)
    return {state: np.stack(group) for state, group in frames.items()}


def check_equal(statistics: TriphoneStatistics, utterances: list[Any]) -> None:
    expected = by_state(utterances)
    windows = statistics.windows
    states = [tuple(column) for column in windows.T.tolist()]
    assert sorted(states, key=lambda state: (state[1], state[0], *state[2:])) == states
    assert set(states) == set(expected)
    for row, state in enumerate(states):
        frames = expected[state]
        assert statistics.count[row] == len(frames)
        np.testing.assert_allclose(statistics.sum[row], frames.sum(0), rtol=1e-9)
        np.testing.assert_allclose(statistics.sum_of_squares[row], (frames**2).sum(0), rtol=1e-9)


def test_windows_of_an_utterance(language: Any, utterances: list[Any]) -> None:
    for made in utterances:
        windows = triphone_windows(made.transition_ids, language.transitions, language.topology)
        assert [tuple(column) for column in windows.T.tolist()] == made.states()


def test_equal_phones_in_a_row_are_two_phones(language: Any) -> None:
    made = language.made_of([2, 2], [[1, 2, 1], [2, 1, 1]], np.random.default_rng(0))
    windows = triphone_windows(made.transition_ids, language.transitions, language.topology)
    assert windows.tolist() == [
        [0, 0, 0, 0, 2, 2, 2, 2],
        [2, 2, 2, 2, 2, 2, 2, 2],
        [2, 2, 2, 2, 0, 0, 0, 0],
        [0, 1, 1, 2, 0, 0, 1, 2],
    ]


def test_an_alignment_that_stops_within_a_phone(language: Any) -> None:
    made = language.made_of([2, 4], [[1, 1, 1], [1, 3, 1]], np.random.default_rng(0))
    windows = triphone_windows(made.transition_ids[:5], language.transitions, language.topology)
    assert [tuple(column) for column in windows.T.tolist()] == made.states()[:5]


def test_no_frames(language: Any) -> None:
    nothing = np.zeros(0, dtype=np.int32)
    assert triphone_windows(nothing, language.transitions, language.topology).shape == (4, 0)
    statistics = TriphoneStatistics(3)
    statistics.accumulate(np.zeros((0, 3)), nothing, language.transitions, language.topology)
    assert len(statistics) == 0
    assert statistics.windows.shape == (4, 0)


@pytest.mark.parametrize("pending", [0, 10, 20_000])
def test_sums_are_those_of_the_frames(
    language: Any, utterances: list[Any], monkeypatch: pytest.MonkeyPatch, pending: int
) -> None:
    monkeypatch.setattr(module, "MIN_PENDING_ROWS", pending)
    check_equal(language.statistics(utterances), utterances)


def test_half_precision_frames_are_summed_in_full(language: Any) -> None:
    made = language.made_of([7] * 300, [[3, 3, 3]] * 300, np.random.default_rng(0))
    half = made.frames.astype(np.float16)
    statistics = TriphoneStatistics(3)
    statistics.accumulate(half, made.transition_ids, language.transitions, language.topology)
    exact = half.astype(np.float64)
    np.testing.assert_allclose(statistics.sum.sum(0), exact.sum(0), rtol=1e-12)
    np.testing.assert_allclose(statistics.sum_of_squares.sum(0), (exact**2).sum(0), rtol=1e-12)


def test_parts_merge_to_the_whole(language: Any, utterances: list[Any]) -> None:
    whole = language.statistics(utterances[:13])
    rest = language.statistics(utterances[13:])
    whole.merge(rest)
    rest.merge(rest)
    check_equal(whole, utterances)
    check_equal(rest, utterances[13:] * 2)


def test_save_and_load(tmp_path: Path, language: Any, utterances: list[Any]) -> None:
    statistics = language.statistics(utterances)
    statistics.save(tmp_path / "statistics.safetensors")
    loaded = TriphoneStatistics.load(tmp_path / "statistics.safetensors")
    np.testing.assert_array_equal(loaded.windows, statistics.windows)
    np.testing.assert_array_equal(loaded.rows, statistics.rows)
    assert loaded.dim == statistics.dim


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "statistics.safetensors"
    for content in (None, b"", b"not statistics"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=r"statistics\.safetensors: not readable"):
            TriphoneStatistics.load(path)


def test_wrong_shapes(language: Any, utterances: list[Any]) -> None:
    made = utterances[0]
    with pytest.raises(ValueError, match="features of shape"):
        TriphoneStatistics(3).accumulate(
            made.frames[:-1], made.transition_ids, language.transitions, language.topology
        )
    with pytest.raises(ValueError, match="dimension 4"):
        TriphoneStatistics(4).accumulate(
            made.frames, made.transition_ids, language.transitions, language.topology
        )
    with pytest.raises(ValueError, match="do not merge"):
        TriphoneStatistics(3).merge(TriphoneStatistics(4))
    with pytest.raises(ValueError, match="must lie in"):
        encode(np.array([[0], [1 << 15], [0], [0]]))
