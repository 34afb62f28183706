"""Linear discriminant analysis of spliced frames, with pdf-ids as classes."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from am.errors import InputError


class LdaStatistics:
    """Counts and sums by class, second moments of all.

    Args:
        num_classes: pdfs of the alignment.
        dim: values of a spliced frame, d.
    """

    def __init__(self, num_classes: int, dim: int):
        self.counts = np.zeros(num_classes)
        self.sums = np.zeros((num_classes, dim))
        self.second_moment = np.zeros((dim, dim))

    def accumulate(self, frames: np.ndarray, classes: np.ndarray) -> None:
        """Add frames (n, d) of ``classes`` (n,)."""
        order = np.argsort(classes, kind="stable")
        present, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
        self.counts[present] += counts
        if len(present):
            self.sums[present] += np.add.reduceat(frames[order], starts, axis=0, dtype=np.float64)
        self.second_moment += frames.T @ frames

    def estimate(self, dim: int) -> np.ndarray:
        """(dim, d) float32: directions of the highest between-class over within-class variance.

        Rows are scaled to unit within-class variance, highest ratio first, as Kaldi's
        ``transform/lda-estimate.cc`` without the mean offset.

        Raises:
            InputError: no frame was seen, or they do not vary in every direction within a class.
        """
        total = self.counts.sum()
        if total == 0:
            raise InputError("LDA: no frame is aligned to speech; check audio and transcripts")
        mean = self.sums.sum(axis=0) / total
        seen = self.counts > 0
        class_means = self.sums[seen] / self.counts[seen, None]
        shares = self.counts[seen] / total
        between = (class_means * shares[:, None]).T @ class_means - np.outer(mean, mean)
        within = self.second_moment / total - np.outer(mean, mean) - between
        try:
            _, directions = scipy.linalg.eigh(between, within)
        except scipy.linalg.LinAlgError as error:
            raise InputError(
                f"LDA: the features of the {total:.0f} frames of speech do not vary in all of "
                f"{len(mean)} values; check that the audio is not silence, or add speech"
            ) from error
        return directions[:, ::-1][:, :dim].T.astype(np.float32)
