"""The learning rate of an update: what the trainer uses, the plan tells and the picture draws."""

from __future__ import annotations

from typing import Protocol


class LearningRateSettings(Protocol):
    """The settings of a training that its learning rate depends on."""

    @property
    def learning_rate(self) -> float:
        """At its highest, for a pass of factor 1."""

    @property
    def final_learning_rate_ratio(self) -> float:
        """What is left of it at the end of the plan; 1 does not decay."""

    @property
    def warm_up_updates(self) -> int:
        """Updates until the full learning rate."""


def learning_rate_of_update(
    settings: LearningRateSettings, update: float, share_done: float, factor: float = 1.0
) -> float:
    """Linear warm-up over updates, exponential decay over frames, and the pass's factor.

    Args:
        settings: of the training.
        update: number of the update, the first being 1.
        share_done: share of the plan's frames that were trained on before it, 0 … 1.
        factor: of its pass.
    """
    warm_up = warm_up_share(update, settings.warm_up_updates)
    decay = settings.final_learning_rate_ratio**share_done
    return settings.learning_rate * warm_up * decay * factor


def warm_up_share(update: float, warm_up_updates: int) -> float:
    """Share of the full learning rate that the warm-up allows, 0 … 1."""
    return min(1.0, update / max(warm_up_updates, 1))
