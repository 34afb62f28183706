"""LG and CLG: words in, words with phones, then with phones in context.

The steps and their order are those of Kaldi's ``utils/mkgraph.sh``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import kaldifst

from am.errors import InputError
from am.graph.arrays import read_fst
from am.lang.lang import Lang
from am.tree.context_tree import LEFT, RIGHT, ContextTree

log = logging.getLogger(__name__)

# Determinization of a lexicon that cannot be determinized never ends without a limit.
MAX_STATES = 50_000_000


def lexicon_and_grammar(lang: Lang) -> kaldifst.StdVectorFst:
    """LG: phone-ids and disambiguation symbols in, word-ids out; determinized, minimized.

    Args:
        lang: its folder has ``L_disambig.fst`` and ``G.fst``.

    Raises:
        InputError: a file is missing, or no word sequence is in both.
    """
    if not (lang.folder / "G.fst").is_file():
        raise InputError(f"{lang.folder / 'G.fst'}: no such grammar; run utils/format_lm.py")
    lexicon = read_fst(lang.folder / "L_disambig.fst")
    grammar = read_fst(lang.folder / "G.fst")
    kaldifst.arcsort(lexicon, "olabel")
    composed = kaldifst.compose(lexicon, grammar)
    if composed.start < 0:
        raise InputError(f"{lang.folder}: L and G share no sentence; make both from one words.txt")
    determinize(composed, lang.folder)
    kaldifst.minimize_encoded(composed)
    return composed


def in_context(
    fst: kaldifst.StdVectorFst, disambiguation: Sequence[int], width: int
) -> tuple[kaldifst.StdVectorFst, list[list[int]]]:
    """CLG: the input labels become windows of phones.

    Args:
        fst: phone-ids and disambiguation symbols in.
        disambiguation: those symbols.
        width: 3 (left phone, phone, right phone) or 1 (the phone alone).

    Returns:
        The transducer, and what its input labels mean.  A window is the phone-ids, 0 outside the
        utterance; a disambiguation symbol is one number, not positive; entry 0 (epsilon) is empty
        (Kaldi's ``fstext/context-fst.h``).
    """
    return kaldifst.compose_context(list(disambiguation), width, width // 2, fst)


def context_width(tree: ContextTree) -> int:
    """3, or 1 if the tree never asks for a neighbour."""
    asks = (tree.position == LEFT) | (tree.position == RIGHT)
    return 3 if asks.any() else 1


def determinize(fst: kaldifst.StdVectorFst, source: Path) -> None:
    """Remove epsilons and determinize in the log semiring, in place.

    Raises:
        InputError: it takes too many states; ``source`` is named.
    """
    if kaldifst.determinize_star(fst, max_states=MAX_STATES, use_log=True):
        raise InputError(
            f"{source}: determinization stopped at {MAX_STATES} states; "
            "make the lang folder again, or use a smaller language model"
        )
