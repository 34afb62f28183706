"""Sentences: their words, their sides, their determinism."""

import random
import re
from itertools import islice

import pytest

from am.corpus.grammar import MAX_WORDS, MIN_WORDS, Grammar, side_of
from am.errors import InputError


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar.embedded()


def test_a_small_grammar_gives_exactly_its_sentences() -> None:
    rules = {
        "intents": {"light": {"weight": "1", "templates": ["turn [on|off] the {thing}[ now|]"]}},
        "slots": {"thing": ["lamp", "{colour} light"]},
    }
    grammar = Grammar.from_mapping(rules, {"colour": ["red"]})
    generator = random.Random(0)
    drawn = {grammar.sentence(generator) for _ in range(300)}
    assert drawn == {
        f"TURN {state} THE {thing}{now}"
        for state in ("ON", "OFF")
        for thing in ("LAMP", "RED LIGHT")
        for now in ("", " NOW")
    }
    assert grammar.vocabulary() == sorted(
        {"AN", "TURN", "ON", "OFF", "THE", "LAMP", "RED", "LIGHT", "NOW"}
    )


def test_a_slot_without_a_list_is_named() -> None:
    rules = {"intents": {"x": {"weight": "1", "templates": ["go to {nowhere}"]}}, "slots": {}}
    with pytest.raises(InputError, match="nowhere"):
        Grammar.from_mapping(rules, {})


def test_a_before_a_vowel_becomes_an() -> None:
    rules = {
        "intents": {"x": {"weight": "1", "templates": ["a {word}"]}},
        "slots": {"word": ["eagle", "lion", "one", "euro"]},
    }
    grammar = Grammar.from_mapping(rules, {})
    generator = random.Random(0)
    drawn = {grammar.sentence(generator) for _ in range(100)}
    assert drawn == {"AN EAGLE", "A LION", "A ONE", "A EURO"}


def test_no_two_sides_share_a_sentence(grammar: Grammar) -> None:
    drawn = {
        side: set(islice(grammar.sentences(side, "7"), 2000)) for side in ("train", "dev", "test")
    }
    assert not drawn["train"] & drawn["dev"]
    assert not drawn["train"] & drawn["test"]
    assert not drawn["dev"] & drawn["test"]
    assert all(side_of(sentence) == side for side, group in drawn.items() for sentence in group)


def test_the_text_is_rich_and_within_the_vocabulary(grammar: Grammar) -> None:
    sentences = list(islice(grammar.sentences("train", "lm 1"), 20000))
    words = {word for sentence in sentences for word in sentence.split()}
    assert len(words) >= 1500
    assert words <= set(grammar.vocabulary())
    assert all(re.fullmatch(r"[A-Z]+('[A-Z]+)*", word) for word in words)
    assert all(MIN_WORDS <= len(sentence.split()) <= MAX_WORDS for sentence in sentences)


def test_the_seed_decides(grammar: Grammar) -> None:
    def draw(seed: str) -> list[str]:
        return list(islice(grammar.sentences("train", seed), 50))

    assert draw("1") == draw("1") != draw("2")
