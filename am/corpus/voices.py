"""The speakers of the embedded corpus: espeak-ng voice variants × accents × rate × pitch."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from am.errors import InputError

ACCENTS = (
    "en-us",
    "en-us-nyc",
    "en",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
)
# The variants of espeak-ng 1.52 that sound like people (no robots, no whispering or croaking).
_VARIANT_NAMES = (
    "Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario "
    "Michael Mike Nguyen Reed RicishayMax RicishayMax2 RicishayMax3 Storm adam anika announcer "
    "antonio aunty belinda benjamin boris caleb david ed edward edward2 f1 f2 f3 f4 f5 grandma "
    "grandpa gustave ian iven iven2 iven3 iven4 john kaukovalta klatt klatt2 klatt3 klatt4 linda "
    "m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel mike2 norbert pablo paul pedro quincy rob "
    "robert sandro shelby steph steph2 steph3 travis victor zac"
)
VARIANTS = tuple(_VARIANT_NAMES.split())
RATES = range(140, 196)  # words a minute
PITCHES = range(30, 71)  # espeak-ng's scale from 0 to 99, on top of the variant's own
PITCH_RANGES = range(35, 66)  # the same scale: how lively the intonation is


@dataclass(frozen=True)
class Voice:
    """A speaker."""

    speaker: str
    variant: str
    accent: str
    rate: int
    pitch: int
    pitch_range: int

    @property
    def espeak_name(self) -> str:
        """The voice as espeak-ng names it."""
        return f"{self.accent}+{self.variant}"


def cast_voices(counts: Mapping[str, int], seed: int) -> dict[str, list[Voice]]:
    """Give each group of speakers its voices.

    No variant serves two groups, so no two groups share a timbre.  Within a group a variant comes
    back with another accent only where there are more voices than variants.

    Args:
        counts: group → number of voices.
        seed: chooses variants, accents, rates and pitches.

    Returns:
        group → its voices; speakers are numbered ``voice001 …`` over all groups.

    Raises:
        InputError: more voices are wanted than variants and accents give.
    """
    generator = random.Random(f"voices {seed}")
    variants = list(VARIANTS)
    generator.shuffle(variants)
    shares = _shares(counts, len(variants))
    cast: dict[str, list[Voice]] = {}
    number = 0
    for group, count in counts.items():
        own = [variants.pop() for _ in range(shares[group])]
        if count > len(own) * len(ACCENTS):
            raise InputError(
                f"corpus settings: {count} {group} voices are too many; "
                f"at most {len(own) * len(ACCENTS)} can be told apart"
            )
        accents = {variant: generator.sample(ACCENTS, len(ACCENTS)) for variant in own}
        cast[group] = []
        for index in range(count):
            number += 1
            variant = own[index % len(own)]
            cast[group].append(
                Voice(
                    speaker=f"voice{number:03d}",
                    variant=variant,
                    accent=accents[variant].pop(),
                    rate=generator.choice(RATES),
                    pitch=generator.choice(PITCHES),
                    pitch_range=generator.choice(PITCH_RANGES),
                )
            )
    return cast


def _shares(counts: Mapping[str, int], available: int) -> dict[str, int]:
    """How many variants each group gets: as many as it has voices, or its part of them."""
    total = sum(counts.values())
    if total <= available:
        return dict(counts)
    shares = {group: max(1, count * available // total) for group, count in counts.items()}
    while sum(shares.values()) > available:
        shares[max(shares, key=lambda group: shares[group])] -= 1
    return shares
