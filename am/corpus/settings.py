"""The settings of the embedded corpus (``conf/corpus.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from am.errors import InputError


@dataclass(frozen=True)
class TrainingPart:
    """Labelled or unlabelled training speech.

    Attributes:
        minutes: of audio, silence around the utterances included.
        voices: speakers.
        noisy_share: part of the utterances in a room with noise, from 0 to 1; the rest is clean.
        snr_db: lowest and highest signal-to-noise ratio of these.
        clean_copies: whether a folder ``SPLIT_clean`` has every utterance without room and noise.
    """

    minutes: float
    voices: int
    noisy_share: float
    snr_db: tuple[float, ...]
    clean_copies: bool = False


@dataclass(frozen=True)
class HeldOutPart:
    """Development or test speech: minutes of audio in each condition, and speakers."""

    minutes: float
    voices: int


@dataclass(frozen=True)
class NoiseSettings:
    """Rooms and noise.

    Attributes:
        rooms: simulated rooms of training, of development and of test, each its own.
        reverberation_seconds: lowest and highest reverberation time (60 dB) of a room.
        babble_voices: voices whose murmur is noise, as many for each of the three.
        babble, coloured, hum, tones: how often each kind of noise is drawn, relative to the rest.
    """

    rooms: int = 60
    reverberation_seconds: tuple[float, ...] = (0.15, 0.6)
    babble_voices: int = 4
    babble: float = 3.0
    coloured: float = 4.0
    hum: float = 1.0
    tones: float = 1.0


@dataclass(frozen=True)
class CorpusSettings:
    """What the embedded corpus holds.

    Attributes:
        noisy_snr_db, very_noisy_snr_db: of the noisy conditions of development and test.
        lm_sentences: sentences of language-model text; none of them is spoken in dev or test.
    """

    labeled: TrainingPart = TrainingPart(30.0, 12, 0.25, (10.0, 25.0))
    unlabeled: TrainingPart = TrainingPart(240.0, 40, 1.0, (0.0, 25.0), True)
    dev: HeldOutPart = HeldOutPart(10.0, 6)
    test: HeldOutPart = HeldOutPart(15.0, 10)
    noisy_snr_db: float = 10.0
    very_noisy_snr_db: float = 0.0
    lm_sentences: int = 30000
    noise: NoiseSettings = field(default_factory=NoiseSettings)

    def check(self) -> None:
        """Raise InputError for values that no corpus can have."""
        for name in ("labeled", "unlabeled", "dev", "test"):
            part = getattr(self, name)
            if part.minutes <= 0 or part.voices < 1:
                raise InputError(
                    f"corpus settings: {name}: minutes and voices must be above 0, "
                    f"not {part.minutes} and {part.voices}"
                )
        for name in ("labeled", "unlabeled"):
            part = getattr(self, name)
            _check_range(f"{name}.snr_db", part.snr_db)
            if not 0 <= part.noisy_share <= 1:
                raise InputError(
                    f"corpus settings: {name}.noisy_share must be from 0 to 1, "
                    f"not {part.noisy_share}"
                )
        _check_range("noise.reverberation_seconds", self.noise.reverberation_seconds)
        counts = (self.noise.rooms, self.noise.babble_voices, self.lm_sentences)
        if min(counts) < 1:
            raise InputError(
                "corpus settings: noise.rooms, noise.babble_voices and lm_sentences must be "
                f"above 0, not {', '.join(map(str, counts))}"
            )
        weights = (self.noise.babble, self.noise.coloured, self.noise.hum, self.noise.tones)
        if min(weights) < 0 or sum(weights) == 0:
            raise InputError(
                "corpus settings: noise: the kinds' weights must not be negative nor all 0, "
                f"not {', '.join(map(str, weights))}"
            )


def _check_range(name: str, values: tuple[float, ...]) -> None:
    if len(values) != 2 or values[0] > values[1]:
        raise InputError(
            f"corpus settings: {name} must be a lowest and a highest value, not {list(values)}"
        )
