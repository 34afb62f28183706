"""Sentences drawn from a grammar with slots.

A template is text with ``{slot}``, any entry of the list of that name, and ``[a|b|]``, one of
the alternatives; both nest.  Which split a sentence may occur in is a function of the sentence
alone, so that no two splits ever share one, however many are drawn.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import yaml

from am.errors import InputError

MIN_WORDS, MAX_WORDS = 2, 22
# Of every 100 sentences of the grammar, so many belong to the side; training takes the rest.
PERCENT_OF_SIDE = {"test": 20, "dev": 10}
_INNERMOST_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_SUFFIXED_SLOT = re.compile(r"\{(\w+)\}((?:'\w+)?)")
_A_BEFORE_VOWEL = re.compile(r"\ba(?= (?!one|uni|euro)[aeiou])")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


def side_of(sentence: str) -> str:
    """The side, ``train``, ``dev`` or ``test``, that alone may use ``sentence``."""
    percentile = zlib.crc32(sentence.encode()) % 100
    for side, percent in PERCENT_OF_SIDE.items():
        if percentile < percent:
            return side
        percentile -= percent
    return "train"


@dataclass(frozen=True)
class Grammar:
    """Intents with their weights, and the lists that fill slots.

    Attributes:
        templates: intent → its templates.
        weights: intent → how often it is drawn, relative to the others.
        slots: name → entries, templates themselves.
    """

    templates: Mapping[str, Sequence[str]]
    weights: Mapping[str, float]
    slots: Mapping[str, Sequence[str]]

    @staticmethod
    def embedded() -> Grammar:
        """The grammar that comes with the package."""
        # BaseLoader keeps every scalar a string: YAML would read "on" and "no" as booleans.
        rules = yaml.load(_packaged("grammar.yaml"), Loader=yaml.BaseLoader)
        vocabulary = yaml.load(_packaged("vocabulary.yaml"), Loader=yaml.BaseLoader)
        return Grammar.from_mapping(rules, vocabulary)

    @staticmethod
    def from_mapping(rules: Mapping[str, Any], vocabulary: Mapping[str, Sequence[str]]) -> Grammar:
        """Check the parsed files and build the grammar."""
        intents = rules["intents"]
        grammar = Grammar(
            templates={name: intent["templates"] for name, intent in intents.items()},
            weights={name: float(intent["weight"]) for name, intent in intents.items()},
            slots={**vocabulary, **rules["slots"]},
        )
        for template in grammar._all_templates():
            for slot in _SLOT.findall(template):
                if slot not in grammar.slots:
                    raise InputError(f"grammar: '{template}': no list is named '{slot}'; add it")
        return grammar

    def vocabulary(self) -> list[str]:
        """Every word that the grammar can say, in upper case and sorted."""
        words = {"an"}
        for template in self._all_templates():
            for slot, suffix in _SUFFIXED_SLOT.findall(template):
                if suffix:  # "{first_name}'s" makes a word of each entry
                    words.update(entry + suffix for entry in self.slots[slot])
            words.update(_WORD.findall(_SUFFIXED_SLOT.sub(" ", template)))
        return sorted(word.upper() for word in words)

    def sentence(self, generator: random.Random) -> str:
        """Draw one sentence, in upper case."""
        names, weights = self._intent_choices
        intent = generator.choices(names, cum_weights=weights)[0]
        template = generator.choice(self.templates[intent])
        text = " ".join(self._expand(template, generator).split())
        return _A_BEFORE_VOWEL.sub("an", text).upper()

    def sentences(self, side: str, seed: str) -> Iterator[str]:
        """Draw sentences of one side (see :func:`side_of`) without end."""
        generator = random.Random(seed)
        while True:
            sentence = self.sentence(generator)
            if MIN_WORDS <= len(sentence.split()) <= MAX_WORDS and side_of(sentence) == side:
                yield sentence

    @cached_property
    def _intent_choices(self) -> tuple[list[str], list[float]]:
        total, cumulative = 0.0, []
        for weight in self.weights.values():
            total += weight
            cumulative.append(total)
        return list(self.weights), cumulative

    def _expand(self, template: str, generator: random.Random) -> str:
        while "[" in template:
            template = _INNERMOST_CHOICE.sub(
                lambda match: generator.choice(match.group(1).split("|")), template
            )
        return _SLOT.sub(
            lambda match: self._expand(generator.choice(self.slots[match.group(1)]), generator),
            template,
        )

    def _all_templates(self) -> Iterator[str]:
        for templates in (*self.templates.values(), *self.slots.values()):
            yield from templates


def _packaged(name: str) -> str:
    return resources.files("am.corpus").joinpath(name).read_text(encoding="utf-8")
