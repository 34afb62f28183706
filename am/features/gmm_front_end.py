"""From a cut with MFCC to what a GMM sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import FeatureDescription, describe_features, open_feature_data
from am.features.gmm_features import (
    GmmFeatures,
    SpeakerNormalisation,
    check_mfcc_dim,
    speaker_of,
)
from am.features.speaker_transforms import SpeakerTransforms
from am.processes import map_chunks
from am.progress import track

CUTS_A_CHUNK = 64
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class GmmFrontEnd:
    """The speaker's normalisation, the model's features, and the speaker's transform if any.

    Attributes:
        features: of the model.
        normalisation: statistics of the data folder's speakers.
        transforms: given just where ``features`` are speaker-adapted.
    """

    features: GmmFeatures
    normalisation: SpeakerNormalisation
    transforms: SpeakerTransforms | None = None

    @staticmethod
    def open(
        model: Path,
        data: Path,
        transforms: Path | None = None,
        normalisation: SpeakerNormalisation | None = None,
    ) -> GmmFrontEnd:
        """The front end of a GMM folder for a data folder.

        Args:
            model: GMM folder.
            data: feature data folder (MFCC).
            transforms: folder with the transforms of the data's speakers.
            normalisation: statistics of the data's speakers; made in a pass over the cuts where
                they are not given.

        Raises:
            InputError: a speaker-adapted model without transforms, another model with them, or
                transforms of other features.
        """
        features = GmmFeatures.load(model)
        if features.speaker_adapted and transforms is None:
            raise InputError(
                f"{model}: speaker-adapted, and no speaker transforms are given; make them with "
                "steps/align_fmllr.py or steps/estimate_fmllr.py, or give its speaker_independent "
                "folder"
            )
        if transforms is not None and not features.speaker_adapted:
            raise InputError(f"{model}: not speaker-adapted; leave the speaker transforms out")
        loaded = None if transforms is None else SpeakerTransforms.load(transforms, features)
        if normalisation is None:
            cuts = track(open_feature_data(data), "speaker statistics", unit="cut")
            normalisation = SpeakerNormalisation.from_cuts(cuts)
        return GmmFrontEnd(features, normalisation, loaded)

    def model_input(self, cut: Any) -> np.ndarray:
        """(T, D) float32 of a lhotse cut with MFCC.

        Raises:
            InputError: MFCC of another width, or a speaker outside the data folder or without
                a transform.
        """
        mfcc = cut.load_features()
        check_mfcc_dim(self.features, mfcc, cut.id)
        speaker = speaker_of(cut)
        variance = self.features.normalise_variance
        frames = self.features.model_input(self.normalisation.apply(speaker, mfcc, variance))
        return frames if self.transforms is None else self.transforms.apply(speaker, frames)


def check_mfcc_data(data: Path, features: GmmFeatures, model: Path) -> FeatureDescription:
    """What a feature data folder holds, which is MFCC as wide as those of a GMM.

    Args:
        data: the feature data folder.
        features: of the GMM.
        model: its folder, for the message.

    Raises:
        InputError: it holds other features.
    """
    found = describe_features(data)
    if (found.kind, found.dimension) != ("mfcc", features.mfcc_dim):
        raise InputError(
            f"{data}: {found}, {model} takes mfcc of {features.mfcc_dim} values; give the data "
            "folder with those features (steps/make_features.py --kind mfcc)"
        )
    return found


def gather_normalisation(data: Path, executor: Executor) -> SpeakerNormalisation:
    """Normalisation statistics of the speakers of a feature data folder; alike for any executor."""
    total = SpeakerNormalisation()
    for part in map_chunks(
        _normalisation_of_chunk,
        SpeakerNormalisation,
        track(open_feature_data(data), "speakers", unit="cut"),
        executor,
        chunk_size=CUTS_A_CHUNK,
        device=_CPU,
    ):
        total.merge(part)
    return total


def _normalisation_of_chunk(_: SpeakerNormalisation, cuts: list[Any]) -> SpeakerNormalisation:
    return SpeakerNormalisation.from_cuts(cuts)
