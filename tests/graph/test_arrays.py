"""Transducers in arrays against kaldifst's own text form."""

from pathlib import Path

import kaldifst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am.errors import InputError
from am.graph.arrays import FstArrays, from_fst, read_fst, to_fst

COSTS = st.floats(-50, 50, width=32)


@st.composite
def transducers(draw: st.DrawFn) -> FstArrays:
    num_states = draw(st.integers(1, 6))
    state = st.integers(0, num_states - 1)
    label = st.integers(0, 2**31 - 1)
    arcs = draw(st.lists(st.tuples(state, label, label, COSTS, state), max_size=12))
    final = draw(st.lists(st.none() | COSTS, min_size=num_states, max_size=num_states))
    columns = list(zip(*arcs, strict=True)) or [()] * 5
    return FstArrays(
        final=np.array([np.inf if cost is None else cost for cost in final], dtype=np.float32),
        source=np.array(columns[0], dtype=np.int32),
        ilabel=np.array(columns[1], dtype=np.int32),
        olabel=np.array(columns[2], dtype=np.int32),
        weight=np.array(columns[3], dtype=np.float32),
        nextstate=np.array(columns[4], dtype=np.int32),
        start=draw(state),
    )


def slowly(arrays: FstArrays) -> kaldifst.StdVectorFst:
    """The transducer built through kaldifst's own methods, arc by arc."""
    fst = kaldifst.StdVectorFst()
    for cost in arrays.final.tolist():
        state = fst.add_state()
        if np.isfinite(cost):
            fst.set_final(state, cost)
    fst.start = arrays.start
    for arc in range(arrays.num_arcs):
        fst.add_arc(
            int(arrays.source[arc]),
            kaldifst.StdArc(
                ilabel=int(arrays.ilabel[arc]),
                olabel=int(arrays.olabel[arc]),
                weight=float(arrays.weight[arc]),
                nextstate=int(arrays.nextstate[arc]),
            ),
        )
    return fst


@given(transducers())
def test_is_what_kaldifst_builds(arrays: FstArrays) -> None:
    fst = to_fst(arrays)
    assert fst.to_str() == slowly(arrays).to_str()
    assert (fst.start, fst.num_states) == (arrays.start, arrays.num_states)
    back = from_fst(fst)
    order = np.argsort(arrays.source, kind="stable")
    for name in ("source", "ilabel", "olabel", "weight", "nextstate"):
        np.testing.assert_array_equal(getattr(back, name), getattr(arrays, name)[order])
    np.testing.assert_array_equal(back.final, arrays.final)
    assert back.start == arrays.start


def test_empty() -> None:
    arrays = from_fst(kaldifst.StdVectorFst())
    assert (arrays.start, arrays.num_states, arrays.num_arcs) == (-1, 0, 0)
    assert to_fst(arrays).start == -1


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"L.fst: no readable FST"):
        read_fst(tmp_path / "L.fst")
    (tmp_path / "L.fst").write_text("text")
    with pytest.raises(InputError, match=r"L.fst: no readable FST"):
        read_fst(tmp_path / "L.fst")
