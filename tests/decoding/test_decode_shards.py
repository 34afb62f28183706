"""Decoding shards gives what decoding their folder gives."""

import json

import numpy as np
import pytest

from am.decoding.decode_data import decode_data
from am.decoding.decoder import Scales, SearchSettings
from am.features.extractors import LfbeSettings
from am.features.feature_data import count_cuts, write_feature_settings
from am.processes import LocalProcesses
from am.shar.shard_files import SharSettings
from am.shar.write import write_shar


@pytest.mark.parametrize("jobs", [1, 2])
def test_hypotheses_of_shards_are_those_of_the_folder(tmp_path, small, stored_model, jobs):
    random = np.random.default_rng(0)
    graph = small.write_graph(tmp_path / "graph", small.loop_graph(), tree_sha256="tree")
    matrices = {f"cut{i:02d}": random.normal(size=(i + 3, 2)).astype(np.float32) for i in range(9)}
    matrices["cut04"][:] = np.nan
    data = small.write_data(tmp_path / "data", matrices, {})
    write_feature_settings(data, "lfbe", 2, LfbeSettings(num_mel_bins=2))
    shar = tmp_path / "shar"
    shar.mkdir()
    write_shar(data, shar, SharSettings(shard_size=4, precision="float32"))
    assert count_cuts(shar) == count_cuts(data) == 9
    outputs = [tmp_path / "of_folder", tmp_path / "of_shards"]
    for folder, output in zip((data, shar), outputs, strict=True):
        output.mkdir()
        decode_data(
            graph,
            folder,
            stored_model,
            output,
            Scales(1.0),
            SearchSettings(),
            executor=LocalProcesses(jobs),
        )
    for name in ("hypotheses.txt", "failed.tsv"):
        texts = [(output / name).read_text() for output in outputs]
        assert texts[0] == texts[1] != ""
    assert json.loads((outputs[1] / "summary.json").read_text())["cuts"] == 9
