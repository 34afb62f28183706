"""Text rules: what they make of many scripts, and that they leave their own result alone."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am.config import settings_from_mapping
from am.errors import InputError
from am.lang.text_rules import TextRules, check_digit_words

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ALL_RULES = [
    TextRules(case, digits, DIGIT_WORDS if digits == "spell" else (), apostrophes, marks)
    for case, digits, apostrophes, marks in itertools.product(
        ("keep", "fold", "upper"),
        ("keep", "spell", "remove"),
        ("keep", "remove"),
        ("separate", "joined"),
    )
]
# Characters whose case, normal form or category makes trouble.
AWKWARD = "aß'’´`e\u0301\u0345ŉ1२ǰΐᾳ-_ \u200d\u0640İıſ\u1e9eᏣꭰ\uff07½Ⅷ한"


@pytest.mark.parametrize(
    ("rules", "text", "words"),
    [
        (TextRules(), "DON’T ‘stop’ rock´n´roll", ["DON'T", "'stop'", "rock'n'roll"]),
        (TextRules(), "' a '' 'tis dogs'", ["a", "'tis", "dogs'"]),
        (TextRules(apostrophes="remove"), "DON’T", ["DON", "T"]),
        (TextRules(), "well-known, e.g. 3.14 €", ["well", "known", "e", "g", "3", "14"]),
        (TextRules(), "½ Ⅷ ² ﬁve Ａ", ["1", "2", "VIII", "2", "five", "A"]),
        (TextRules(), "e\u0301te\u0301 soft\u00adly a\u200bb", ["été", "softly", "ab"]),
        (TextRules(case="fold"), "STRASSE Straße ΣΟΦΌΣ", ["strasse", "strasse", "σοφόσ"]),
        (TextRules(case="upper"), "straße naïve мир", ["STRASSE", "NAÏVE", "МИР"]),
        (TextRules(case="upper"), "हिन्दी 汉字 שלום", ["हिन्दी", "汉字", "שלום"]),
        (TextRules(), "A4 12 १२ ９", ["A4", "12", "१२", "9"]),
        (TextRules(digits="remove"), "A4 12 x", ["A", "x"]),
        (TextRules("upper", "spell", DIGIT_WORDS), "a4 २0", ["A", "FOUR", "TWO", "ZERO"]),
        (TextRules(), "كـتـاب \u0301x \u2581 <UNK>", ["كتاب", "x", "UNK"]),
        (TextRules(), "字\ufe00 ❤\ufe0f a\u034fb", ["字", "ab"]),
        (TextRules(), "\u3000a\u00a0b\u2028c\u0000d\u0085e", ["a", "b", "cd", "e"]),
    ],
)
def test_words(rules: TextRules, text: str, words: list[str]) -> None:
    assert rules.words(text) == words


@pytest.mark.parametrize(
    ("marks", "text", "graphemes"),
    [
        ("separate", "कि", ["क", "ि"]),
        ("joined", "किन", ["कि", "न"]),
        ("joined", "ẹ\u0301rọ", ["ẹ\u0301", "r", "ọ"]),
        ("joined", "\u0301a", ["\u0301", "a"]),
        ("separate", "été", ["é", "t", "é"]),
        ("separate", "한글", ["\u1112", "\u1161", "\u11ab", "\u1100", "\u1173", "\u11af"]),
        ("separate", "it's", ["i", "t", "'", "s"]),
    ],
)
def test_graphemes(marks: str, text: str, graphemes: list[str]) -> None:
    rules = settings_from_mapping(TextRules, {"combining_marks": marks}, "test")
    assert list(rules.graphemes(text)) == graphemes


@given(
    st.text(max_size=12) | st.text(alphabet=AWKWARD, max_size=10),
    st.sampled_from(ALL_RULES),
)
def test_rules_leave_their_own_words_alone(text: str, rules: TextRules) -> None:
    words = rules.words(text)
    assert rules.words(" ".join(words)) == words
    for word in words:
        assert word
        assert not any(character.isspace() for character in word)
        assert unicodedata.is_normalized("NFKC", word)
        assert rules.can_spell(word)
        spelled_again = "".join(rules.graphemes(word))
        assert unicodedata.normalize("NFC", spelled_again) == unicodedata.normalize("NFC", word)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"digits": "spell", "digit_words": ["one"]}, "give ten words"),
        ({"digits": "spell", "digit_words": [*DIGIT_WORDS[:9], "9"]}, "holds a digit"),
        ({"case": "lower"}, "case"),
    ],
)
def test_refused(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        settings_from_mapping(TextRules, values, "settings")
    with pytest.raises(InputError, match=r"nothing is left of '---'"):
        check_digit_words(TextRules(digits="spell", digit_words=(*DIGIT_WORDS[:9], "---")))
