"""Settings of distributed training: the section ``parallel`` of a training's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from am.errors import InputError

Method = Literal["ddp", "gtc", "bmuf"]
METHODS: tuple[Method, ...] = get_args(Method)
BlockGain = Literal["paper", "damped_mean", "damped_sum"]
UPDATES_BETWEEN_CHECKPOINTS = 500
# After which a process that does not answer counts as lost.
TIMEOUT_MINUTES = 30.0


@dataclass(frozen=True)
class GtcSettings:
    """Gradient threshold compression (:mod:`am.parallel.threshold_compression`).

    Attributes:
        threshold: τ, in units of the gradient of the mean loss a frame; 0 sends whole gradients;
            None chooses it for every bucket and update, so that about ``density`` is sent.
        density: wanted share of elements that are sent, 0 … 1.
        dense_updates: first updates that send whole gradients.
        residual_clip: what is kept back of an element is limited to this many τ; 0 for no limit.
    """

    threshold: float | None = None
    density: float = 0.005
    dense_updates: int = 500
    residual_clip: float = 20.0

    def __post_init__(self) -> None:
        if self.threshold is not None and self.threshold < 0.0:
            raise InputError(f"parallel.gtc: threshold must be at least 0, not {self.threshold}")
        if not 0.0 < self.density < 1.0:
            raise InputError(
                f"parallel.gtc: density must be above 0 and below 1, not {self.density}"
            )
        if self.dense_updates < 0:
            raise InputError(
                f"parallel.gtc: dense_updates must be at least 0, not {self.dense_updates}"
            )
        if self.residual_clip < 0.0 or 0.0 < self.residual_clip < 1.0:
            raise InputError(
                f"parallel.gtc: residual_clip must be 0 or at least 1, not {self.residual_clip}"
            )


@dataclass(frozen=True)
class BmufSettings:
    """Blockwise model-update filtering (:mod:`am.parallel.block_momentum`).

    Attributes:
        sync_interval: batches of each process between two exchanges of models.
        block_momentum: η, 0 … 1; None is 1 − 1/N with N processes.
        block_learning_rate: ζ.
        nesterov: whether the processes restart from a look-ahead of the filtered model.
        gain: what the mean of the processes' changes is multiplied by: ``paper``: ζ;
            ``damped_mean``: (1 − η) ζ; ``damped_sum``: (1 − η) ζ N.
        optimizer_state: what becomes of each process's optimiser state at the end of a block:
            ``kept``, ``averaged``, or ``reset``.
        warm_up_blocks: first blocks after which models are averaged, nothing more.
    """

    sync_interval: int = 50
    block_momentum: float | None = None
    block_learning_rate: float = 1.0
    nesterov: bool = False
    gain: BlockGain = "paper"
    optimizer_state: Literal["kept", "averaged", "reset"] = "kept"
    warm_up_blocks: int = 0

    def __post_init__(self) -> None:
        if self.sync_interval < 1:
            raise InputError(
                f"parallel.bmuf: sync_interval must be at least 1, not {self.sync_interval}"
            )
        if self.block_momentum is not None and not 0.0 <= self.block_momentum < 1.0:
            raise InputError(
                f"parallel.bmuf: block_momentum must be at least 0 and below 1, not "
                f"{self.block_momentum}"
            )
        if self.block_learning_rate <= 0.0:
            raise InputError(
                f"parallel.bmuf: block_learning_rate must be above 0, not "
                f"{self.block_learning_rate}"
            )
        if self.warm_up_blocks < 0:
            raise InputError(
                f"parallel.bmuf: warm_up_blocks must be at least 0, not {self.warm_up_blocks}"
            )

    def momentum_of(self, num_processes: int) -> float:
        """η for N processes; Chen and Huo's 1 − 1/N where none is set."""
        if self.block_momentum is None:
            return 1.0 - 1.0 / num_processes
        return self.block_momentum

    def gain_of(self, num_processes: int) -> float:
        """The factor of the mean of the processes' changes."""
        if self.gain == "paper":
            return self.block_learning_rate
        damped = (1.0 - self.momentum_of(num_processes)) * self.block_learning_rate
        return damped * num_processes if self.gain == "damped_sum" else damped


@dataclass(frozen=True)
class ParallelSettings:
    """How the processes that torchrun starts train one model; one process alone needs none of it.

    Attributes:
        method: ``ddp``: gradients are averaged in every update; ``gtc``: the same, compressed;
            ``bmuf``: each process trains alone for a block of batches, then models are merged.
        bucket_megabytes: gradients are sent in pieces of about this size (ddp, gtc).
        checkpoint_updates: a checkpoint is also due every so many batches of each process, with
            bmuf at the end of a block; 0: never; None: after every block with bmuf, else every
            500.  ``trainer.checkpoint_updates`` counts besides.
        gtc, bmuf: of these methods.
    """

    method: Method = "ddp"
    bucket_megabytes: float = 25.0
    checkpoint_updates: int | None = None
    gtc: GtcSettings = field(default_factory=GtcSettings)
    bmuf: BmufSettings = field(default_factory=BmufSettings)

    def __post_init__(self) -> None:
        if self.bucket_megabytes <= 0.0:
            raise InputError(
                f"parallel: bucket_megabytes must be above 0, not {self.bucket_megabytes}"
            )
        if self.checkpoint_updates is not None and self.checkpoint_updates < 0:
            raise InputError(
                f"parallel: checkpoint_updates must be at least 0, not {self.checkpoint_updates}"
            )

    def updates_between_checkpoints(self) -> int:
        """Batches of each process until another checkpoint is due; 0: none is."""
        if self.checkpoint_updates is not None:
            return self.checkpoint_updates
        return self.bmuf.sync_interval if self.method == "bmuf" else UPDATES_BETWEEN_CHECKPOINTS
