"""Settings of decoding and of the search for scales."""

from __future__ import annotations

from dataclasses import dataclass, field

from am.decoding.decoder import Scales, SearchSettings
from am.decoding.lattices import LatticeSettings
from am.decoding.scorers import ModelKind
from am.errors import InputError


@dataclass(frozen=True)
class ScaleGrid:
    """The scales that are tried for one kind of model.

    Attributes:
        search: acoustic scale that the lattices are made with, and the default of
            ``steps/decode.py``.
        tried: acoustic scales whose error rates are compared.
    """

    search: float
    tried: tuple[float, ...]


@dataclass(frozen=True)
class DecodingSettings:
    """Settings of decoding and of the search for scales (``conf/decode.yaml``).

    Attributes:
        search: how far decoding looks.
        lattices: how rich the lattices are that scales are searched in.
        network_scales, gmm_scales: acoustic scales by kind of model.
        word_insertion_penalties: compared with each acoustic scale.
    """

    search: SearchSettings = field(default_factory=SearchSettings)
    lattices: LatticeSettings = field(default_factory=LatticeSettings)
    network_scales: ScaleGrid = field(
        default_factory=lambda: ScaleGrid(1.0, (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5))
    )
    gmm_scales: ScaleGrid = field(
        default_factory=lambda: ScaleGrid(
            0.09, (0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.11, 0.12, 0.14)
        )
    )
    word_insertion_penalties: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)

    def scales_of(self, kind: ModelKind) -> ScaleGrid:
        """The acoustic scales for a kind of model."""
        return self.network_scales if kind == "network" else self.gmm_scales

    def scales_for(
        self, kind: ModelKind, acoustic_scale: float | None, word_insertion_penalty: float | None
    ) -> Scales:
        """The given scales; those not given are the usual ones of the kind of model."""
        return Scales(
            self.scales_of(kind).search if acoustic_scale is None else acoustic_scale,
            0.0 if word_insertion_penalty is None else word_insertion_penalty,
        )

    def grid(self, kind: ModelKind) -> list[Scales]:
        """Every combination, checked."""
        scales = self.scales_of(kind)
        if not scales.tried or not self.word_insertion_penalties:
            raise InputError("decoding settings: list at least one acoustic scale and one penalty")
        return [
            Scales(acoustic_scale, penalty)
            for acoustic_scale in scales.tried
            for penalty in self.word_insertion_penalties
        ]
