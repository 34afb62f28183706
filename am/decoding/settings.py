"""Settings of decoding and of the search for scales."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from am.decoding.decoder import Scales, SearchSettings
from am.decoding.scorers import ModelKind
from am.errors import InputError
from am.k2.decoder import K2Settings


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
class KindSettings:
    """Settings of decoding with one kind of model.

    Attributes:
        acoustic_scale: where no other is given or found.
        scale_search: which scales are tried.
        search: how far decoding looks.
    """

    acoustic_scale: float
    scale_search: ScaleSearchSettings
    search: SearchSettings = field(default_factory=SearchSettings)

    def beams_of_scale_search(self) -> SearchSettings:
        """How far the decodings look whose scales are compared."""
        max_active = min(self.scale_search.max_active, self.search.max_active)
        return replace(
            self.search,
            max_active=max_active,
            min_active=min(self.search.min_active, max_active - 1),
        )

    def scales(self, acoustic_scale: float | None, word_insertion_penalty: float | None) -> Scales:
        """The given scales; those not given are the usual ones."""
        return Scales(
            self.acoustic_scale if acoustic_scale is None else acoustic_scale,
            0.0 if word_insertion_penalty is None else word_insertion_penalty,
        )


@dataclass(frozen=True)
class DecodingSettings:
    """Settings of decoding and of the search for scales (``conf/decode.yaml``).

    Attributes:
        network: with a network.
        gmm: with a GMM, whose scores come more often and weigh less.
        k2: of decoding with k2.
    """

    network: KindSettings = field(
        default_factory=lambda: KindSettings(
            0.7,
            ScaleSearchSettings(1000, (0.3, 0.4, 0.55, 0.7, 0.9, 1.2), (-2.0, -1.0, 0.0, 1.0)),
        )
    )
    gmm: KindSettings = field(
        default_factory=lambda: KindSettings(
            0.06, ScaleSearchSettings(500, (0.045, 0.06, 0.08), (-3.0, -1.5, 0.0))
        )
    )
    k2: K2Settings = field(default_factory=K2Settings)

    def of(self, kind: ModelKind) -> KindSettings:
        """The settings for a kind of model."""
        return self.network if kind == "network" else self.gmm
