"""Which of our phones a phone of Kaldi's is: the one of the same name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from am.errors import InputError
from am.lang.lang import Lang, read_symbols

PHONES_NAME = "phones.txt"


def phone_mapping(phones_path: Path, lang: Lang, modelled: Iterable[int]) -> dict[int, int]:
    """Kaldi's phone-id → ours, of every phone that Kaldi's model has an HMM for.

    Args:
        phones_path: Kaldi's ``phones.txt``.
        lang: our phones.
        modelled: Kaldi's phone-ids with an HMM.

    Raises:
        InputError: a phone of one side is missing on the other.
    """
    if not phones_path.is_file():
        raise InputError(f"{phones_path}: no such file; copy phones.txt of Kaldi's lang there")
    names = {number: name for name, number in read_symbols(phones_path).items()}
    modelled = sorted(modelled)
    unnamed = [phone for phone in modelled if phone not in names]
    if unnamed:
        raise InputError(
            f"{phones_path}: no name for phone-id {unnamed[0]} of the model; give the phones.txt "
            "that the model was trained with"
        )
    ours = set(lang.real_phones)
    unknown = [names[phone] for phone in modelled if lang.phones.get(names[phone]) not in ours]
    if unknown:
        raise InputError(
            f"{lang.folder / PHONES_NAME}: lacks {_some(unknown)} of the Kaldi model; make the "
            "lang folder from the lexicon that the model was trained with"
        )
    mapping = {phone: lang.phones[names[phone]] for phone in modelled}
    missing = sorted(ours - set(mapping.values()))
    if missing:
        name_of = {number: name for name, number in lang.phones.items()}
        raise InputError(
            f"{phones_path}: lacks {_some([name_of[phone] for phone in missing])} of {lang.folder}"
            "; make the lang folder from the lexicon that the model was trained with"
        )
    return mapping


def _some(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return f"{shown} and {len(names) - 5} more phones" if len(names) > 5 else f"phone {shown}"
