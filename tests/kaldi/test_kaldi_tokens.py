"""Numbers, lists and matrices: what is written is read back, and bad bytes are refused."""

from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from am.errors import InputError
from am.kaldi.tokens import KaldiReader, KaldiWriter

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**31) + 1, 2**31 - 1)


def reader_of(folder: Path, data: bytes) -> KaldiReader:
    path = folder / "file"
    path.write_bytes(data)
    return KaldiReader(path, "a file")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tokens")


@pytest.mark.parametrize("binary", [True, False])
@given(
    integers=hnp.arrays(np.int32, st.integers(0, 9), elements=INTEGERS),
    vector=hnp.arrays(np.float32, st.integers(0, 9), elements=FLOATS),
    matrix=hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=FLOATS),
    integer=INTEGERS,
    real=FLOATS,
)
def test_what_is_written_is_read(folder, binary, integers, vector, matrix, integer, real):
    writer = KaldiWriter(binary=binary)
    writer.token("<Begin>")
    writer.integers(integers)
    writer.vector(vector)
    writer.integer(integer)
    writer.matrix(matrix)
    writer.real(real)
    writer.integer(abs(integer), signed=False)
    writer.token("<End>")
    reader = reader_of(folder, writer.to_bytes())
    assert reader.binary == binary
    reader.token("<Begin>")
    np.testing.assert_array_equal(reader.integers(), integers)
    np.testing.assert_array_equal(reader.vector(), vector)
    assert reader.integer() == integer
    np.testing.assert_array_equal(reader.matrix(), matrix)
    assert reader.real() == real
    assert reader.integer() == abs(integer)
    assert reader.token() == "<End>"
    assert reader.peek() == ""


@pytest.mark.parametrize("binary", [True, False])
def test_a_matrix_of_kaldis_own_code_is_read(folder, binary):
    matrix = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    path = folder / "matrix"
    kaldi_native_io.FloatMatrix(matrix).write(str(path), binary=binary)
    found = KaldiReader(path, "a matrix").matrix()
    np.testing.assert_allclose(found, matrix, rtol=0 if binary else 1e-5)


@given(st.binary(max_size=60), st.sampled_from(["integers", "vector", "matrix", "real", "token"]))
def test_any_bytes_give_a_value_or_one_error(folder, data, method):
    for start in (b"", b"\0B", b"\0BFM ", b"[ "):
        reader = reader_of(folder, start + data)
        try:
            getattr(reader, method)()
        except InputError as error:
            assert str(reader._path) in str(error)


@pytest.mark.parametrize(
    ("data", "method", "problem"),
    [
        (b"\0BFM \4\3\0\0\0\4\3\0\0\0\0\0", "matrix", "ends within 9 numbers"),
        (b"\0BFM \4\xff\xff\xff\xff\4\3\0\0\0", "matrix", "a matrix of -1 x 3"),
        (b"\0BFV \4\xfe\xff\xff\xff", "vector", "a list of -2 numbers"),
        (b"\0BCM \4\3\0\0\0", "matrix", "expected FM or DM"),
        (b"\0B\2\1\0", "integer", "found size 2"),
        (b"[ 1 2", "vector", "without its end"),
        (b"[ 1 2\n 3 ]", "matrix", "differ in length"),
        (b"[ 1 x ]", "integers", "something other than numbers"),
        (b"99999999999", "integer", "expected an integer"),
        (b"abc", "real", "expected a number"),
        (b"", "token", "the end"),
    ],
)
def test_bad_files_are_refused(folder, data, method, problem):
    with pytest.raises(InputError, match=problem):
        getattr(reader_of(folder, data), method)()
