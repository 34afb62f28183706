"""Small data folders, stores of labels and a file server, for tests of sharded data."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from am.features.feature_data import open_feature_data
from am.features.low_frame_rate import num_low_rate_frames
from am.soft_labels.codec import SoftLabelCodec
from am.storage import write_shard, write_store_description
from tests.nnet.small_data import NUM_PDFS

TOP_K = 4


def make_soft_labels(
    folder: Path, data: Path, leave_out: int = 0, cuts_per_shard: int = 1000, tree: str = "tree"
) -> Path:
    """A store of random soft labels of all cuts but the last ``leave_out``."""
    random = np.random.default_rng(0)
    codec = SoftLabelCodec(TOP_K)
    records = []
    for cut in open_feature_data(data):
        size = (num_low_rate_frames(cut.num_frames), NUM_PDFS)
        logits = -np.sort(random.exponential(2.0, size))[:, :TOP_K]
        pdf_ids = random.permuted(np.tile(np.arange(NUM_PDFS), (size[0], 1)), axis=1)[:, :TOP_K]
        records.append((cut.id, {"pdf_ids": pdf_ids.astype(np.uint16), "logits": logits}))
    records = records[: len(records) - leave_out]
    starts = range(0, len(records), cuts_per_shard)
    description = {
        "kind": "soft labels",
        "frame_shift": 0.03,
        "fields": ["pdf_ids", "logits"],
        "codec": codec.describe(),
        "temperature": 1.0,
        "num_pdfs": NUM_PDFS,
        "num_shards": len(starts),
        "tree_sha256": tree,
    }
    write_store_description(folder, description)
    for index, start in enumerate(starts):
        write_shard(folder, index, records[start : start + cuts_per_shard], codec)
    return folder


def make_audio(folder: Path, num_cuts: int, seed: int = 0) -> Path:
    """A data folder of noises, two cuts from each recording, half a second and more."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    with CutSet.open_writer(folder / "cuts.jsonl.gz") as writer:
        for index in range(num_cuts // 2):
            path = folder / f"{index}.flac"
            num_samples = int(random.integers(16000, 24000))
            samples = random.normal(scale=0.1, size=num_samples)
            soundfile.write(path, samples, 16000, subtype="PCM_16")
            recording = Recording.from_file(path, recording_id=f"{folder.name}-{index}")
            for start in (0.0, 0.5):
                cut_id = f"{recording.id}-{start}"
                cut = MonoCut(cut_id, start, recording.duration - 0.5, 0, recording=recording)
                cut.supervisions = [
                    SupervisionSegment(cut_id, recording.id, 0.0, cut.duration, text="A B")
                ]
                writer.write(cut)
    return folder


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; yields its URL."""
    handler = functools.partial(_QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
