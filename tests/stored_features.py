"""Made-up features, stored as lhotse wants them."""

from __future__ import annotations

from typing import Any

import numpy as np
from lhotse import Features

FRAME_SHIFT = 0.01


def store_features(storage: Any, cut_id: str, frames: np.ndarray, kind: str = "lfbe") -> Features:
    """Write ``frames`` (T, D), one every 10 ms, to a lhotse storage; their manifest."""
    return Features(
        type=kind,
        num_frames=len(frames),
        num_features=frames.shape[1],
        frame_shift=FRAME_SHIFT,
        sampling_rate=16000,
        start=0,
        duration=round(len(frames) * FRAME_SHIFT, 9),
        storage_type=storage.name,
        storage_path=str(storage.storage_path),
        storage_key=storage.write(cut_id, frames),
        recording_id=cut_id,
        channels=0,
    )
