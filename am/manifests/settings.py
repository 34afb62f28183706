"""What counts as good data (options of ``utils/make_cuts.py``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class DataRules:
    """What an utterance must meet to be kept.

    Attributes:
        sampling_rate: Hz, of every recording.
        min_duration: seconds; shorter utterances are rejected.
        needs_text: whether every utterance must have a transcript.
        lexicon: words known to the recipe; None: any word will do.
        unknown_words: ``reject`` the utterances that hold a word outside the lexicon, or
            ``keep`` them for the lang folder's unknown word to stand in.
        max_rejected: part of the utterances, from 0 to 1, above which the data are refused.
    """

    sampling_rate: int = 16000
    min_duration: float = 0.1
    needs_text: bool = True
    lexicon: Path | None = None
    unknown_words: Literal["reject", "keep"] = "reject"
    max_rejected: float = 0.05
