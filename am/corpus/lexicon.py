"""Pronunciations of the embedded corpus, taken from espeak-ng itself.

Phones are those of the CMU dictionary in ARPAbet, vowels with stress 1 (stressed) or 0.  A word
has its citation form and the forms that it takes within sentences, in a rhotic and a non-rhotic
accent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from am.corpus.espeak import EspeakProcess

# espeak-ng's mnemonics (its docs/phonemes.md and `phsource/ph_english*`) to ARPAbet; a vowel is
# written without its stress, which the mnemonic's prefix tells.
CONSONANTS = {
    **{"b": "B", "d": "D", "D": "DH", "dZ": "JH", "f": "F", "g": "G", "h": "HH", "j": "Y"},
    **{"k": "K", "l": "L", "m": "M", "n": "N", "N": "NG", "p": "P", "r": "R", "r-": "R"},
    **{"s": "S", "S": "SH", "t": "T", "t2": "T", "tS": "CH", "T": "TH", "v": "V", "w": "W"},
    **{"z": "Z", "Z": "ZH", "x": "K", "?": "T", "t#": "D"},
}
VOWELS = {
    **{"0": "AA", "A:": "AA", "a": "AE", "V": "AH", "@": "AH", "@2": "AH", "@5": "AH"},
    **{"@-": "AH", "a#": "AH", "O:": "AO", "O2": "AO", "O": "AO", "aU": "AW", "aI": "AY"},
    **{"E": "EH", "E2": "EH", "3:": "ER", "eI": "EY", "I": "IH", "I2": "IH", "I#": "IH"},
    **{"i": "IY", "i:": "IY", "oU": "OW", "OI": "OY", "U": "UH", "u:": "UW", "u": "UW"},
    **{"i@": "IY AH", "aI@": "AY AH", "@L": "AH L", "n-": "AH N", "aU@": "AW AH"},
}
RHOTIC = {
    **{"3": "ER", "aa": "AE", "A@": "AA R", "o@": "AO R", "O@": "AO R", "e@": "EH R"},
    **{"i@3": "IH R", "U@": "UH R", "aI3": "AY ER"},
}
NON_RHOTIC = {
    **{"3": "AH", "aa": "AA", "A@": "AA", "o@": "AO", "O@": "AO", "e@": "EH"},
    **{"i@3": "IH AH", "U@": "UH AH", "aI3": "AY AH"},
}
ACCENT_VOWELS = {"en-us": VOWELS | RHOTIC, "en": VOWELS | NON_RHOTIC}
STRESSED_MARKS, UNSTRESSED_MARKS = "',", "%="
# Marks of pauses, of linking and of palatalisation: no sound of their own.
SILENT = {"", ":", ";"}

# A form within sentences counts if the word takes it at least this often.
MIN_SHARE = 0.2
MAX_FORMS_OF_ACCENT = 3
SENTENCES_AT_ONCE = 500

Pronunciation = tuple[str, ...]


def arpabet(phonemes: str, accent: str) -> Pronunciation:
    """One word's mnemonics, separated by ``_``, as ARPAbet.

    Raises:
        ValueError: a mnemonic is unknown.
    """
    vowels = ACCENT_VOWELS[accent]
    phones: list[str] = []
    for marked in phonemes.split("_"):
        stress = "1" if marked[:1] in STRESSED_MARKS and marked else "0"
        mnemonic = marked.lstrip(STRESSED_MARKS + UNSTRESSED_MARKS)
        if mnemonic in SILENT:
            continue
        if mnemonic in CONSONANTS:
            phones.append(CONSONANTS[mnemonic])
        elif mnemonic in vowels:
            first, *rest = vowels[mnemonic].split()
            phones.append(first + stress)
            phones += [phone + "0" if phone[0] in "AEIOU" else phone for phone in rest]
        else:
            raise ValueError(f"'{mnemonic}' of '{phonemes}' is no phoneme of {accent} known here")
    # "e@_r" writes one r twice.
    return tuple(
        phone for i, phone in enumerate(phones) if phone != "R" or phones[i - 1 : i] != ["R"]
    )


def make_lexicon(
    words: Sequence[str], sentences: Iterable[str], espeak: EspeakProcess
) -> dict[str, list[Pronunciation]]:
    """Pronunciations of ``words``, the citation form of the first accent first.

    Args:
        words: in upper case, sorted.
        sentences: a sample of the text, which shows the forms within sentences.
    """
    sample = list(sentences)
    lexicon: dict[str, list[Pronunciation]] = {word: [] for word in words}
    for accent in ACCENT_VOWELS:
        citations = espeak.phonemes(accent, words)
        seen = _forms_in_sentences(sample, accent, espeak)
        for word, citation in zip(words, citations, strict=True):
            forms = [arpabet(citation.replace(" ", "_"), accent), *_frequent(seen.get(word))]
            for form in forms:
                _add_if_new(lexicon[word], form)
    return lexicon


def _forms_in_sentences(
    sentences: Sequence[str], accent: str, espeak: EspeakProcess
) -> Mapping[str, Counter[Pronunciation]]:
    seen: defaultdict[str, Counter[Pronunciation]] = defaultdict(Counter)
    for start in range(0, len(sentences), SENTENCES_AT_ONCE):
        batch = sentences[start : start + SENTENCES_AT_ONCE]
        for sentence, phonemes in zip(batch, espeak.phonemes(accent, batch), strict=True):
            words, spoken = sentence.split(), phonemes.split()
            # espeak-ng joins some pairs ("of the"); such a sentence cannot be told word by word.
            if len(words) == len(spoken):
                for word, form in zip(words, spoken, strict=True):
                    seen[word][arpabet(form, accent)] += 1
    return seen


def _frequent(counts: Counter[Pronunciation] | None) -> list[Pronunciation]:
    if not counts:
        return []
    total = sum(counts.values())
    common = counts.most_common(MAX_FORMS_OF_ACCENT)
    return [form for form, count in common if count >= MIN_SHARE * total]


def _add_if_new(forms: list[Pronunciation], form: Pronunciation) -> None:
    """Add a form unless another differs from it in stress alone."""
    if form and _without_stress(form) not in map(_without_stress, forms):
        forms.append(form)


def _without_stress(form: Pronunciation) -> Pronunciation:
    return tuple(phone.rstrip("01") for phone in form)
