"""The student hears noise, and is taught what the teacher said of the clean speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from am.features.feature_data import CUTS_NAME, open_feature_data
from am.features.low_frame_rate import LowFrameRateFrontEnd
from am.features.noise_mixing import NoiseMixingSettings
from am.nnet.batch import Batch
from am.nnet.data import LabelledCuts, load_features
from am.nnet.lstm import AcousticModel
from am.nnet.schedule import Pass
from am.nnet.trainer import Trainer, TrainerSettings
from am.storage import RaggedStore, write_shard, write_store_description
from tests.nnet.small_data import BATCHING, CHANNELS, LSTM, NUM_PDFS, low_rate, make_features

TOP_K = 2


class Witness(Trainer):
    """A trainer that keeps what the front end was given and what the loss saw."""

    heard: dict[str, tuple[np.ndarray, np.ndarray]]

    def listen(self) -> None:
        self.heard = {}
        self.front_end.register_forward_pre_hook(self._hear)

    def _hear(self, _: torch.nn.Module, arguments: tuple[Tensor, Tensor]) -> None:
        self._features = arguments[0].clone()

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        if batch.stored_logits is not None:
            frames = [-(-int(length) // 3) for length in batch.lengths]
            taught = batch.stored_logits.split(frames)
            for row, cut_id in enumerate(batch.cut_ids):
                features = self._features[row, : batch.lengths[row]]
                self.heard[cut_id] = features.numpy(), taught[row].numpy()
        return super().loss(logits, batch)


def write_labels(folder: Path, truth: dict[str, np.ndarray], *, soft: bool) -> RaggedStore:
    kind, fields = ("soft labels", ["pdf_ids", "logits"]) if soft else ("pdf-ids", ["pdf_ids"])
    description = {"kind": kind, "fields": fields, "frame_shift": 0.03, "num_pdfs": NUM_PDFS}
    random = np.random.default_rng(0)
    records = []
    for cut_id, frames in truth.items():
        labels = low_rate(frames)
        record = {"pdf_ids": labels}
        if soft:
            logits = -np.sort(random.exponential(size=(len(labels), TOP_K))).astype(np.float32)
            record = {"pdf_ids": np.stack([labels, (labels + 1) % NUM_PDFS], 1), "logits": logits}
        records.append((cut_id, record))
    write_store_description(folder, description | ({"temperature": 1.0} if soft else {}))
    write_shard(folder, 0, records)
    return RaggedStore(folder)


def test_the_student_hears_noise_and_learns_of_clean_speech(tmp_path: Path) -> None:
    labels = {}
    for name, soft in (("unlabeled", True), ("dev", False)):
        truth = make_features(tmp_path / name, 6)
        labels[name] = write_labels(tmp_path / "labels" / name, truth, soft=soft)
    cuts = {
        name: LabelledCuts(name, tmp_path / name / CUTS_NAME, store, BATCHING)
        for name, store in labels.items()
    }
    zeros, ones = torch.zeros(CHANNELS), torch.ones(CHANNELS)
    front_end = LowFrameRateFrontEnd(zeros, zeros, ones, 100.0)
    noise = NoiseMixingSettings(probability=1.0, lowest_snr_db=0.0, highest_snr_db=10.0)
    (tmp_path / "network").mkdir()
    trainer = Witness(
        AcousticModel(LSTM, front_end.output_dim, NUM_PDFS),
        front_end,
        [Pass("unlabeled", 1.0, False)],
        {"unlabeled": cuts["unlabeled"]},
        cuts["dev"],
        TrainerSettings(noise_mixing=noise),
        tmp_path / "network",
        torch.device("cpu"),
    )
    trainer.listen()
    trainer.run()
    assert trainer.heard.keys() == set(labels["unlabeled"])
    for cut in open_feature_data(tmp_path / "unlabeled"):
        heard, taught = trainer.heard[cut.id]
        clean = load_features(cut)
        # Energies add up: noise raises a channel, and hardly ever leaves all as they were.
        assert (heard > clean - 1e-4).all() and (heard - clean).mean() > 0.5
        np.testing.assert_array_equal(taught, labels["unlabeled"][cut.id]["logits"])
