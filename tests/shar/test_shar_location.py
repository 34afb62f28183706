"""Shards on a server, and shards that are damaged, missing or out of reach."""

import gzip
import http.server
import json
from pathlib import Path

import numpy as np
import pytest
from lhotse import serialization
from lhotse.serialization import IOBackend

from am.errors import InputError
from am.features.feature_data import describe_features, open_feature_data
from am.nnet.data import load_features
from am.outputs import sha256_of_file
from am.shar import location
from am.shar.link import link_shar
from am.shar.read import SharData
from am.shar.shard_files import SharSettings
from am.shar.write import write_shar
from tests.nnet.small_data import make_features
from tests.shar.shar_cases import file_server


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(location, "SECONDS_BEFORE_RETRY", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def shar(tmp_path):
    make_features(tmp_path / "data", 7)
    (tmp_path / "shar").mkdir()
    write_shar(tmp_path / "data", tmp_path / "shar", SharSettings(shard_size=3))
    return tmp_path / "shar"


def linked(url, folder):
    folder.mkdir()
    link_shar(url, folder)
    return folder


def test_a_server_gives_what_the_folder_gives(tmp_path, shar):
    with file_server(shar) as url:
        folder = linked(url, tmp_path / "linked")
        assert describe_features(folder) == describe_features(tmp_path / "data")
        pairs = zip(open_feature_data(folder), open_feature_data(tmp_path / "data"), strict=True)
        for cut, original in pairs:
            assert cut.id == original.id
            np.testing.assert_array_equal(load_features(cut), load_features(original))
        # A link to a link names the same place.
        again = linked(str(folder), tmp_path / "again")
        assert SharData(again).location == f"{url}/shar"
    elsewhere = linked(str(shar), tmp_path / "elsewhere")
    assert [cut.id for cut in SharData(elsewhere)] == [cut.id for cut in SharData(shar)]


def test_a_damaged_or_missing_shard_is_named(shar):
    data = SharData(shar)
    path = shar / "shar" / "features.000001.tar"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    assert len(data.read_shard(0)) == 3
    with pytest.raises(InputError, match=r"^.*features.000001.tar: altered or truncated \(check"):
        data.read_shard(1)
    path.unlink()
    with pytest.raises(InputError, match=r"^.*features.000001.tar: No such file"):
        data.read_shard(1)
    cuts = shar / "shar" / "cuts.000000.jsonl.gz"
    content = cuts.read_bytes()
    for damaged in (content[:-9], content[:20], content[:60] + b"xyz" + content[63:], b""):
        cuts.write_bytes(damaged)
        with pytest.raises(InputError, match=r"^.*cuts.000000.jsonl.gz: altered or truncated"):
            data.read_shard(0)


def test_a_damaged_index_is_named(shar):
    lines, facts = shar / "shards.jsonl", shar / "shar.json"
    content = lines.read_bytes()
    lines.write_bytes(content[:-5])
    with pytest.raises(InputError, match=r"shards.jsonl: altered or truncated \(checksum"):
        SharData(shar)
    lines.unlink()
    with pytest.raises(InputError, match=r"shards.jsonl: No such file or directory; copy the"):
        SharData(shar)
    lines.write_bytes(content)
    text = facts.read_text()
    facts.write_text(text.replace('"version": 2', '"version": 1'))
    with pytest.raises(InputError, match=r"shar.json: of version 1, not 2; copy the index again"):
        SharData(shar)
    facts.write_text(text[:20])
    with pytest.raises(InputError, match=r"shar.json: no index of shards; copy the index again"):
        SharData(shar)


def test_shards_of_another_corpus_are_named(tmp_path, shar):
    """Files that fit their checksums, but not each other."""
    files = [shar / "shar" / f"cuts.{number:06d}.jsonl.gz" for number in (0, 1)]
    first, second = (path.read_bytes() for path in files)
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    lines = shar / "shards.jsonl"
    shards = [json.loads(line) for line in lines.read_text().splitlines()]
    sums = [shard["sha256"] for shard in shards]
    sums[0]["cuts"], sums[1]["cuts"] = sums[1]["cuts"], sums[0]["cuts"]
    lines.write_text("".join(f"{json.dumps(shard)}\n" for shard in shards))
    facts = json.loads((shar / "shar.json").read_text())
    facts["lines_sha256"] = sha256_of_file(lines)
    (shar / "shar.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"features.000000.tar: data-0-000.npy stands where"):
        SharData(shar).read_shard(0)


def test_http_failures_are_one_line(tmp_path, shar):
    with file_server(shar) as url:
        folder = linked(url, tmp_path / "linked")
        (shar / "shar" / "features.000002.tar").unlink()
        data = SharData(folder)
        with pytest.raises(InputError, match=rf"^{url}/shar/features.000002.tar: HTTP 404 [^\n]+$"):
            data.read_shard(2)
        with pytest.raises(InputError, match=rf"^{url}/elsewhere/shar.json: HTTP 404"):
            linked(f"{url}/elsewhere", tmp_path / "other")
    with pytest.raises(InputError, match=rf"^{url}/shar/cuts.000000.jsonl.gz: [^\n]*4 times"):
        data.read_shard(0)


@pytest.mark.parametrize("failures", [3, 4])
def test_a_server_that_comes_back_is_waited_for(tmp_path, shar, failures, monkeypatch):
    answers = iter([503] * failures)

    def sometimes(self):
        if self.path.endswith("cuts.000000.jsonl.gz") and next(answers, None):
            self.send_error(503)
        else:
            http.server.SimpleHTTPRequestHandler.do_GET(self)

    monkeypatch.setattr("tests.shar.shar_cases._QuietHandler.do_GET", sometimes, raising=False)
    with file_server(shar) as url:
        data = SharData(linked(url, tmp_path / "linked"))
        if failures < location.ATTEMPTS:
            assert len(data.read_shard(0)) == 3
        else:
            with pytest.raises(InputError, match="HTTP 503 Service Unavailable, 4 times"):
                data.read_shard(0)


@pytest.mark.parametrize("uncompresses", [False, True], ids=["as they are", "uncompressed"])
def test_another_url_goes_through_lhotse(tmp_path, shar, monkeypatch, uncompresses):
    """smart_open and the AIStore client uncompress what is named so, others do not."""

    class Bucket(IOBackend):
        def open(self, identifier, mode):
            path = Path(identifier.replace("store://bucket", str(shar)))
            is_gzip = uncompresses and path.suffix == ".gz"
            return gzip.open(path, mode) if is_gzip else path.open(mode)

    with pytest.raises(InputError, match=r"^s3://bucket/shar.json: [^\n]*smart_open[^\n]*$"):
        linked("s3://bucket", tmp_path / "linked")
    monkeypatch.setattr(serialization, "CURRENT_IO_BACKEND", Bucket())
    folder = linked("store://bucket", tmp_path / "in_store")
    assert SharData(folder).location == "store://bucket/shar"
    assert [cut.id for cut in SharData(folder)] == [cut.id for cut in SharData(shar)]
    (shar / "shar" / "features.000001.tar").unlink()
    with pytest.raises(InputError, match=r"^store://bucket/shar/features.000001.tar: [^\n]*No su"):
        SharData(folder).read_shard(1)
