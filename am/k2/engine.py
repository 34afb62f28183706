"""The one place that imports k2.

k2's compiled part belongs to one version of torch.  Where k2 is missing, or was built for another
torch, users get one line that says which, and how to mend it.
"""

from __future__ import annotations

import functools
import importlib
import sys
from importlib import metadata
from types import ModuleType
from typing import Any

import torch
from torch.utils.data import Sampler

from am.errors import InputError

Fsa = Any
"""A ``k2.Fsa``, of one automaton or of a vector of them."""


@functools.cache
def load_k2() -> ModuleType:
    """The k2 package.

    Raises:
        InputError: it is not installed, or does not fit the torch that is.
    """
    mend = f"run utils/install_k2.py {sys.prefix}"
    missing = f"k2: not installed in {sys.prefix}; {mend}"
    try:
        k2 = importlib.import_module("k2")
    except ModuleNotFoundError as error:
        if error.name == "k2":
            raise InputError(missing) from error
        raise InputError(f"k2: needs the package {error.name}; {mend}") from error
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"k2: version {_installed_version()} does not fit torch {torch.__version__}: "
            f"{reason}; {mend}"
        ) from error
    # Any folder of that name on Python's path can be imported, but has no file of its own.
    if k2.__file__ is None:
        raise InputError(missing)
    return k2


def check_device(device: torch.device) -> None:
    """Raise InputError unless k2 is there and can work on ``device``."""
    k2 = load_k2()
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"k2: works on cpu and cuda, not on {device.type}; give --device cpu")
    if device.type == "cuda" and not k2.with_cuda:
        raise InputError(
            f"k2: version {_installed_version()} was built without CUDA; give --device cpu, or "
            f"remove it and run utils/install_k2.py {sys.prefix}"
        )


def let_lhotse_sample() -> None:
    """Make lhotse's samplers work with the torch of the package index's k2.

    Before torch 2.1 a ``Sampler`` wanted a data source, which lhotse's do not give it.
    """
    initialise: Any = Sampler.__init__
    if getattr(initialise, "__defaults__", ()) is None:
        initialise.__defaults__ = (None,)


def _installed_version() -> str:
    try:
        return metadata.version("k2")
    except metadata.PackageNotFoundError:
        return "of unknown number"
