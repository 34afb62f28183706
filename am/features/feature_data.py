"""A feature data folder: a cutset whose cuts carry features, and the settings that made them."""

from __future__ import annotations

import dataclasses
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

from lhotse import CutSet

from am import config
from am.errors import InputError
from am.features.extractors import SETTINGS_OF_KIND, LfbeSettings

CUTS_NAME = "cuts.jsonl.gz"
SETTINGS_NAME = "features.json"


@dataclass(frozen=True)
class FeatureDescription:
    """What the features of a folder are.

    Attributes:
        kind: ``lfbe``, ``mfcc``, or that of :func:`am.features.adapted.adapted_kind`.
        dimension: values a frame.
        frame_shift: in seconds.
    """

    kind: str
    dimension: int
    frame_shift: float

    def __str__(self) -> str:
        return f"{self.kind} of {self.dimension} values every {self.frame_shift} s"


def open_feature_data(folder: Path) -> CutSet:
    """The cuts of a feature data folder, read lazily, in the folder's order.

    A Shar data folder (:mod:`am.shar`) is one too; its cuts come with their features in memory.

    Raises:
        InputError: the folder has no cuts, or they carry no features.
    """
    from am.shar.index import is_shar
    from am.shar.read import SharData  # which reads features itself

    if is_shar(folder):
        return CutSet(SharData(folder))
    path = folder / CUTS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; run steps/make_features.py")
    cuts = CutSet.from_jsonl_lazy(path)
    first = next(iter(cuts), None)
    if first is None:
        raise InputError(f"{path}: holds no cuts; give data with at least one utterance")
    if not first.has_features:
        raise InputError(
            f"{path}: cut {first.id} has no features; give the folder that "
            "steps/make_features.py wrote"
        )
    return cuts


def count_cuts(folder: Path) -> int:
    """Number of cuts of a feature data folder, without parsing them."""
    from am.shar.index import is_shar, read_facts  # which reads features itself

    if is_shar(folder):
        return read_facts(folder).num_cuts
    with gzip.open(folder / CUTS_NAME, "rb") as stream:
        return sum(1 for _ in stream)


def one_line_reason(error: Exception) -> str:
    """What went wrong, in one line, without the manifest that lhotse appends to its errors."""
    reason, _, _ = str(error).partition("[extra info]")
    return " ".join(reason.split()) or repr(error)


def describe_features(folder: Path) -> FeatureDescription:
    """What kind of features a folder holds, as :func:`write_feature_settings` noted."""
    path = folder / SETTINGS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; run steps/make_features.py")
    values = json.loads(path.read_text())
    return FeatureDescription(values["kind"], values["dimension"], values["frame_shift"])


def extractor_settings(folder: Path) -> LfbeSettings:
    """How the features of a folder were computed.

    Raises:
        InputError: the folder does not tell.
    """
    kind = describe_features(folder).kind
    path = folder / SETTINGS_NAME
    values = json.loads(path.read_text())
    del values["kind"], values["dimension"]
    if "sampling_rate" not in values:
        raise InputError(
            f"{path}: does not tell how the features were computed, which computing them from "
            "audio needs; run steps/make_features.py"
        )
    return config.settings_from_mapping(SETTINGS_OF_KIND[kind], values, str(path))


def write_feature_description(folder: Path, description: FeatureDescription) -> None:
    """Note in the folder what its features are, where no settings compute them from audio."""
    (folder / SETTINGS_NAME).write_text(json.dumps(dataclasses.asdict(description), indent=1))


def write_feature_settings(folder: Path, kind: str, dimension: int, settings: LfbeSettings) -> None:
    """Note in the folder what its features are."""
    values = {"kind": kind, "dimension": dimension, **settings.to_dict()}
    (folder / SETTINGS_NAME).write_text(json.dumps(values, indent=1))
