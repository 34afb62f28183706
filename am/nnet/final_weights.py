"""Which weights a training ends with: an average of passes, those of the best pass, or the last."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from am.errors import InputError
from am.nnet.averaging import WeightAverage, load_weights
from am.nnet.checkpoint import TrainingState

log = logging.getLogger(__name__)


def load_final_weights(
    model: nn.Module,
    best: Path,
    average: WeightAverage,
    state: TrainingState,
    evaluate: Callable[[], tuple[float, float]],
) -> None:
    """Give the model the average of passes, where it is no worse than the best pass, else that.

    Damaged files are told of and done without: the last weights stand in for the best.

    Args:
        model: as the last pass left it.
        best: the weights of the best pass.
        average: of the state's candidates.
        state: of the training.
        evaluate: dev loss and dev frame accuracy of the model.
    """
    try:
        weights = load_weights(best)
    except InputError as error:
        log.warning("%s; those of the last pass are taken", error)
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mean = _mean(average, state.candidates)
    if mean is not None:
        model.load_state_dict(mean)
        if _is_kept(state, *evaluate()):
            return
    model.load_state_dict(weights)


def _mean(average: WeightAverage, candidates: list[list[float]]) -> dict[str, Tensor] | None:
    if len(candidates) < 2:
        return None
    try:
        return average.mean(candidates)
    except InputError as error:
        log.warning("%s; no average is made", error)
        return None


def _is_kept(state: TrainingState, dev_loss: float, accuracy: float) -> bool:
    is_kept = dev_loss <= state.best_dev_loss
    log.info(
        "average of passes %s: dev loss %.4f, dev frame accuracy %.2f %%, best pass %.4f: %s",
        ", ".join(str(int(pass_index) + 1) for pass_index, _ in state.candidates),
        dev_loss,
        100 * accuracy,
        state.best_dev_loss,
        "kept" if is_kept else "not kept",
    )
    return is_kept
