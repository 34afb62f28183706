"""What the codecs of soft labels share: limits, logits in equal steps, a description's check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# Pdf-ids are stored in 16 bits.
MAX_PDFS = 1 << 16
# 3 / 32: the largest error is 0.047, and a step has no rounding error in binary.
DEFAULT_LOGIT_STEP = 0.09375


def check_logit_step(logit_step: float) -> None:
    """A ValueError for a step that is not a finite number above 0."""
    if not 0 < logit_step < float("inf"):
        raise ValueError(f"logit step {logit_step}: must be above 0")


def check_codec(description: Mapping[str, Any], name: str, version: int) -> None:
    """A ValueError if a description is of another codec or version."""
    found = (description.get("name"), description.get("version"))
    if found != (name, version):
        raise ValueError(f"{found[0]} {found[1]}, known is {name} {version}")


def to_levels(logits: np.ndarray, logit_step: float) -> np.ndarray:
    """(T, K) logits → (K, T) float64 whole numbers: the nearest step, counted downwards from 0.

    Raises:
        ValueError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("a logit is infinite or not a number")
    return np.rint(np.ascontiguousarray(logits.T, np.float64) / -logit_step)


def from_levels(levels: np.ndarray, logit_step: float) -> np.ndarray:
    """(K, T) int32 → (T, K) float32, the inverse of :func:`to_levels` but for the rounding."""
    return np.multiply(-levels.T, logit_step, order="C").astype(np.float32)
