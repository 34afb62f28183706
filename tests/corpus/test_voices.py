"""Casting: no voice or variant in two groups."""

import pytest

from am.corpus.voices import ACCENTS, VARIANTS, cast_voices
from am.errors import InputError

DEFAULT = {"labeled": 12, "unlabeled": 40, "dev": 6, "test": 10, "babble": 12}
LARGE = {"labeled": 40, "unlabeled": 160, "dev": 12, "test": 24, "babble": 24}


@pytest.mark.parametrize("counts", [DEFAULT, LARGE])
@pytest.mark.parametrize("seed", [1, 2])
def test_groups_share_nothing(counts: dict[str, int], seed: int) -> None:
    cast = cast_voices(counts, seed)
    assert {group: len(voices) for group, voices in cast.items()} == counts
    speakers = [voice.speaker for voices in cast.values() for voice in voices]
    assert len(set(speakers)) == len(speakers)
    variants = [{voice.variant for voice in voices} for voices in cast.values()]
    assert len(set().union(*variants)) == sum(map(len, variants))
    sounds = [voice.espeak_name for voices in cast.values() for voice in voices]
    assert len(set(sounds)) == len(sounds)


def test_the_seed_decides() -> None:
    assert cast_voices(DEFAULT, 1) == cast_voices(DEFAULT, 1) != cast_voices(DEFAULT, 2)


def test_too_many_voices_are_refused() -> None:
    too_many = len(VARIANTS) * len(ACCENTS) + 1
    with pytest.raises(InputError, match="too many"):
        cast_voices({"labeled": too_many}, 1)
