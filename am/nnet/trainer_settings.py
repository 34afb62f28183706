"""How a network is trained: one setting a technique, each off by default where it costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from am.errors import InputError
from am.features.feature_data import describe_features
from am.features.masking import MaskingSettings
from am.features.noise_mixing import NoiseMixingSettings
from am.nnet.averaging import AveragingSettings
from am.nnet.losses import SoftLabelWeighting


@dataclass(frozen=True)
class TrainerSettings:
    """How a model is trained.

    The learning rate is ``learning_rate``, times a linear warm-up, times an exponential decay to
    ``final_learning_rate_ratio`` at the end of the plan, times the pass's factor; with new-bob,
    also times ``newbob_factor`` for every evaluation whose dev loss fell by less than
    ``newbob_threshold`` (relative).

    Attributes:
        seed: of weights, order of data, dropout, masks and noise.
        optimizer: adam, or sgd with ``momentum``.
        fused_optimizer: update all weights in one kernel; the results differ in the last bits.
        precision: of the network's products; ``bfloat16`` and ``float16`` keep float32 weights and
            losses, float16 scales the loss and needs a GPU and torch 2.3.
        learning_rate: at its highest, for a pass of factor 1.
        final_learning_rate_ratio: 1 does not decay.
        warm_up_updates: updates until the full learning rate.
        newbob_factor: 1 turns new-bob off.
        newbob_threshold: relative gain of dev loss that is enough.
        gradient_clip: highest norm of the gradient of the mean loss a frame.
        weight_noise: standard deviation of the noise on the weights in training; 0 for none.
        chunk_seconds: update after so much of every utterance, the LSTM's state carried over
            (truncated back-propagation through time); 0 takes whole utterances.
        averaging: of the weights of several passes, at the end.
        patience: end after so many evaluations without a new best; 0 never ends early.
        max_skipped_in_a_row: stop after so many batches without a finite loss and gradient.
        checkpoint_updates: also write a checkpoint every so many batches; 0 after passes alone.
        keep_checkpoints: how many of the last checkpoints stay: where one is damaged, the one
            before it is taken.
        cpu_threads: threads of an operation on a CPU.  A second one makes LSTMs of some hundred
            cells slower, and many times slower while other work shares the machine.
        masking: SpecAugment's masks.
        max_frequency_warp: highest relative stretch of an utterance's mel channels; 0 for none.
        noise_mixing: noise added to the features of every pass.
        soft_label_weighting: whether frames of which the teacher is surer count more, ``none``,
            ``confidence`` or ``entropy`` (:func:`am.nnet.losses.soft_label_weights`).
    """

    seed: int = 1
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.9
    fused_optimizer: bool = False
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    learning_rate: float = 1e-3
    final_learning_rate_ratio: float = 0.1
    warm_up_updates: int = 50
    newbob_factor: float = 1.0
    newbob_threshold: float = 0.005
    gradient_clip: float = 5.0
    weight_noise: float = 0.0
    chunk_seconds: float = 0.0
    averaging: AveragingSettings = field(default_factory=AveragingSettings)
    patience: int = 0
    max_skipped_in_a_row: int = 10
    checkpoint_updates: int = 0
    keep_checkpoints: int = 2
    cpu_threads: int = 1
    masking: MaskingSettings = field(default_factory=MaskingSettings)
    max_frequency_warp: float = 0.0
    noise_mixing: NoiseMixingSettings = field(default_factory=NoiseMixingSettings)
    soft_label_weighting: SoftLabelWeighting = "none"

    def __post_init__(self) -> None:
        if self.weight_noise < 0.0:
            raise InputError(f"trainer: weight_noise must be at least 0, not {self.weight_noise}")
        if self.chunk_seconds < 0.0:
            raise InputError(f"trainer: chunk_seconds must be at least 0, not {self.chunk_seconds}")
        if self.keep_checkpoints < 1:
            raise InputError(
                f"trainer: keep_checkpoints must be at least 1, not {self.keep_checkpoints}"
            )

    def check_augmentation(self, data: Path) -> None:
        """Raise InputError where mel energies are to be changed, and ``data`` holds none."""
        kind = describe_features(data).kind
        changes_energies = self.max_frequency_warp > 0 or self.noise_mixing.probability > 0
        if changes_energies and kind != "lfbe":
            raise InputError(
                f"{data}: holds {kind}; max_frequency_warp and noise_mixing are for LFBE: "
                "--set trainer.max_frequency_warp=0 --set trainer.noise_mixing.probability=0"
            )
