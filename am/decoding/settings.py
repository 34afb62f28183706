"""Settings of decoding and of the search for scales."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from am.decoding.decoder import Scales, SearchSettings
from am.decoding.scorers import ModelKind
from am.errors import InputError


@dataclass(frozen=True)
class ScaleSearchSettings:
    """What ``steps/search_scales.py`` tries.

    Attributes:
        max_active: tokens a frame, fewer than in decoding proper: scales are compared, and each
            is tried on all of the dev data.
        acoustic_scales: ascending.
        word_insertion_penalties: ascending.
    """

    max_active: int
    acoustic_scales: tuple[float, ...]
    word_insertion_penalties: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.max_active < 2:
            raise InputError(f"scale search: max_active {self.max_active}: give at least 2")
        for name in ("acoustic_scales", "word_insertion_penalties"):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)):
                raise InputError(f"scale search: {name} must be one or more ascending numbers")


@dataclass(frozen=True)
class DecodingSettings:
    """Settings of decoding and of the search for scales (``conf/decode.yaml``).

    Attributes:
        search: how far decoding looks.
        network_acoustic_scale, gmm_acoustic_scale: where no other is given or found.
        network_scale_search, gmm_scale_search: what is tried for each kind of model.
    """

    search: SearchSettings = field(default_factory=SearchSettings)
    network_acoustic_scale: float = 0.7
    gmm_acoustic_scale: float = 0.06
    network_scale_search: ScaleSearchSettings = field(
        default_factory=lambda: ScaleSearchSettings(
            1000, (0.3, 0.4, 0.55, 0.7, 0.9, 1.2), (-2.0, -1.0, 0.0, 1.0)
        )
    )
    gmm_scale_search: ScaleSearchSettings = field(
        default_factory=lambda: ScaleSearchSettings(500, (0.045, 0.06, 0.08), (-3.0, -1.5, 0.0))
    )

    def usual_acoustic_scale(self, kind: ModelKind) -> float:
        """The acoustic scale of a kind of model where no other is given or found."""
        return self.network_acoustic_scale if kind == "network" else self.gmm_acoustic_scale

    def scale_search(self, kind: ModelKind) -> ScaleSearchSettings:
        """What is tried for a kind of model."""
        return self.network_scale_search if kind == "network" else self.gmm_scale_search

    def beams_of_scale_search(self, kind: ModelKind) -> SearchSettings:
        """How far the decodings look whose scales are compared."""
        max_active = min(self.scale_search(kind).max_active, self.search.max_active)
        return replace(
            self.search,
            max_active=max_active,
            min_active=min(self.search.min_active, max_active - 1),
        )

    def scales_for(
        self, kind: ModelKind, acoustic_scale: float | None, word_insertion_penalty: float | None
    ) -> Scales:
        """The given scales; those not given are the usual ones of the kind of model."""
        return Scales(
            self.usual_acoustic_scale(kind) if acoustic_scale is None else acoustic_scale,
            0.0 if word_insertion_penalty is None else word_insertion_penalty,
        )
