"""Cuts drawn: log mel energies, and below them words, phones, HMM states and senones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from am.errors import InputError
from am.features.feature_data import describe_features
from am.inspection.cuts import find_cuts
from am.inspection.pictures import save_picture
from am.inspection.tiers import PHONES, SENONES, STATES, WORDS, Interval, TierReader, Tiers
from am.lang.lang import Lang

# Inches.  A phone of 80 ms is 0.4 wide, which holds its name at 6 points.
INCHES_A_SECOND, MIN_WIDTH, LEFT_MARGIN, RIGHT_MARGIN = 5.0, 4.0, 0.9, 0.2
SPECTROGRAM_HEIGHT, TITLE_HEIGHT, AXIS_HEIGHT = 1.8, 0.4, 0.5
TIER_HEIGHTS = {WORDS: 0.3, PHONES: 0.3, STATES: 0.22, SENONES: 0.42}
FONT_SIZES = {WORDS: 8.0, PHONES: 6.5, STATES: 5.5, SENONES: 5.5}
# Points of width a character of the font takes, as a share of its size.
CHARACTER_WIDTH = 0.6
TIER_COLOURS = ("#ffffff", "#eaf1f8")


def draw_alignments(
    lang_folder: Path,
    data: Path,
    alignment_folder: Path,
    cut_ids: Sequence[str],
    path: Path,
    *,
    start: float = 0.0,
    end: float | None = None,
) -> None:
    """Draw cuts one below the other.

    Args:
        lang_folder: that the alignment was made with.
        data: LFBE of the cuts.
        alignment_folder: transition-ids or senone labels.
        cut_ids: which cuts.
        path: ends with ``.png``, ``.svg`` or ``.pdf``.
        start, end: seconds of each cut that are shown; ``end`` None for all.

    Raises:
        InputError: the folders do not belong together, or a cut is not in them.
    """
    if describe_features(data).kind != "lfbe":
        raise InputError(
            f"{data}: holds {describe_features(data).kind}, a picture shows log mel energies; "
            "give the folder of steps/make_features.py --kind lfbe"
        )
    reader = TierReader(alignment_folder, Lang.load(lang_folder))
    cuts = find_cuts(data, cut_ids)
    for cut in cuts:
        if cut.id not in reader:
            raise InputError(
                f"{alignment_folder}: {cut.id} is not aligned; its failed.tsv may say why"
            )
    last = max(cut.duration for cut in cuts) if end is None else end
    if not 0 <= start < last:
        raise InputError(f"start {start} s, end {last} s: nothing lies between; start earlier")
    width = max(MIN_WIDTH, (last - start) * INCHES_A_SECOND)
    block = TITLE_HEIGHT + SPECTROGRAM_HEIGHT + AXIS_HEIGHT
    block += sum(TIER_HEIGHTS[name] for name in reader.tier_names)
    figure = Figure(figsize=(LEFT_MARGIN + width + RIGHT_MARGIN, block * len(cuts)))
    for number, cut in enumerate(cuts):
        _Block(figure, 1 - number * block / figure.get_figheight(), width, (start, last)).draw(
            cut, reader.tiers(cut), reader.tier_names
        )
    save_picture(figure, path)


class _Block:
    """The part of the picture that shows one cut, filled from its top downwards."""

    def __init__(self, figure: Figure, top: float, width: float, shown: tuple[float, float]):
        self._figure = figure
        self._inches = figure.get_size_inches()
        self._top = top - TITLE_HEIGHT / self._inches[1]
        self._width = width
        self._shown = shown

    def draw(self, cut: Any, tiers: Tiers, names: Sequence[str]) -> None:
        self._title(cut)
        axes = self._next_axes(SPECTROGRAM_HEIGHT)
        _draw_spectrogram(axes, cut)
        axes.set_xlim(*self._shown)
        for name in names:
            axes = self._next_axes(TIER_HEIGHTS[name])
            self._draw_tier(axes, name, tiers.get(name, ()))
        axes.tick_params(axis="x", labelbottom=True, labelsize=7)
        axes.set_xlabel("seconds", fontsize=7, labelpad=1)

    def _title(self, cut: Any) -> None:
        speaker = cut.supervisions[0].speaker if cut.supervisions else None
        self._figure.text(
            LEFT_MARGIN / self._inches[0],
            self._top + 0.08 / self._inches[1],
            f"{cut.id}{f', speaker {speaker}' if speaker else ''}, {cut.duration:.2f} s",
            fontsize=9,
            weight="bold",
            parse_math=False,
        )

    def _next_axes(self, height: float) -> Axes:
        share = height / self._inches[1]
        self._top -= share
        left = LEFT_MARGIN / self._inches[0]
        axes = self._figure.add_axes((left, self._top, self._width / self._inches[0], share))
        axes.tick_params(axis="x", labelbottom=False, length=2)
        return axes

    def _draw_tier(self, axes: Axes, name: str, intervals: Sequence[Interval]) -> None:
        axes.set_xlim(*self._shown)
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.set_ylabel(name, fontsize=7, rotation=0, ha="right", va="center")
        points_a_second = 72 * self._width / (self._shown[1] - self._shown[0])
        for number, interval in enumerate(intervals):
            start, end = (float(np.clip(t, *self._shown)) for t in (interval.start, interval.end))
            if start == end:
                continue
            colour = TIER_COLOURS[number % 2]
            axes.axvspan(start, end, facecolor=colour, edgecolor="#888888", lw=0.4)
            size = FONT_SIZES[name]
            room = (end - start) * points_a_second
            fits = len(interval.label) * size * CHARACTER_WIDTH <= room
            axes.text(
                (start + end) / 2,
                0.5,
                interval.label,
                fontsize=size if fits else min(size, 5.5),
                rotation=0 if fits else 90,
                ha="center",
                va="center",
                clip_on=True,
                parse_math=False,
            )


def _draw_spectrogram(axes: Axes, cut: Any) -> None:
    energies = cut.load_features()
    num_frames, num_bands = energies.shape
    low, high = np.percentile(energies, (2, 99.5))
    axes.imshow(
        energies.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=low,
        vmax=high,
        extent=(0.0, num_frames * cut.frame_shift, 0.0, float(num_bands)),
    )
    axes.set_ylabel("mel band", fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
