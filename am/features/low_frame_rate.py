"""What a network sees: LFBE, mean-subtracted causally, normalised, and stacked to 30 ms vectors.

Training, decoding and a streaming caller share this module.  For the frame x[t] at 10 ms:

1. causal mean: m[t] = (K·g + x[0] + … + x[t]) / (K + t + 1), g the training data's mean and K a
   number of prior frames, so that the first frames of an utterance are not set to zero;
2. normalisation: (x[t] - m[t] - mean) / standard deviation, both over the training data;
3. stacking: vector i holds frames 3i, 3i + 1, 3i + 2 (the last frame repeated past the end), so
   that T frames give ceil(T / 3) vectors.

The paper (arXiv 1904.01624) has "causal mean subtraction" without a formula; the prior is ours.

Shapes: B utterances, T frames at 10 ms, T' = ceil(T / 3), D values a frame.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from am.errors import InputError
from am.features.feature_data import FeatureDescription
from am.outputs import written_aside

log = logging.getLogger(__name__)

STACKED_FRAMES = 3
MIN_STANDARD_DEVIATION = 1e-3
Count = TypeVar("Count", int, np.ndarray, Tensor)


def num_low_rate_frames(num_frames: Count) -> Count:
    """T' of T: how many 30 ms vectors come of that many 10 ms frames."""
    return -(-num_frames // STACKED_FRAMES)


class LowFrameRateFrontEnd(nn.Module):
    """The three steps above, for whole utterances; it has statistics but nothing to train.

    Args:
        global_mean: (D,) mean of the raw features over the training data.
        mean, standard_deviation: (D,) of the features after the causal mean is subtracted.
        prior_frames: K, how many frames the global mean counts for.
        frame_shift: of the raw features, in seconds.
        feature_kind: of the raw features, as their data folder says.
    """

    global_mean: Tensor
    mean: Tensor
    standard_deviation: Tensor

    def __init__(
        self,
        global_mean: Tensor,
        mean: Tensor,
        standard_deviation: Tensor,
        prior_frames: float,
        frame_shift: float = 0.01,
        feature_kind: str = "lfbe",
    ):
        super().__init__()
        self.register_buffer("global_mean", global_mean.float())
        self.register_buffer("mean", mean.float())
        self.register_buffer("standard_deviation", standard_deviation.float())
        self.prior_frames = prior_frames
        self.frame_shift = frame_shift
        self.feature_kind = feature_kind

    @property
    def features(self) -> FeatureDescription:
        """What it takes."""
        return FeatureDescription(self.feature_kind, self.input_dim, self.frame_shift)

    @property
    def input_dim(self) -> int:
        """D, values of a raw frame."""
        return len(self.mean)

    @property
    def output_dim(self) -> int:
        """Values of a stacked vector."""
        return STACKED_FRAMES * self.input_dim

    @property
    def output_frame_shift(self) -> float:
        """Seconds from one stacked vector to the next."""
        return STACKED_FRAMES * self.frame_shift

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of padded utterances.

        Args:
            features: (B, T, D) float32, raw; what stands past an utterance's end is ignored.
            lengths: (B,) int64, T of each.

        Returns:
            (B, T', 3 D) vectors, 0 past the end, and (B,) int64 T' of each.
        """
        normalised, _ = self.normalise(features)
        return self.stack(normalised, lengths)

    def normalise(
        self,
        features: Tensor,
        frames_before: int = 0,
        sum_before: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Steps 1 and 2.

        Args:
            features: (B, T, D) raw.
            frames_before: frames of the same utterances that were normalised before.
            sum_before: (B, 1, D) float64, what this returned then.

        Returns:
            (B, T, D) normalised, and (B, 1, D) float64 the sum of all frames up to now.
        """
        centred = features - self.global_mean
        sums = centred.cumsum(1, dtype=torch.float64)
        if sum_before is not None:
            sums = sums + sum_before
        counts = torch.arange(1, features.shape[1] + 1, device=features.device)
        counts = counts.double() + (frames_before + self.prior_frames)
        causal = centred - (sums / counts[:, None]).to(centred.dtype)
        return (causal - self.mean) / self.standard_deviation, sums[:, -1:]

    def stack(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Step 3: (B, T, D) to (B, T', 3 D), 0 past the end, and (B,) T' of each."""
        batch, _, dimension = frames.shape
        low_rate_lengths = num_low_rate_frames(lengths)
        num_vectors = int(num_low_rate_frames(frames.shape[1]))
        index = torch.arange(num_vectors * STACKED_FRAMES, device=frames.device)
        index = torch.minimum(index, (lengths - 1).clamp(min=0)[:, None])
        stacked = frames.gather(1, index[:, :, None].expand(-1, -1, dimension))
        stacked = stacked.reshape(batch, num_vectors, STACKED_FRAMES * dimension)
        inside = torch.arange(num_vectors, device=frames.device) < low_rate_lengths[:, None]
        return stacked * inside[:, :, None], low_rate_lengths

    def save(self, folder: Path) -> None:
        """Write ``front_end.safetensors`` and ``front_end.json``."""
        tensors = {name: tensor.contiguous().cpu() for name, tensor in self.named_buffers()}
        with written_aside(folder / "front_end.safetensors") as aside:
            save_file(tensors, str(aside))
        values = {
            "prior_frames": self.prior_frames,
            "frame_shift": self.frame_shift,
            "feature_kind": self.feature_kind,
        }
        with written_aside(folder / "front_end.json") as aside:
            aside.write_text(json.dumps(values, indent=1))

    @staticmethod
    def load(folder: Path) -> LowFrameRateFrontEnd:
        """Read what :meth:`save` wrote."""
        paths = folder / "front_end.safetensors", folder / "front_end.json"
        for path in paths:
            if not path.is_file():
                raise InputError(f"{path}: no such file; give the folder of a trained network")
        values = json.loads(paths[1].read_text())
        tensors = load_file(str(paths[0]))
        return LowFrameRateFrontEnd(
            tensors["global_mean"], tensors["mean"], tensors["standard_deviation"], **values
        )


class StreamingFrontEnd:
    """The same vectors as :class:`LowFrameRateFrontEnd`, for one utterance that arrives in pieces.

    Feed frames with :meth:`accept`, end the utterance with :meth:`flush`; then the next begins.
    """

    def __init__(self, front_end: LowFrameRateFrontEnd):
        self._front_end = front_end
        self._reset()

    def _reset(self) -> None:
        self._num_frames = 0
        self._sum: Tensor | None = None
        self._rest = self._front_end.mean.new_zeros((0, self._front_end.input_dim))

    def accept(self, frames: Tensor) -> Tensor:
        """Take (n, D) raw frames; return the (m, 3 D) vectors that are complete now."""
        if len(frames) == 0:
            return self._rest.new_zeros((0, self._front_end.output_dim))
        normalised, self._sum = self._front_end.normalise(frames[None], self._num_frames, self._sum)
        self._num_frames += len(frames)
        waiting = torch.cat([self._rest, normalised[0]])
        num_vectors = len(waiting) // STACKED_FRAMES
        ready = waiting[: num_vectors * STACKED_FRAMES]
        self._rest = waiting[num_vectors * STACKED_FRAMES :]
        return ready.reshape(num_vectors, self._front_end.output_dim)

    def flush(self) -> Tensor:
        """End the utterance: the last vector if frames are left, (0 or 1, 3 D)."""
        rest = self._rest
        self._reset()
        if len(rest) == 0:
            return rest.new_zeros((0, self._front_end.output_dim))
        repeats = STACKED_FRAMES - len(rest)
        return torch.cat([rest, rest[-1:].expand(repeats, -1)]).reshape(1, -1)


def estimate_front_end(
    make_features: Iterable[np.ndarray],
    prior_frames: float,
    frame_shift: float,
    feature_kind: str = "lfbe",
) -> LowFrameRateFrontEnd:
    """Estimate the statistics in two passes over utterances.

    Args:
        make_features: (T, D) raw features of one utterance after the other; iterated twice.
        prior_frames: K.
        frame_shift, feature_kind: of the raw features.
    """
    global_mean, _ = _mean_and_deviation(make_features)
    unit = torch.zeros_like(global_mean)
    causal_only = LowFrameRateFrontEnd(
        global_mean, unit, torch.ones_like(unit), prior_frames, frame_shift
    )
    mean, deviation = _mean_and_deviation(
        causal_only.normalise(torch.from_numpy(features)[None])[0][0].numpy()
        for features in make_features
    )
    return LowFrameRateFrontEnd(
        global_mean, mean, deviation, prior_frames, frame_shift, feature_kind
    )


def _mean_and_deviation(utterances: Iterable[np.ndarray]) -> tuple[Tensor, Tensor]:
    iterator = iter(utterances)
    first = next(iterator, None)
    if first is None:
        raise InputError("no features to estimate the normalisation from; give training data")
    count, total, squares = 0, np.zeros(first.shape[1]), np.zeros(first.shape[1])
    for features in itertools.chain([first], iterator):
        exact = features.astype(np.float64)
        count += len(exact)
        total += exact.sum(0)
        squares += np.square(exact).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
    deviation = np.maximum(deviation, MIN_STANDARD_DEVIATION)
    log.info("normalisation estimated on %d frames", count)
    return torch.from_numpy(mean), torch.from_numpy(deviation)
