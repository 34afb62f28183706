"""How a Kaldi system's MFCC become model input: ``final.mat`` and the option files beside it."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np

from am.errors import InputError
from am.features.gmm_features import GmmFeatures, delta_transform
from am.kaldi.archives import read_matrix, write_matrix

MATRIX_NAME = "final.mat"
CMVN_NAME, SPLICE_NAME, DELTA_NAME = "cmvn_opts", "splice_opts", "delta_opts"
# What Kaldi's programs do without the option: apply-cmvn, splice-feats, add-deltas.
_CMVN_DEFAULTS = {"norm-means": "true", "norm-vars": "false"}
_SPLICE_DEFAULTS = {"left-context": "4", "right-context": "4"}
_DELTA_DEFAULTS = {"delta-order": "2", "delta-window": "2"}


def read_gmm_features(folder: Path, dim: int) -> GmmFeatures:
    """The features of the Gaussians in a Kaldi folder.

    Args:
        folder: holds ``cmvn_opts``, and ``final.mat`` with ``splice_opts`` or ``delta_opts``, as
            far as Kaldi's recipe wrote them.
        dim: of the Gaussians.

    Raises:
        InputError: an option that we have not, or a matrix that does not fit.
    """
    cmvn = _read_options(folder / CMVN_NAME, _CMVN_DEFAULTS)
    if cmvn["norm-means"] != "true":
        raise InputError(
            f"{folder / CMVN_NAME}: the mean is not normalised; only models with it can be used"
        )
    normalise_variance = cmvn["norm-vars"] == "true"
    if (folder / MATRIX_NAME).is_file():
        return _spliced(folder, dim, normalise_variance)
    path = folder / DELTA_NAME
    options = _read_options(path, _DELTA_DEFAULTS)
    order, window = (_whole_number(path, options, name) for name in _DELTA_DEFAULTS)
    if dim % (order + 1) or window < 1:
        raise InputError(
            f"{folder}: Gaussians of {dim} values are no MFCC with {order} orders of differences; "
            f"copy {MATRIX_NAME} there, or write {DELTA_NAME}"
        )
    mfcc_dim = dim // (order + 1)
    transform = delta_transform(mfcc_dim, order, window)
    return GmmFeatures("deltas", mfcc_dim, order * window, normalise_variance, transform)


def write_gmm_features(folder: Path, features: GmmFeatures) -> None:
    """Write what :func:`read_gmm_features` reads."""
    variance = "true" if features.normalise_variance else "false"
    (folder / CMVN_NAME).write_text(f"--norm-means=true --norm-vars={variance}\n")
    order = max(features.dim // features.mfcc_dim - 1, 0)
    window = max(features.context // max(order, 1), 1)
    deltas = delta_transform(features.mfcc_dim, order, window)
    if features.kind == "deltas" and np.array_equal(features.transform, deltas):
        (folder / DELTA_NAME).write_text(f"--delta-order={order} --delta-window={window}\n")
        return
    context = features.context
    (folder / SPLICE_NAME).write_text(f"--left-context={context} --right-context={context}\n")
    write_matrix(folder / MATRIX_NAME, features.transform)


def _spliced(folder: Path, dim: int, normalise_variance: bool) -> GmmFeatures:
    path = folder / MATRIX_NAME
    matrix = read_matrix(path)
    options = _read_options(folder / SPLICE_NAME, _SPLICE_DEFAULTS)
    left, right = (_whole_number(folder / SPLICE_NAME, options, name) for name in _SPLICE_DEFAULTS)
    width = left + 1 + right
    columns = matrix.shape[1]
    if columns % width == 1 and width > 1:
        if np.any(matrix[:, -1]):
            raise InputError(f"{path}: adds an offset; only a linear transform can be used")
        matrix = matrix[:, :-1]
    if matrix.shape[0] != dim or matrix.shape[1] % width or not matrix.size:
        raise InputError(
            f"{path}: {matrix.shape[0]} x {columns} does not make {dim} values of {width} spliced "
            f"frames; give {MATRIX_NAME} and {SPLICE_NAME} of the folder that holds the model"
        )
    mfcc_dim = matrix.shape[1] // width
    # Ours sees as far to either side; frames that Kaldi's does not see weigh nothing.
    context = max(left, right)
    unseen = ((0, 0), ((context - left) * mfcc_dim, (context - right) * mfcc_dim))
    transform = np.pad(matrix, unseen)
    return GmmFeatures("splice", mfcc_dim, context, normalise_variance, transform)


def _read_options(path: Path, defaults: dict[str, str]) -> dict[str, str]:
    """A file of ``--name=value`` options; one that is not there has none."""
    options = dict(defaults)
    if not path.is_file():
        return options
    for option in shlex.split(path.read_text(encoding="utf-8")):
        name, _, value = option.removeprefix("--").partition("=")
        name = name.replace("_", "-")
        if not option.startswith("--") or name not in defaults:
            raise InputError(f"{path}: the option '{option}' cannot be used; remove it")
        options[name] = value or "true"
    return options


def _whole_number(path: Path, options: dict[str, str], name: str) -> int:
    if not options[name].isdecimal():
        raise InputError(f"{path}: --{name} must be a whole number, not '{options[name]}'")
    return int(options[name])
