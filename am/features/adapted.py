"""Speaker-adapted features of a data folder: what a speaker-adapted GMM sees, for a network.

MFCC normalised a speaker, spliced, LDA, MLLT, and then the speaker's fMLLR transform.  A network
that is trained on them need not tell speakers apart itself (Kaldi's ``steps/nnet/
make_fmllr_feats.sh``; Seide et al., ASRU 2011).  A speaker's transform is known once the speaker's
utterances are: such features suit a teacher, which works offline, and no streaming student.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np
from lhotse import MonoCut

from am.errors import InputError
from am.executors import Executor
from am.features.feature_data import (
    FeatureDescription,
    one_line_reason,
    write_feature_description,
)
from am.features.feature_parts import make_features_in_parts
from am.features.gmm_features import GmmFeatures, fault_of_features
from am.features.gmm_front_end import GmmFrontEnd, check_mfcc_data, gather_normalisation
from am.features.storage import Float16FileWriter
from am.processes import ONE_PROCESS


def adapted_kind(features: GmmFeatures) -> str:
    """What a data folder calls them: features of another LDA and MLLT are of another kind."""
    return f"fmllr-{features.fingerprint[:8]}"


def write_adapted_features(
    data: Path,
    model: Path,
    transforms: Path,
    output: Path,
    final_output: Path,
    executor: Executor = ONE_PROCESS,
    max_rejected_share: float = 0.05,
) -> None:
    """Write the adapted features of every cut of a feature data folder with MFCC.

    Args:
        data: feature data folder, MFCC.
        model: speaker-adapted GMM (``steps/train_sat.py``).
        transforms: folder with the transforms of the data's speakers.
        output: where to write a feature data folder.
        final_output: where ``output`` will lie in the end; the manifest's paths point there.
        executor: what computes.
        max_rejected_share: stop when a larger share of the cuts has no finite features.

    Raises:
        InputError: features that are no MFCC of the model's width, a model that is not adapted to
            speakers, a speaker without a transform, too many rejected cuts.
    """
    features = GmmFeatures.load(model)
    frame_shift = check_mfcc_data(data, features, model).frame_shift
    front_end = GmmFrontEnd.open(model, data, transforms, gather_normalisation(data, executor))
    make_features_in_parts(
        data,
        output,
        final_output,
        partial(_AdaptedFeatures, front_end, frame_shift),
        executor,
        max_rejected_share,
    )
    description = FeatureDescription(adapted_kind(features), features.dim, frame_shift)
    write_feature_description(output, description)


@dataclass(frozen=True)
class _AdaptedFeatures:
    """A :class:`am.features.feature_parts.FeatureMaker` of cuts with MFCC."""

    front_end: GmmFrontEnd
    frame_shift: float
    name: str = "megahour-fmllr"
    storage_type: str = Float16FileWriter.name

    def features_of(
        self, cuts: Iterable[MonoCut], rejected: TextIO
    ) -> Iterator[tuple[MonoCut, np.ndarray]]:
        for cut in cuts:
            try:
                frames = self.front_end.model_input(cut)
                fault = fault_of_features(frames)
            except InputError:
                raise
            except Exception as error:  # whatever a storage raises is a reason to reject it
                fault = one_line_reason(error)
            if fault is None:
                yield cut, frames
            else:
                rejected.write(f"{cut.id}\t{fault}\n")
