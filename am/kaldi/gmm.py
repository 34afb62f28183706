"""Kaldi's Gaussian mixtures: what follows the transition model in ``final.mdl`` (AmDiagGmm).

As Kaldi's ``gmm/am-diag-gmm.cc`` and ``gmm/diag-gmm.cc`` define it: of each pdf the constants
(log weight and normalisation, natural log), weights, means / variances and 1 / variances.
"""

from __future__ import annotations

import math

import numpy as np

from am.gmm.model import DiagonalGmms
from am.kaldi.tokens import KaldiReader, KaldiWriter

# The next token where a file's model is a network.
_NETWORK_TOKENS = ("<Nnet3>", "<Nnet>", "<NumPdfs>", "<LeftContext>")


def read_gmms(reader: KaldiReader) -> DiagonalGmms:
    """Read the mixtures; the stored constants follow from the rest and are not used.

    Raises:
        InputError: something else stands there, e.g. a network, or it is cut short.
    """
    if reader.peek() in _NETWORK_TOKENS:
        raise reader.fault("a neural network follows the transition model; only GMMs can be read")
    if reader.peek() != "<DIMENSION>":
        raise reader.fault("no GMMs (<DIMENSION>) follow the transition model")
    reader.token("<DIMENSION>")
    dim = reader.integer()
    reader.token("<NUMPDFS>")
    num_pdfs = reader.integer()
    weights, means, variances = [], [], []
    for _ in range(num_pdfs):
        weight, mean, variance = _read_mixture(reader, dim)
        weights.append(weight)
        means.append(mean)
        variances.append(variance)
    if not weights:
        raise reader.fault("no pdfs")
    return DiagonalGmms(
        np.concatenate([[0], np.cumsum([len(weight) for weight in weights])]).astype(np.int64),
        np.concatenate(weights),
        np.concatenate(means),
        np.concatenate(variances),
    )


def write_gmms(writer: KaldiWriter, gmms: DiagonalGmms) -> None:
    """Write what :func:`read_gmms` reads."""
    writer.token("<DIMENSION>")
    writer.integer(gmms.dim)
    writer.token("<NUMPDFS>")
    writer.integer(gmms.num_pdfs)
    writer.end_line()
    inverse = 1.0 / gmms.variances.astype(np.float64)
    means = gmms.means.astype(np.float64)
    constants = np.log(gmms.weights.astype(np.float64)) - 0.5 * (
        gmms.dim * math.log(2 * math.pi) + (means**2 * inverse - np.log(inverse)).sum(axis=1)
    )
    for first, last in zip(gmms.offsets[:-1], gmms.offsets[1:], strict=True):
        own = slice(int(first), int(last))
        writer.token("<DiagGMM>")
        writer.end_line()
        writer.token("<GCONSTS>")
        writer.vector(constants[own])
        writer.token("<WEIGHTS>")
        writer.vector(gmms.weights[own])
        writer.token("<MEANS_INVVARS>")
        writer.matrix((means * inverse)[own])
        writer.token("<INV_VARS>")
        writer.matrix(inverse[own])
        writer.token("</DiagGMM>")
        writer.end_line()


def _read_mixture(reader: KaldiReader, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K,) weights, (K, D) means, (K, D) variances, float32."""
    reader.token("<DiagGMM>", "<DiagGMMBegin>")
    if reader.token("<GCONSTS>", "<WEIGHTS>") == "<GCONSTS>":
        reader.vector()
        reader.token("<WEIGHTS>")
    weights = reader.vector().astype(np.float64)
    reader.token("<MEANS_INVVARS>")
    scaled_means = reader.matrix().astype(np.float64)
    reader.token("<INV_VARS>")
    inverse = reader.matrix().astype(np.float64)
    reader.token("</DiagGMM>", "<DiagGMMEnd>")
    expected = (len(weights), dim)
    if scaled_means.shape != expected or inverse.shape != expected or not len(weights):
        raise reader.fault(f"a mixture that is not {expected[0]} Gaussians of {dim} values")
    usable = np.isfinite(scaled_means).all() and np.isfinite(weights).all()
    if not (usable and np.isfinite(inverse).all() and (inverse > 0).all() and (weights >= 0).all()):
        raise reader.fault("Gaussians with means, variances or weights that are not usable")
    return (
        (weights / weights.sum()).astype(np.float32),
        (scaled_means / inverse).astype(np.float32),
        (1.0 / inverse).astype(np.float32),
    )
