"""The float16 file: what is written comes back, whole or in part, through lhotse."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lhotse import Features

from am.features.storage import Float16FileReader, Float16FileWriter


def write(folder, matrices):
    with Float16FileWriter(folder / "features") as writer:
        keys = [writer.write("any", matrix) for matrix in matrices]
    return writer.storage_path, keys


@given(
    shapes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    left=st.integers(0, 10),
    right=st.one_of(st.none(), st.integers(0, 10)),
)
def test_any_stretch_of_any_matrix_can_be_read(tmp_path_factory, shapes, left, right):
    generator = np.random.default_rng(0)
    matrices = [generator.normal(size=(frames, 3)) * 10 for frames in shapes]
    path, keys = write(tmp_path_factory.mktemp("storage"), matrices)
    for matrix, key in zip(matrices, keys, strict=True):
        expected = matrix.astype(np.float16).astype(np.float32)
        read = Float16FileReader(path).read(key, left, right)
        np.testing.assert_array_equal(read, expected[left:right])


def test_values_are_off_by_less_than_a_twentieth_of_a_percent(tmp_path):
    matrix = np.random.default_rng(0).uniform(-20, 20, (1000, 64)).astype(np.float32)
    path, keys = write(tmp_path, [matrix])
    np.testing.assert_allclose(Float16FileReader(path).read(keys[0]), matrix, rtol=5e-4)


def test_lhotse_finds_the_reader_by_its_name(tmp_path):
    matrix = np.arange(20, dtype=np.float32).reshape(10, 2)
    path, keys = write(tmp_path, [matrix])
    manifest = Features(
        type="megahour-lfbe",
        num_frames=10,
        num_features=2,
        frame_shift=0.01,
        sampling_rate=16000,
        start=0,
        duration=0.1,
        storage_type="float16_file",
        storage_path=path,
        storage_key=keys[0],
        channels=0,
    )
    np.testing.assert_array_equal(manifest.load(), matrix)
    np.testing.assert_array_equal(manifest.load(start=0.03, duration=0.02), matrix[3:5])


def test_a_truncated_file_is_named(tmp_path):
    path, keys = write(tmp_path, [np.ones((10, 2))])
    os.truncate(path, 30)
    with pytest.raises(ValueError, match="truncated: 30 of 40 bytes"):
        Float16FileReader(path).read(keys[0])
