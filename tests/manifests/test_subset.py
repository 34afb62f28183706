"""Random parts of data folders."""

from fractions import Fraction
from pathlib import Path

import pytest
from lhotse import CutSet, MonoCut

from am.errors import InputError
from am.manifests.subset import subset_data

NUM_CUTS = 400


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of feature settings and cuts without features."""
    folder = tmp_path / "data"
    folder.mkdir()
    with CutSet.open_writer(folder / "cuts.jsonl.gz") as writer:
        for index in range(NUM_CUTS):
            writer.write(MonoCut(f"cut{index:03d}", 0.0, 2.0, 0))
    (folder / "features.json").write_text("{}")
    return folder


def ids(data: Path, share: str, seed: int = 1) -> list[str]:
    """The cuts of a subset."""
    output = data.parent / f"{share.replace('/', '_')}-{seed}"
    output.mkdir()
    subset_data(data, output, Fraction(share), seed)
    assert (output / "features.json").is_file()
    return [cut.id for cut in CutSet.from_jsonl_lazy(output / "cuts.jsonl.gz")]


def test_smaller_subsets_lie_within_larger_ones_in_order(data: Path) -> None:
    eighth, quarter, half, all_cuts = (ids(data, share) for share in ("1/8", "1/4", "0.5", "1"))
    assert len(all_cuts) == NUM_CUTS and all_cuts == sorted(all_cuts)
    assert set(eighth) < set(quarter) < set(half)
    assert half == sorted(half)
    # Five standard deviations of a binomial count.
    assert abs(len(quarter) - NUM_CUTS / 4) < 5 * (NUM_CUTS * 3 / 16) ** 0.5


def test_another_seed_takes_others(data: Path) -> None:
    assert ids(data, "1/2", 1) != ids(data, "1/2", 2)


@pytest.mark.parametrize("share", ["0", "-1/2", "3/2"])
def test_impossible_shares_are_errors(data: Path, share: str) -> None:
    with pytest.raises(InputError, match="at most 1"):
        subset_data(data, data.parent, Fraction(share), 1)


def test_a_share_of_no_cut_is_an_error(data: Path) -> None:
    with pytest.raises(InputError, match="choose a larger share"):
        subset_data(data, data.parent, Fraction(1, 10**9), 1)
